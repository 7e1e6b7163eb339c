"""What a flow run and a registered model are called: the task that params.yaml names."""

from pathlib import Path

from stillhouse.errors import InputError
from tasks.stage.params import PARAMS, read_yaml


def task_name(params: Path = PARAMS, block: str = "data") -> str:
    """The task, in one word: `docstrings`, `sst2`, …; of the block `qa` with that behind it, `docstrings-qa`.

    Raises:
        InputError: params.yaml has no such block, or it is of no use.
    """
    data = read_yaml(params).get(block) or {}
    source = data.get("source")
    if source == "hub":
        hub = data.get("hub") or {}
        name = hub.get("config") or hub.get("name")
    elif source == "files":
        files = data.get("files") or {}
        layout = files.get("layout")
        # `table` says how a file looks, not what it is about.
        name = layout if layout and layout != "table" else Path(files.get("folder") or "").name
    else:
        name = source
    if not name:
        raise InputError(f"{params}: {block}.source = {source!r} names no task: fill in its block under `{block}`")
    word = str(name).rsplit("/", 1)[-1].lower()
    return word if block == "data" else f"{word}-{block}"


def model_name(task: str) -> str:
    """The registered model of a task: versions from all recipes compete under it."""
    return f"stillhouse-{task}"
