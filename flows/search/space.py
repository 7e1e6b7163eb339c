"""The block `search` of params.yaml: what is tried, how often, and on how many passes."""

from typing import Annotated, Any

from pydantic import Field, model_validator

from stillhouse.errors import InputError
from tasks.stage.outside import value_at
from tasks.stage.params import Block

# Blocks that decide the task, the teacher and what trials are judged by, or that no trial reads.
COMMON = ("search", "evaluate", "data", "teacher", "train", "kinds", "ensemble", "budget", "promote", "shared")
Value = bool | int | float | str | None


class Range(Block):
    """Numbers from `low` to `high`: whole ones where both are whole."""

    low: int | float
    high: int | float
    step: int | float | None = Field(default=None, gt=0, description="Between two of them; none: 1, or any number")
    log: bool = Field(default=False, description="Drawn by their logarithm; goes without `step`")

    @model_validator(mode="after")
    def _in_order(self) -> "Range":
        if self.low >= self.high:
            raise ValueError(f"low = {self.low} must lie below high = {self.high}")
        if self.log and (self.step is not None or self.low <= 0):
            raise ValueError("log: true wants low > 0 and no step")
        return self

    @property
    def whole(self) -> bool:
        """Whether its numbers are whole."""
        return all(isinstance(each, int) for each in (self.low, self.high, self.step or 1))


Choices = Annotated[list[Value], Field(min_length=1)]
Space = dict[str, Choices | Range]


class SearchParams(Block):
    """`search` in params.yaml."""

    trials: int = Field(
        gt=0, description="Chains that fit the budget's size and time and are trained on the first rung"
    )
    proposals: int = Field(gt=0, description="Chains that are proposed at most, those refused included")
    rungs: int = Field(gt=0, description="Successive halving: the last has all passes; 1: no halving")
    reduction: int = Field(
        gt=1, description="η: a rung has so many times fewer trials and more passes than the one before"
    )
    at_once: int = Field(
        gt=0, description="Trials of a round: proposed before any of it is trained; side by side over a pool"
    )
    startup: int = Field(gt=0, description="Proposals that are drawn at random before the sampler learns from them")
    seed: int = Field(ge=0, description="Of the sampler")
    space: dict[str, Space] = Field(description="By recipe: dotted names of params.yaml, and what each may be")


def check_space(
    params: SearchParams, tree: dict[str, Any], recipes: tuple[str, ...], searched: tuple[str, ...]
) -> None:
    """Whether the space names recipes and parameters that there are.

    Args:
        tree: of params.yaml.
        recipes: the project's.
        searched: those of them whose shape is known before they are trained.

    Raises:
        InputError: it does not.
    """
    if not params.space:
        raise InputError("search.space is empty: name a recipe and its parameters")
    for recipe, space in params.space.items():
        if recipe not in recipes:
            raise InputError(f"search.space.{recipe}: no such recipe: choose among {', '.join(recipes)}")
        if recipe not in searched:
            raise InputError(
                f"search.space.{recipe}: its shape is not known before training: choose among {', '.join(searched)}"
            )
        if not space:
            raise InputError(f"search.space.{recipe} names no parameter: give one, such as {recipe}.….layers: [1, 2]")
        for name in space:
            *path, last = name.split(".")
            block = value_at(tree, ".".join(path)) if path else None
            if not isinstance(block, dict) or last not in block:
                raise InputError(f"search.space.{recipe}.{name}: params.yaml has no such parameter: check its spelling")
            if name.split(".")[0] in COMMON:
                raise InputError(f"search.space.{recipe}.{name} is what all trials have in common: leave it out")


def in_space(what: Choices | Range, value: Any) -> bool:
    """Whether a value is among those that an entry of the space may be."""
    if isinstance(what, list):
        return any(value == each and type(value) is type(each) for each in what)
    if isinstance(value, bool) or not isinstance(value, int | float) or not what.low <= value <= what.high:
        return False
    if what.whole and not isinstance(value, int):
        return False
    steps = (value - what.low) / what.step if what.step else 0.0
    return abs(steps - round(steps)) < 1e-9
