"""What a version of a registered model holds, and the digests that say it is still that.

A version is a folder: the checkpoint, the ONNX file, and the code that serves them. The sha256 of the weights and of
the whole folder are tags in the registry; those of the single files are in the version's model config, and the served
model checks them. Nothing of a folder is loaded, and none of its code runs, before both have been checked.
"""

import hashlib
import re
import shutil
import tempfile
import warnings
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from flows.registry.code import FORMER, OURS
from flows.registry.reports import again, checkpoint_of, exported_of
from flows.registry.served import served
from flows.serving.by_kind import code_of
from flows.serving.signature import example, signature
from stillhouse.encoders.label_names import names_in
from stillhouse.errors import InputError
from tasks.stage.json_files import read_json
from tasks.tracking.store import tracking_uri

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

# What may be in a checkpoint or next to an ONNX file; a pickle runs code when it is loaded.
KEPT = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*.onnx", "*.onnx.data", "README.md")
PICKLES = (".pkl", ".pickle", ".bin", ".pt", ".pth", ".ckpt", ".joblib", ".npy")
# How pickles begin since protocol 2, and the zip archives that torch wraps them in.
PICKLED = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")
# What lies next to them in a version: what MLflow writes, and the code that serves it.
EXAMPLES = ("input_example.json", "serving_input_example.json")
WRAPPING = ("MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt", *EXAMPLES, *{*OURS, *FORMER})
SERVED_WITH = ("mlflow", "onnxruntime", "tokenizers", "numpy", "pandas")
PARTS = ("checkpoint", "onnx")
# What MLflow writes into a version's own folder, in a store on this machine, whenever it is loaded by its name.
NOTE = "registered_model_meta"
NOTED = re.compile(rb"model_name: [^\n]{1,300}\nmodel_version: '?\d+'?\n")


def upload(client: "MlflowClient", recipe: str, run_id: str, finished: bool = False) -> tuple[str, str]:
    """Store a form of a recipe's model as artifacts of the run; where they are, and the digest of the folder.

    Raises:
        InputError: part of it is missing, a pickle is among it, or nothing here serves its kind of task.
    """
    import mlflow.pyfunc

    model = served(recipe, finished)
    checkpoint = checkpoint_of(recipe, finished)
    config = read_json(checkpoint / "config.json", again(recipe))
    with tempfile.TemporaryDirectory() as scratch:
        parts = {"checkpoint": checkpoint, "onnx": exported_of(recipe, finished)}
        for part, source in parts.items():
            _copy(source, Path(scratch) / part)
        folder = Path(scratch) / "model"
        with warnings.catch_warnings():
            # It warns where a signature comes without an example of which it could infer it.
            warnings.simplefilter("ignore", UserWarning)
            mlflow.pyfunc.save_model(
                folder,
                python_model=str(OURS[code_of(model.kind)]),
                model_config={"kind": model.kind}
                | model.numbers
                | served_digests({part: Path(scratch) / part for part in parts}),
                artifacts={part: str(Path(scratch) / part) for part in parts},
                signature=signature(model.kind, model.columns, names_in(config.get("id2label", {}))),
                input_example=example(model.columns),
                # Finding them out by itself, MLflow would run the model in a new environment.
                pip_requirements=[f"{package}=={installed(package)}" for package in SERVED_WITH],
            )
        refuse_strangers(folder)
        digest = folder_digest(folder)
        client.log_artifacts(run_id, str(folder), "model")
    return f"{client.get_run(run_id).info.artifact_uri}/model", digest


