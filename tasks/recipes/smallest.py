"""smallest: a chain of other recipes' stages, each with a sub-block of its own, for the least model under a budget.

hinton (a shallow student) → lowrank (its word vectors) → structured (which heads, units and dimensions stay) →
structured-distil (the slices, with the teacher's logits: what the two steps before took is recovered here) → int8.
What a stage starts from is a field of its sub-block, so a link can be left out there.
"""

from pydantic import Field
from transformers import PreTrainedModel

from tasks.kinds.contract import Kind
from tasks.kinds.labels import labels
from tasks.phases.plan import Plan
from tasks.phases.run import Given
from tasks.recipes import hinton, int8, lowrank, structured, structured_distil
from tasks.stage.params import Block

KIND = labels


class Params(Block):
    """`smallest` in params.yaml: the blocks of the recipes in the chain, by the same rules."""

    hinton: hinton.Params
    lowrank: lowrank.Factorize
    structured: structured.Choice
    retrain: structured_distil.Params = Field(description="As the block structured-distil")
    int8: int8.Params


def student(params: Params, given: Given) -> Plan:
    """The shallow student, on the teacher's logits and the labels."""
    return hinton.distill(params.hinton, given)


def factorize(params: Params, given: Given, max_length: int) -> PreTrainedModel:
    """The student with thinner matrices."""
    return lowrank.factorize(params.lowrank, given, max_length)


def gates(params: Params, given: Given, kind: Kind) -> Plan:
    """What of the student stays."""
    return structured.gates(params.structured, given, kind)


def retrain(params: Params, given: Given, kind: Kind) -> Plan:
    """The slices, on the teacher's logits and the labels."""
    return structured_distil.retrain(params.retrain, given, kind)


def quantize(params: Params, given: Given) -> Plan:
    """The slices in eight bits."""
    return int8.quantize(params.int8, given)
