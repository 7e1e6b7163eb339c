"""trim: a checkpoint without the word vectors of pieces that the task never uses; nothing is trained.

When to use it: last, of any checkpoint: it takes seconds and trains nothing. It pays most where the vocabulary is large
and the task's text narrow, and costs most where rare names decide, as those are made of the pieces that go.
"""

from collections.abc import Sequence

from pydantic import Field
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.links.trimming import trimmed
from tasks.stage.params import Block


class Trim(Block):
    """`trim.trim` in params.yaml."""

    source: str = Field(description="The checkpoint that is trimmed; dvc.yaml reads it")
    corpus: str = Field(description="A corpus whose text counts too; data/task: the task's alone; dvc.yaml reads it")
    floor: int = Field(gt=0, description="A piece that stands in the texts less often goes")


class Params(Block):
    """`trim` in params.yaml."""

    trim: Trim


def trim(
    params: Trim, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model and its tokenizer without what these texts do not use; says how many pieces that leaves."""
    return trimmed(model, tokenizer, texts, params.floor)
