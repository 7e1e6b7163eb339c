"""What lies behind a recipe's sources from outside, and whether it has changed since the recipe's last run.

DVC follows params.yaml and the code, not a folder of files, a checkpoint, word vectors or a dataset of the hub. So what
is there now is compared with what the last run saw: names, sizes and modification times of files, the commit of a hub
revision, the versions of the libraries whose docstrings are read. A stage whose source differs is forced, and what
follows it runs only if its output has another hash.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

from flows.dag.graph import Stage, known_recipe, lineage, load_graph, recipes
from stillhouse.errors import InputError
from tasks.phases.teacher import PINNED
from tasks.stage.outside import IN_A_FOLDER, SOURCES, value_at
from tasks.stage.params import PARAMS, read_yaml
from tasks.stage.workspace import cache_dir

# The stages that read from outside, and their blocks; the teacher's are those that track `teacher.model`.
BLOCKS = {"prepare": "data", "corpus": "corpus", "corpus-pairs": "corpus"}
TEACHER = {"teacher", "teacher.model"}
# What else stages read of a file or a folder: names of labels, word vectors, what a student is made of.
BESIDE = [key for key in SOURCES if key == "data.labels" or key.endswith((".from", "vectors"))]


def nothing_new(recipe: str) -> str:
    """The line that says that nothing has changed."""
    return f"{recipe}: nothing behind its data has changed since its last watched run"


def changed(root: Path, recipe: str) -> tuple[list[str], Callable[[], None]]:
    """The stages of a recipe whose source is not as its last watched run saw it, or was never seen.

    Returns:
        Their names, and what to call once the recipe has run on what is there now.

    Raises:
        InputError: there is no such recipe, or a source cannot be looked at.
        ConnectionError: the hub cannot be reached.
    """
    graph = load_graph(root)
    stages = lineage(graph, f"report@{known_recipe(recipe, recipes(graph))}")
    now = _seen(root, stages, hub=True)
    before, remember = _kept(root / cache_dir() / "watched" / f"{recipe}.json", now)
    return [name for name, digest in now.items() if before.get(name) != digest], remember


def changed_on_disk(root: Path, recipe: str, stages: Iterable[Stage]) -> tuple[list[str], Callable[[], None]]:
    """The stages whose files are not those that the recipe's last run saw, without asking the hub.

    Returns:
        As `changed`; what was never seen, or is not there now, is no change: the stage that reads it says so.
    """
    tree = read_yaml(root / PARAMS)
    away = {block for block in set(BLOCKS.values()) if not _is_there(root, tree.get(block) or {})}
    now = _seen(root, [stage for stage in stages if BLOCKS.get(stage.name) not in away], hub=False)
    before, remember = _kept(root / cache_dir() / "compressed" / f"{recipe}.json", now)
    return [name for name, digest in now.items() if before.get(name, digest) != digest], remember


def _kept(file: Path, now: Mapping[str, str]) -> tuple[dict[str, str], Callable[[], None]]:
    """What was seen before, and what to call to keep what is seen now."""

    def remember() -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(".part")
        draft.write_text(json.dumps(now, indent=2), encoding="utf-8")
        draft.replace(file)

    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}, remember


def _seen(root: Path, stages: Iterable[Stage], hub: bool) -> dict[str, str]:
    """A digest of what lies behind each stage that reads from outside."""
    tree, tracked = read_yaml(root / PARAMS), _tracked(root)
    seen = {}
    for name in (stage.name for stage in stages):
        behind = []
        if name in BLOCKS:
            behind.append(_behind(root, tree, BLOCKS[name], hub))
        if TEACHER & tracked.get(name.partition("@")[0], set()):
            behind += _behind_the_model(root, "teacher.model", value_at(tree, "teacher.model"), hub)
        behind += _beside(root, tree, tracked.get(name.partition("@")[0], set()), hub)
        if behind:
            # Of a stage with one source, the digest is that of the source.
            seen[name] = _digest(behind[0] if len(behind) == 1 else behind)
    return seen


def _is_there(root: Path, params: Mapping[str, Any]) -> bool:
    """Whether the folder that a block names is there, if it names one."""
    folder = (params if "folder" in params else params.get("files") or {}).get("folder")
    return params.get("source") != "files" or folder is None or (root / folder).is_dir()


def _tracked(root: Path) -> dict[str, set[str]]:
    """The parameters that each stage tracks, which say what it reads; of a `foreach`, by its own name."""
    stages = read_yaml(root / "dvc.yaml").get("stages", {}).items()
    return {
        name: {each for each in (stage.get("do") or stage).get("params", []) if isinstance(each, str)}
        for name, stage in stages
    }


def _behind_the_model(root: Path, key: str, name: Any, hub: bool) -> list[Any]:
    """What a model's name stands for; nothing of the built-in ones, whose weights are pinned."""
    if not isinstance(name, str) or name in PINNED:
        return []
    if (root / name).is_dir():
        return [_files(root / name, [])]
    return [_commit(key, name, None, "model")] if hub else []


