"""`finish` in params.yaml: the last links that every recipe's student can have, and which recipes have them."""

from pathlib import Path

from pydantic import Field

from stillhouse.errors import InputError
from tasks.stage.params import PARAMS, Block, load, read_yaml


class Calibration(Block):
    """`calibration` of int8, for static activations."""

    rows: int = Field(gt=0, description="Training rows whose activations are watched")
    momentum: float | None = Field(ge=0, lt=1, description="Of a moving average over batches; null: the outermost")
    max_length: int = Field(gt=0, description="Tokens a row")
    seed: int = Field(ge=0, description="Which rows")


class Trim(Block):
    """`finish.trim`: the vocabulary."""

    floor: int = Field(gt=0, description="A piece that stands in the training rows (and the corpus) less often goes,")
    first: int = Field(ge=0, description="Unless it is one of the tokenizer's so many first, its most common")


class Factorize(Block):
    """`finish.factorize`: the word vectors."""

    energy: float = Field(gt=0, lt=1, description="Share of its squared singular values that the table keeps")


class Int8(Block):
    """`finish.int8`: the weights."""

    embeddings: bool = Field(description="The word vectors in eight bits too")
    reduce_range: bool = Field(description="Integers of -63 to 63, for processors with AVX2 and no VNNI")
    calibration: Calibration | None = Field(description="Of static activations; null: dynamic ones")


class Links(Block):
    """The links of a chain, in their order; null leaves one out."""

    trim: Trim | None
    factorize: Factorize | None
    int8: Int8 | None


class Own(Block):
    """What a recipe says for itself: a link that is not named is as all others have it."""

    trim: Trim | None = None
    factorize: Factorize | None = None
    int8: Int8 | None = None


class FinishParams(Links):
    """`finish` in params.yaml."""

    corpus: str = Field(description="Whose text `trim` counts too; data/task: the task's alone; dvc.yaml reads it")
    of: dict[str, Own] = Field(description="The recipes that have a finished form")

    def links(self, recipe: str) -> Links:
        """A recipe's.

        Raises:
            InputError: it has no finished form.
        """
        if recipe not in self.of:
            raise InputError(f"finish.of does not name '{recipe}': it has no finished form: give it a line there")
        own = self.of[recipe]
        said = {name: getattr(own, name) for name in own.model_fields_set}
        return Links.model_construct(**{name: said.get(name, getattr(self, name)) for name in Links.model_fields})


def finished_recipes(params: Path = PARAMS) -> list[str]:
    """The recipes that have a finished form, by a params.yaml; none where it has no block `finish`."""
    return list(load("finish", FinishParams, params).of) if "finish" in read_yaml(params) else []
