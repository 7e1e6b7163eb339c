"""What lies behind a recipe's data, and whether it has changed since the recipe's last watched run.

DVC follows params.yaml and the code, not a folder of files or a dataset of the hub. So what is there now is compared
with what the last watched run saw: names, sizes and modification times of files, the commit of a hub dataset's
revision, the versions of the libraries whose docstrings are read. A stage whose source differs is forced, and what
follows it runs only if its output has another hash.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

from flows.dag.graph import Stage, known_recipe, lineage, load_graph, recipes
from stillhouse.errors import InputError
from tasks.stage.params import PARAMS, load
from tasks.stage.workspace import cache_dir

# The stages that read from outside, and their blocks.
BLOCKS = {"prepare": "data", "corpus": "corpus", "corpus-pairs": "corpus"}


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
    now = _seen_now(root, stages)
    file = root / cache_dir() / "watched" / f"{recipe}.json"
    before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}

    def remember() -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(".part")
        draft.write_text(json.dumps(now, indent=2), encoding="utf-8")
        draft.replace(file)

    return [name for name, digest in now.items() if before.get(name) != digest], remember


def _seen_now(root: Path, stages: Iterable[Stage]) -> dict[str, str]:
    there = [stage.name for stage in stages if stage.name in BLOCKS]
    return {name: _digest(_behind(root, BLOCKS[name])) for name in there}


def _behind(root: Path, block: str) -> Any:
    """What lies behind a block's source, as plain values."""
    # Imported here: they import `datasets`, which other flows do without.
    from tasks.sources.blocks import DataParams
    from tasks.sources.make_corpus import CorpusParams

    models: dict[str, Any] = {"data": DataParams, "corpus": CorpusParams}
    params: Any = load(block, models[block], root / PARAMS)
    if params.source == "docstrings":
        return _versions((params if block == "corpus" else params.docstrings).libraries)
    if params.source == "hub":
        if params.hub.name is None:
            raise InputError(f"{block}.hub.name = null: name a dataset, or choose another {block}.source")
        if (root / params.hub.name).is_dir():
            return _files(root / params.hub.name, [])
        return _commit(block, params.hub.name, params.hub.revision)
    files = params if block == "corpus" else params.files
    if files.folder is None:
        raise InputError(f"{block}: source = files needs a folder")
    names = [getattr(files, split, None) for split in ("train", "validation", "test")]
    # One that is not named has the layout's usual name, which is the source's affair: any file may be it.
    return _files(root / files.folder, [name for name in names if name] if all(names[:2]) else [])


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


def _commit(block: str, name: str, revision: str | None) -> str:
    import httpx2  # huggingface_hub's own client
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        return HfApi().dataset_info(name, revision=revision).sha or ""
    except (RepositoryNotFoundError, RevisionNotFoundError):
        raise InputError(f"{block}.hub: no dataset '{name}' with the revision {revision or 'main'}") from None
    except (HfHubHTTPError, httpx2.TransportError, OSError) as error:
        raise ConnectionError(f"dataset '{name}': {type(error).__name__}") from None


def _versions(libraries: Iterable[str]) -> dict[str, list[str]]:
    packages = packages_distributions()
    return {
        library: sorted(f"{package} {version(package)}" for package in set(packages.get(library, ())))
        for library in libraries
    }


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
