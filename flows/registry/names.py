"""What a flow run and a registered model are called: the task that params.yaml names, in one safe word."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stillhouse.errors import InputError
from tasks.sources.blocks import NAME
from tasks.stage.params import PARAMS, mapping, read_yaml

# They share a name: they were all there was when the first models were registered.
WITHOUT_SUFFIX = ("classes", "scores")
# Layouts that say how a file looks, not what it is about.
GENERAL = ("table", "squad")
GIVEN = "data.name"


def task_name(params: Path = PARAMS) -> str:
    """The task, in one word: `docstrings`, `sst2`, …; most kinds stand behind it: `docstrings-answers`.

    It is data.name, or else made from where the rows come from.

    Raises:
        InputError: params.yaml has no block `data`, or its name, or what would be one, is of no use.
    """
    data = mapping(read_yaml(params), "data")
    kind, word = data.get("kind"), task_word(params)
    if not kind:
        raise InputError(f"{params}: data.kind = {kind!r} names no task: fill in block `data`")
    return word if kind in WITHOUT_SUFFIX and not _second(data, kind) else f"{word}-{kind}"


def task_word(params: Path = PARAMS) -> str:
    """What names the task, whatever its kind: `data.name`. Raises as `task_name` does."""
    data = mapping(read_yaml(params), "data")
    name = data.get("name")
    if name is None:
        name = _from_source(data)
        if not name:
            raise InputError(
                f"{params}: data.source = {data.get('source')!r} names no task: fill in block `data`, or give the task "
                "a name (data.name)"
            )
    elif not re.match(NAME, str(name)):
        raise InputError(f"{params}: data.name = {name!r}: use small letters, digits, and . _ - between them")
    return str(name)


def task_origin(params: Path = PARAMS) -> str:
    """Where the rows come from, in words that are the same in every clone; GIVEN where data.name names the task.

    Tasks of one name and different origins are different tasks, unless params.yaml says by its name that they are one.
    """
    data = mapping(read_yaml(params), "data")
    source = data.get("source")
    if data.get("name") is not None:
        return GIVEN
    if source == "hub":
        hub = mapping(data, "hub", "data")
        return " ".join(str(each) for each in ("hub", hub.get("name"), hub.get("config")) if each)
    files = mapping(data, "files", "data")
    if source == "files" and files.get("layout") in (None, *GENERAL):
        return f"files {files.get('folder')}"
    return f"files of {files['layout']}" if source == "files" else str(source)


def registered_model(params: Path = PARAMS) -> str:
    """The registered model of the task: versions from all recipes compete under it. Raises as `task_name` does."""
    return f"stillhouse-{task_name(params)}"


def _from_source(data: Mapping[str, Any]) -> str:
    source = data.get("source")
    if source == "hub":
        hub = mapping(data, "hub", "data")
        name = hub.get("config") or hub.get("name")
    elif source == "files":
        files = mapping(data, "files", "data")
        layout, folder = files.get("layout"), files.get("folder")
        name = layout if layout and layout not in GENERAL else folder and Path(folder).resolve().name
    else:
        name = source
    word = str(name or "").rsplit("/", 1)[-1].lower()
    return re.sub(r"[^a-z0-9._-]+", "-", word).strip("._-")


def _second(data: Mapping[str, Any], kind: str) -> bool:
    """Whether a layout has another kind of task too, which came first and has the bare name."""
    from tasks.sources.layouts import LAYOUTS  # it imports pyarrow

    layout = LAYOUTS.get(str(mapping(data, "files", "data").get("layout")))
    return layout is not None and kind in list(layout.kinds)[1:]