def fetch(client: "MlflowClient", version: "ModelVersion", to: Path) -> Path:
    """Copy a version's folder into an empty one, and check that it is what was registered.

    Raises:
        InputError: it is not, it carries no digest, or it cannot be read.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    what = f"{version.name} version {version.version}"
    wanted = version.tags.get("files_sha256")
    if not wanted:
        raise InputError(f"{what} carries no digest of its files: register it again (python -m flows.compress RECIPE)")
    source = client.get_model_version_download_uri(version.name, str(version.version))
    _refuse_links(source, what)
    try:
        folder = Path(download_artifacts(artifact_uri=source, dst_path=str(to), tracking_uri=tracking_uri()))
    except (MlflowException, OSError) as error:
        # The type alone: its text may hold a URI with a password in it.
        raise InputError(f"{what}: its files cannot be read ({type(error).__name__}): register it again") from None
    _leave_out_note(folder)
    refuse_strangers(folder)
    for name, tag, found in (
        ("weights", "weights_sha256", weights_digest(folder / "artifacts" / "checkpoint")),
        ("files", "files_sha256", folder_digest(folder)),
    ):
        if found != version.tags.get(tag):
            raise InputError(
                f"{what}: its {name} have sha256 {found[:16]}…, registered was {str(version.tags.get(tag))[:16]}…: "
                "they were changed since: do not use them, register the model again"
            )
    return folder


def check(client: "MlflowClient", version: "ModelVersion") -> None:
    """Raise unless a version is still what was registered. Raises as `fetch` does."""
    with tempfile.TemporaryDirectory() as scratch:
        fetch(client, version, Path(scratch))


def weights_digest(checkpoint: Path) -> str:
    """The sha256 over a checkpoint's safetensors files, in the order of their names.

    Raises:
        InputError: there are none.
    """
    files = sorted(checkpoint.glob("*.safetensors"))
    if not files:
        raise InputError(f"'{checkpoint}' holds no model.safetensors: run python -m flows.compress {checkpoint.name}")
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def folder_digest(folder: Path) -> str:
    """The sha256 over names and contents of all files, as `sha256sum` would list them in the order of their names."""
    lines = [f"{_sha256(file)}  {file.relative_to(folder).as_posix()}\n" for file in _files(folder)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def served_digests(parts: dict[str, Path]) -> dict[str, dict[str, str]]:
    """The sha256 of every file that is served, for the served model itself to check."""
    digests = {f"{part}/{file.name}": _sha256(file) for part, folder in parts.items() for file in _files(folder)}
    return {"sha256": digests}


def refuse_pickles(folder: Path) -> None:
    """Raise for files that can run code when loaded.

    Raises:
        InputError: there is one.
    """
    for file in _files(folder):
        with file.open("rb") as stream:
            start = stream.read(4)
        # A safetensors file begins with its header's length, which may be such a number, and is nowhere unpickled.
        pickled = start.startswith(PICKLED) and file.suffix != ".safetensors"
        if file.suffix in PICKLES or pickled:
            raise InputError(f"'{file}' may be a pickle, which can run code when loaded: it is not registered")


def refuse_strangers(folder: Path) -> None:
    """Raise for whatever `upload` would not have put there: a pickle, code, a link.

    Raises:
        InputError: there is such a file.
    """
    refuse_pickles(folder)
    for file in _files(folder):
        name = file.relative_to(folder)
        part = name.parts[1] if len(name.parts) == 3 and name.parts[0] == "artifacts" else ""
        kept = part in PARTS and any(name.match(pattern) for pattern in KEPT)
        if file.is_symlink() or not (kept or name.as_posix() in WRAPPING):
            raise InputError(f"'{name}' is no part of a registered model, and may be code: it is refused")


def _leave_out_note(folder: Path) -> None:
    """Remove MLflow's own note from a fetched copy; what has its name but not its form stays, and is refused."""
    file = folder / NOTE
    if not file.is_symlink() and file.is_file() and NOTED.fullmatch(file.read_bytes()):
        file.unlink()


def _copy(source: Path, target: Path) -> None:
    if not source.is_dir():
        raise InputError(f"'{source}' is missing: run python -m flows.compress {source.name}")
    refuse_pickles(source)
    target.mkdir()
    for pattern in KEPT:
        for file in source.glob(pattern):
            shutil.copy2(file, target)


def _refuse_links(source: str, what: str) -> None:
    """Raise for links in a store on this machine: copying would follow them out of it."""
    parts = urlsplit(source)
    if parts.scheme not in ("", "file"):
        return
    folder = Path(unquote(parts.path))
    links = [path for path in (folder, *folder.rglob("*")) if path.is_symlink()]
    if links:
        raise InputError(f"{what}: '{links[0]}' is a link, which a registered model has none of: it is refused")


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_symlink() or not file.is_dir())


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
