"""What params.yaml takes from outside must be no output of a stage: DVC clears a stage's outputs before it runs."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stillhouse.errors import InputError
from tasks.stage.params import read_yaml

# The parameters that name what no stage makes, so that dvc.yaml has no edge for them.
SOURCES = (
    "data.files.folder",
    "data.hub.name",
    "corpus.folder",
    "corpus.hub.name",
    "teacher.model",
    *(
        f"{phase}.student.from"
        for phase in (
            *("hinton.distill", "fitnets.hint", "rco.distill", "pkd.distill"),
            *("distilbert.general", "tinybert.general", "minilm.general", "smallest.student"),
        )
    ),
)


def refuse_outputs(params: dict[str, Any], root: Path) -> None:
    """Raise for a source that is an output of a stage, lies in one, or contains one.

    Args:
        params: the tree of params.yaml.
        root: the project's folder, with dvc.yaml.

    Raises:
        InputError: there is such a source.
    """
    if not (root / "dvc.yaml").is_file():
        return
    outputs = [(name, (root / path).resolve()) for name, path in stage_outputs(read_yaml(root / "dvc.yaml"), params)]
    for key in SOURCES:
        value = value_at(params, key)
        if not isinstance(value, str):
            continue
        source = (root / Path(value).expanduser()).resolve()
        if not source.exists():
            continue  # a hub's name, or what its own check finds missing
        for name, output in outputs:
            if source == output or output in source.parents or source in output.parents:
                shown = output.relative_to(root.resolve())
                raise InputError(
                    f"{key} = '{value}' is, holds or lies in '{shown}', which stage '{name}' writes and DVC clears "
                    "first: move it to a folder that no stage writes, and name that one"
                )


def stage_outputs(dvc: dict[str, Any], params: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(stage, path) of all that the stages of a dvc.yaml write, with `${…}` filled in."""
    for name, stage in dvc.get("stages", {}).items():
        body = stage.get("do", stage)
        for key, item in items_of(stage.get("foreach"), params):
            values = params | {"key": key, "item": item}
            for entry in [*body.get("outs", []), *body.get("metrics", []), *body.get("plots", [])]:
                path = entry if isinstance(entry, str) else next(iter(entry))
                yield name, re.sub(r"\$\{([^}]+)\}", lambda hole, values=values: str(value_at(values, hole[1])), path)


def items_of(foreach: Any, params: dict[str, Any]) -> list[tuple[Any, Any]]:
    """(key, item) of all that a stage of dvc.yaml runs for; one pair of None where it has no `foreach`."""
    if foreach is None:
        return [(None, None)]
    if isinstance(foreach, str):
        foreach = value_at(params, foreach.strip("${}"))
    return list(foreach.items()) if isinstance(foreach, dict) else [(item, item) for item in foreach or []]


def value_at(tree: Any, key: str) -> Any:
    """The value at a dotted key, None where there is none."""
    for part in key.split("."):
        tree = tree.get(part) if isinstance(tree, dict) else None
    return tree
