"""What a flow run and a registered model are called: the task that params.yaml names."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stillhouse.errors import InputError
from tasks.stage.params import PARAMS, read_yaml

# They share a name: they were all there was when the first models were registered.
WITHOUT_SUFFIX = ("classes", "scores")
# Layouts that say how a file looks, not what it is about.
GENERAL = ("table", "squad")


def task_name(params: Path = PARAMS) -> str:
    """The task, in one word: `docstrings`, `sst2`, …; most kinds stand behind it: `docstrings-answers`.

    Raises:
        InputError: params.yaml has no block `data`, or it is of no use.
    """
    data = read_yaml(params).get("data") or {}
    source, kind = data.get("source"), data.get("kind")
    if source == "hub":
        hub = data.get("hub") or {}
        name = hub.get("config") or hub.get("name")
    elif source == "files":
        files = data.get("files") or {}
        layout = files.get("layout")
        name = layout if layout and layout not in GENERAL else Path(files.get("folder") or "").name
    else:
        name = source
    if not name or not kind:
        raise InputError(f"{params}: data.source = {source!r}, data.kind = {kind!r} name no task: fill in block `data`")
    word = str(name).rsplit("/", 1)[-1].lower()
    return word if kind in WITHOUT_SUFFIX and not _second(data, kind) else f"{word}-{kind}"


def _second(data: Mapping[str, Any], kind: str) -> bool:
    """Whether a layout has another kind of task too, which came first and has the bare name."""
    from tasks.sources.layouts import LAYOUTS  # it imports pyarrow

    layout = LAYOUTS.get((data.get("files") or {}).get("layout") or "")
    return layout is not None and kind in list(layout.kinds)[1:]


def registered_model(params: Path = PARAMS) -> str:
    """The registered model of the task: versions from all recipes compete under it. Raises as `task_name` does."""
    return f"stillhouse-{task_name(params)}"
