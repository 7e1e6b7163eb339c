"""`export` in params.yaml: the formats beside a model's own, and whose students are written in them."""

from pathlib import Path

from pydantic import Field, field_validator

from stillhouse.errors import InputError
from stillhouse.onnx.formats import FORMATS, check_formats
from tasks.links.params import Calibration
from tasks.stage.params import PARAMS, Block, load, read_yaml


class OwnFormats(Block):
    """What a recipe says for itself; what it does not name is as all others have it."""

    formats: list[str] | None = None

    @field_validator("formats")
    @classmethod
    def _known(cls, names: list[str] | None) -> list[str] | None:
        return None if names is None else _checked(names)


class ExportParams(Block):
    """`export` in params.yaml."""

    formats: list[str] = Field(description=f"Of {', '.join(FORMATS)}")
    calibration: Calibration = Field(description="Of formats that round activations by ranges seen beforehand")
    of: dict[str, OwnFormats] = Field(description="The recipes whose students are written in them")

    @field_validator("formats")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        return _checked(names)

    def formats_of(self, recipe: str) -> list[str]:
        """A recipe's.

        Raises:
            InputError: it has none.
        """
        if recipe not in self.of:
            raise InputError(f"export.of does not name '{recipe}': it has no other formats: give it a line there")
        own = self.of[recipe].formats
        return self.formats if own is None else own


def recipes_with_formats(params: Path = PARAMS) -> list[str]:
    """The recipes whose students are written in other formats; none where params.yaml has no block `export`."""
    return list(load("export", ExportParams, params).of) if "export" in read_yaml(params) else []


def _checked(names: list[str]) -> list[str]:
    if not names:
        raise ValueError("names no format: name one, or leave the recipe out of export.of")
    try:
        check_formats(names)
    except InputError as error:
        raise ValueError(str(error)) from None
    if len(set(names)) < len(names):
        raise ValueError("names a format twice")
    return names