def _beside(root: Path, tree: Mapping[str, Any], tracked: set[str], hub: bool) -> list[Any]:
    """What lies behind the other sources of a stage; a file that is not there is the stage's affair."""
    behind = []
    for key in BESIDE:
        value = value_at(tree, key)
        if not isinstance(value, str) or not any(key == each or key.startswith(f"{each}.") for each in tracked):
            continue
        if key.endswith(".from"):
            behind += _behind_the_model(root, key, value, hub)
            continue
        file = root / (value_at(tree, IN_A_FOLDER.get(key, "")) or "") / value
        if file.is_file():
            behind.append(_files(file.parent, [file.name]))
    return behind


def _behind(root: Path, tree: Mapping[str, Any], block: str, hub: bool) -> Any:
    """What lies behind a block's source, as plain values."""
    params = tree.get(block) or {}
    source, dataset = params.get("source"), params.get("hub") or {}
    if source == "docstrings":
        return _versions((params if block == "corpus" else params.get("docstrings") or {}).get("libraries") or [])
    if source == "hub":
        name = dataset.get("name")
        if name is None:
            raise InputError(f"{block}.hub.name = null: name a dataset, or choose another {block}.source")
        if (root / name).is_dir():
            return _files(root / name, [])
        return _commit(f"{block}.hub", name, dataset.get("revision"), "dataset") if hub else None
    files = params if block == "corpus" else params.get("files") or {}
    if files.get("folder") is None:
        raise InputError(f"{block}: source = files needs a folder")
    names = [files.get(split) for split in ("train", "validation", "test")] if block == "data" else [None]
    # One that is not named has the layout's usual name, which is the source's affair: any file may be it.
    return _files(root / files["folder"], [name for name in names if name] if all(names[:2]) else [])


def _files(folder: Path, names: list[str]) -> list[tuple[str, int, int]]:
    if not folder.is_dir():
        raise InputError(f"'{folder}': no such folder")
    paths = [folder / name for name in names] or [path for path in folder.rglob("*") if path.is_file()]
    found = []
    for path in sorted(paths):
        if not path.exists():
            raise InputError(f"'{path}': no such file")
        facts = path.stat()
        found.append((str(path.relative_to(folder)), facts.st_size, facts.st_mtime_ns))
    return found


def _commit(key: str, name: str, revision: str | None, what: str) -> str:
    import httpx2  # huggingface_hub's own client
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        ask = HfApi().dataset_info if what == "dataset" else HfApi().model_info
        return ask(name, revision=revision).sha or ""
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError):
        raise InputError(f"{key}: no {what} '{name}' with the revision {revision or 'main'}") from None
    except (HfHubHTTPError, httpx2.TransportError, OSError) as error:
        raise ConnectionError(f"{what} '{name}': {type(error).__name__}") from None


def _versions(libraries: Iterable[str]) -> dict[str, list[str]]:
    packages = packages_distributions()
    return {
        library: sorted(f"{package} {version(package)}" for package in set(packages.get(library, ())))
        for library in libraries
    }


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
