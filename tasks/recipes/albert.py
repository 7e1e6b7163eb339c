"""albert: layers share weights, word vectors are factorized; masked LM and sentence order on pairs; then the task.

When to use it: bytes are short, and speed is not: layers share weights and are computed as often as before. It wants a
corpus like the task's text, and more of it than the small default one.
"""

from typing import Literal

from datasets import Dataset
from pydantic import Field
from transformers import PreTrainedTokenizerBase

from stillhouse.encoders.families import encoder
from stillhouse.encoders.measure import parameters
from stillhouse.errors import InputError
from stillhouse.methods import albert as method
from tasks.phases.plan import Plan, left_out
from tasks.phases.run import Given
from tasks.phases.task_loss import TaskParams, task_plan
from tasks.stage.params import Block, Phase


class Weights(Block):
    """Weights of the losses on the corpus; 0 leaves one out."""

    mlm: float = Field(ge=0, description="The masked tokens")
    sop: float = Field(ge=0, description="Whether two segments stand in their order")


class General(Block):
    """`albert.general` in params.yaml."""

    share: Literal["all", "attention", "ffn", "none"] = Field(description="What the layers of a group have in common")
    groups: int = Field(gt=0, description="Of consecutive layers; must divide the teacher's")
    start: Literal["average"] | int = Field(description="Of a group: its layers' average, or one of them, from 1")
    embedding_size: int | None = Field(gt=0, description="E, width of the word vectors; null: not factorized")
    weights: Weights
    mask: float = Field(gt=0, lt=1, description="Share of the tokens that are masked")
    phase: Phase | None = Field(description="null leaves it out, as an ablation")


class Params(Block):
    """`albert` in params.yaml."""

    general: General
    distill: TaskParams


def general(params: General, given: Given) -> Plan:
    """The masked LM, shared and factorized, on pairs of segments; its encoder is what is kept.

    Raises:
        InputError: a model or a corpus of another kind, or a shape that does not fit the model.
    """
    masked, tokenizer = given.teacher, given.tokenizer
    if masked.get_output_embeddings() is None:
        raise InputError(f"albert's model is a {type(masked).__name__}: give a masked LM (--mlm models/mlm)")
    if "text_pair" not in given.rows.column_names:
        raise InputError("albert's corpus has single texts: give pairs of segments (--corpus data/corpus-pairs)")
    model = method.shared(
        masked, share=params.share, groups=params.groups, start=params.start, embedding_size=params.embedding_size
    )
    before, after = parameters(encoder(masked)), parameters(encoder(model))
    print(f"parameters without a head: {after:,} of {before:,}", flush=True)
    weights = params.weights.model_dump()
    if params.phase is None or not any(weights.values()):
        return left_out(encoder(model))
    step = method.pretraining_step(params.mask, tokenizer.mask_token_id, tokenizer.all_special_ids, len(tokenizer))
    return Plan(
        encoder(model),
        method.Pretraining(model, weights, params.phase.seed),
        step,
        params.phase,
        encode=lambda rows, max_length: segments(rows, tokenizer, max_length),
    )


def distill(params: TaskParams, given: Given) -> Plan:
    """The task, from the general model."""
    assert given.student is not None
    return task_plan(given, given.student, params.task, params.phase)


def segments(rows: Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int) -> Dataset:
    """Tokenized pairs, and the tokens of each segment as `first` and `second`; where too long, the longer is cut."""

    def encode(batch: dict[str, list]) -> dict[str, list]:
        tokens = tokenizer(
            batch["text"], batch["text_pair"], truncation=True, max_length=max_length, return_attention_mask=False
        )
        made = {name: tokens[name] for name in tokenizer.model_input_names if name in tokens}
        sides = [tokens.sequence_ids(row) for row in range(len(tokens["input_ids"]))]
        made["length"] = [len(ids) for ids in tokens["input_ids"]]
        return made | {name: [row.count(side) for row in sides] for side, name in enumerate(("first", "second"))}

    return rows.map(
        encode, batched=True, remove_columns=rows.column_names, desc=None, keep_in_memory=len(rows) <= 100_000
    )
