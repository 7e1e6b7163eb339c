"""smallest: a chain of other recipes' stages, each with a block of its own, for the least model under a budget.

hinton (a shallow student) → (trim: its vocabulary; left out unless asked for →) lowrank (its word vectors) →
structured (which heads, units and dimensions stay) → structured-distil (the slices, with the teacher's logits: what the
steps before took is recovered here) → int8. What a stage starts from is a field of its block, so a link can be left out
there.
"""

from collections.abc import Sequence

from pydantic import Field
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.phases.plan import Plan
from tasks.phases.run import Given
from tasks.recipes import hinton, int8, lowrank, structured, structured_distil
from tasks.recipes import trim as trimming
from tasks.stage.params import Block


class Factorize(lowrank.Factorize):
    """`smallest.factorize` in params.yaml."""

    source: str = Field(description="The checkpoint that is factorized; dvc.yaml reads it")


class Params(Block):
    """`smallest` in params.yaml: a phase of each recipe in the chain, by the same rules."""

    student: hinton.Distill = Field(description="As hinton.distill")
    trim: trimming.Trim = Field(description="As trim.trim")
    factorize: Factorize = Field(description="As lowrank.factorize, of `source`")
    gates: structured.Gates = Field(description="As structured.gates")
    retrain: structured_distil.Retrain = Field(description="As structured-distil.retrain")
    quantize: int8.Quantize = Field(description="As int8.quantize")


def student(params: hinton.Distill, given: Given) -> Plan:
    """The shallow student, on the teacher's logits and the labels."""
    return hinton.distill(params, given)


def trim(
    params: trimming.Trim, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The student without the word vectors that the task never uses."""
    return trimming.trim(params, model, tokenizer, texts)


def factorize(params: Factorize, given: Given) -> PreTrainedModel:
    """The student with thinner matrices."""
    return lowrank.factorize(params, given)


def gates(params: structured.Gates, given: Given, tokens: int) -> Plan:
    """What of the student stays."""
    return structured.gates(params, given, tokens)


def retrain(params: structured_distil.Retrain, given: Given) -> Plan:
    """The slices, on the teacher's logits and the labels."""
    return structured_distil.retrain(params, given)


def quantize(params: int8.Quantize, given: Given) -> Plan:
    """The slices in eight bits."""
    return int8.quantize(params, given)
