"""What params.yaml takes from outside must be no output of a stage: DVC clears a stage's outputs before it runs."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from stillhouse.errors import InputError
from tasks.stage.params import read_yaml

# The parameters that name what no stage makes, so that dvc.yaml has no edge for them.
SOURCES = (
    "data.files.folder",
    "data.files.train",
    "data.files.validation",
    "data.files.test",
    "data.labels",
    "data.hub.name",
    "corpus.folder",
    "corpus.hub.name",
    "teacher.model",
    "augment.word_vectors",
    "bilstm.distill.vectors",
    *(
        f"{phase}.student.from"
        for phase in (
            *("hinton.distill", "fitnets.hint", "rco.distill", "pkd.distill"),
            *("distilbert.general", "tinybert.general", "minilm.general", "smallest.student"),
        )
    ),
)
# Those of them that are names of files in another one's folder, where that is given.
IN_A_FOLDER = dict.fromkeys(
    ("data.files.train", "data.files.validation", "data.files.test", "data.labels"), "data.files.folder"
)


def refuse_outputs(params: dict[str, Any], root: Path) -> None:
    """Raise for a source that is an output of a stage, lies in one, or contains one.

    What is not there yet is refused too: stage `code` would not look again once it is.

    Args:
        params: the tree of params.yaml.
        root: the project's folder, with dvc.yaml.

    Raises:
        InputError: there is such a source.
    """
    if not (root / "dvc.yaml").is_file():
        return
    outputs = [(name, (root / path).resolve()) for name, path in stage_outputs(read_yaml(root / "dvc.yaml"), params)]
    place_at = cache(place_of)  # most outputs stand in the same few folders
    written = [(name, place_at(output), {place_at(above) for above in output.parents}) for name, output in outputs]
    for key in SOURCES:
        value = value_at(params, key)
        if not isinstance(value, str):
            continue
        folder = value_at(params, IN_A_FOLDER[key]) if key in IN_A_FOLDER else None
        try:
            source = (root / Path(str(folder or ""), value).expanduser()).resolve()
        except (RuntimeError, ValueError) as error:  # ~ of nobody's, a link to itself; signs that no name has
            raise InputError(f"{key} = {value!r}: no file or model has such a name ({error}): correct it") from None
        place, around = place_at(source), {place_at(each) for each in (source, *source.parents)}
        for (name, output), (_, its_place, above) in zip(outputs, written, strict=True):
            if its_place in around or place in above:
                shown = output.relative_to(root.resolve()) if output.is_relative_to(root.resolve()) else output
                raise InputError(
                    f"{key} = '{value}' is, holds or lies in '{shown}', which stage '{name}' writes and DVC clears "
                    "first: move it to a folder that no stage writes, and name that one"
                )


def place_of(path: Path) -> tuple[Any, ...]:
    """What says of two paths that they are one place, where letters of either case or mounts give it several names."""
    try:
        found = path.stat()
    except OSError:
        return (place_of(path.parent), path.name) if path != path.parent else (path.name,)
    return (found.st_dev, found.st_ino)


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
