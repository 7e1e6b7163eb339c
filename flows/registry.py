"""The MLflow registry: one registered model per task, a version per distinct set of weights, recipes competing.

A version holds the checkpoint and the ONNX file, and as tags all that the promotion gate asks: a decision needs the
registry alone, on any machine. Aliases: `candidate` is the version registered last, `champion` the one in service.
"""

import hashlib
import json
import shutil
import tempfile
import warnings
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.kinds import MODELS, kind_of
from flows.naming import model_name, task_name
from flows.results import REPORTS, read_report, smallest_batch
from stillhouse.errors import InputError
from tasks.params import PARAMS, read_yaml
from tasks.provenance import dvc_hashes, git_tags
from tasks.sender import open_store, shown_uri, tracking_uri
from tasks.tracking import STORE

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

CANDIDATE, CHAMPION = "candidate", "champion"
# What may be in a checkpoint or beside an ONNX file; a pickle runs code when it is loaded.
KEPT = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*.onnx", "*.onnx.data")
PICKLES = (".pkl", ".pickle", ".bin", ".pt", ".pth", ".ckpt", ".joblib", ".npy")
SERVED_WITH = ("mlflow", "onnxruntime", "tokenizers", "numpy", "pandas")


@dataclass(frozen=True)
class Registered:
    """Where a recipe's model stands in the registry."""

    name: str
    version: str
    new: bool


def register(recipe: str, run_id: str = "") -> Registered:
    """Make a recipe's model the candidate of its task; weights that are known already make no new version.

    Args:
        run_id: the run that the version belongs to, else one is made.

    Raises:
        InputError: something of the recipe is missing, or a pickle is among it.
    """
    facts = gather_facts(recipe)
    client, experiment = reach_store()
    name = model_name(task_name(block=kind_of(recipe).block))
    _ensure_model(client, name)
    same = {key: facts[key] for key in ("recipe", "weights_sha256")}
    known = [each for each in versions(client, name) if same.items() <= each.tags.items()]
    if known:
        found = known[0]
    else:
        if not run_id:
            run_id = client.create_run(experiment, run_name=f"register {recipe}", tags=facts).info.run_id
            client.set_terminated(run_id)
        found = client.create_model_version(name, _upload(client, recipe, run_id), run_id)
    # Evaluated again, or on other data: the weights are the same, what is known of them is not.
    for key, value in facts.items():
        client.set_model_version_tag(name, found.version, key, value)
    client.set_registered_model_alias(name, CANDIDATE, found.version)
    _marker(recipe).parent.mkdir(parents=True, exist_ok=True)
    _marker(recipe).write_text(json.dumps(_identity(facts)), encoding="utf-8")
    return Registered(name, str(found.version), new=not known)


def is_registered(recipe: str) -> bool:
    """Whether this model, evaluated like this, was registered from this folder; asks no server, so takes no time."""
    try:
        return json.loads(_marker(recipe).read_text(encoding="utf-8")) == _identity(gather_facts(recipe))
    except FileNotFoundError:
        return False


def gather_facts(recipe: str) -> dict[str, str]:
    """What a version says of itself: where it came from, and what it can do.

    Raises:
        InputError: the model or its reports are missing.
    """
    metrics = read_report(REPORTS / recipe, "metrics.json")
    latency = read_report(REPORTS / recipe, "latency.json")
    facts: dict[str, Any] = {
        "recipe": recipe,
        "weights_sha256": weights_digest(MODELS / recipe),
        "data_md5": dvc_hashes().get(kind_of(recipe).data, ""),
        "latency_p50_ms": latency["batches"][smallest_batch(latency)]["p50_ms"],
    }
    kept = ["task_metric", "value", "kept", "examples", "checkpoint_bytes", "onnx_bytes"]
    kept += ["onnx_max_difference", "onnx_rounding"]
    facts |= {key: metrics[key] for key in kept}
    return {key: str(value) for key, value in facts.items()} | git_tags()


def reach_store() -> tuple["MlflowClient", str]:
    """A client, and the id of the experiment.

    Raises:
        ConnectionError: MLflow cannot be reached.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return open_store()
    except (MlflowException, SQLAlchemyError, OSError) as error:
        # The type alone: the text of an error may hold a URI with a password in it.
        raise ConnectionError(f"MLflow at {shown_uri()} cannot be reached ({type(error).__name__})") from None


def model_of(client: "MlflowClient", recipe: str) -> str:
    """The registered model that a recipe has versions of; the one of `data` where it has none of any."""
    there = [block for block in ("data", "qa") if block in read_yaml(PARAMS)]
    names = [model_name(task_name(block=block)) for block in there]
    having = [name for name in names if any(each.tags.get("recipe") == recipe for each in versions(client, name))]
    return (having or names)[0]


def versions(client: "MlflowClient", name: str) -> list["ModelVersion"]:
    """All versions of a registered model, the newest first."""
    found = client.search_model_versions(f"name = '{name}'", max_results=10_000)
    return sorted(found, key=lambda each: int(each.version), reverse=True)


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


def _ensure_model(client: "MlflowClient", name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _upload(client: "MlflowClient", recipe: str, run_id: str) -> str:
    """Store the model as artifacts of the run; where they are."""
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    kind = kind_of(recipe)
    with tempfile.TemporaryDirectory() as scratch:
        parts = {"checkpoint": MODELS / recipe, "onnx": MODELS / "onnx" / recipe}
        for part, source in parts.items():
            _copy(source, Path(scratch) / part)
        folder = Path(scratch) / "model"
        with warnings.catch_warnings():
            # It wants an example beside the signature.
            warnings.simplefilter("ignore", UserWarning)
            mlflow.pyfunc.save_model(
                folder,
                python_model=str(Path(__file__).with_name(kind.code)),
                model_config=kind.numbers(),
                artifacts={part: str(Path(scratch) / part) for part in parts},
                signature=ModelSignature(Schema([ColSpec(DataType.string, column) for column in kind.columns()])),
                # Finding them out by itself, MLflow would run the model in a new environment.
                pip_requirements=[f"{package}=={installed(package)}" for package in SERVED_WITH],
            )
        refuse_pickles(folder)
        client.log_artifacts(run_id, str(folder), "model")
    return f"{client.get_run(run_id).info.artifact_uri}/model"


def _copy(source: Path, target: Path) -> None:
    if not source.is_dir():
        raise InputError(f"'{source}' is missing: run python -m flows.compress {source.name}")
    refuse_pickles(source)
    target.mkdir()
    for pattern in KEPT:
        for file in source.glob(pattern):
            shutil.copy2(file, target)


def refuse_pickles(folder: Path) -> None:
    """Raise for files that can run code when loaded.

    Raises:
        InputError: there is one.
    """
    for file in sorted(folder.rglob("*")):
        if file.suffix in PICKLES:
            raise InputError(f"'{file}' may be a pickle, which can run code when loaded: it is not registered")


def _identity(facts: dict[str, str]) -> dict[str, str]:
    # Not the commit: that changes with a typo in the README.
    return {key: value for key, value in facts.items() if not key.startswith("git_")} | {"store": _store_digest()}


def _store_digest() -> str:
    # A URI may hold a password.
    return hashlib.sha256(tracking_uri().encode()).hexdigest()


def _marker(recipe: str) -> Path:
    return STORE / "registered" / f"{recipe}.json"
