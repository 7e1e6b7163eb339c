"""smallest: a chain of other recipes' stages, each with a block of its own, for the least model under a budget.

hinton (a shallow student) → (trim: its vocabulary; left out unless asked for →) lowrank (its word vectors) →
structured (which heads, units and dimensions stay) → structured-distil (the slices, with the teacher's logits: what the
steps before took is recovered here) → int8. What a stage starts from is a field of its block, so a link can be left out
there.

When to use it: there is a budget, and rows are enough for two layers to learn the task: then it is the least model that
keeps nearly all of its teacher. Answers to questions and rare names were too much for it.
"""

from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from itertools import chain
from pathlib import Path

from pydantic import Field
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from stillhouse.encoders.checkpoint import load_tokenizer
from tasks.links.trimming import corpus_texts, texts_of
from tasks.phases.plan import Plan
from tasks.phases.run import Given, Untrained
from tasks.phases.student import start_any_student
from tasks.recipes import hinton, int8, lowrank, structured, structured_distil
from tasks.recipes import trim as trimming
from tasks.stage.params import Block, load


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


def untrained(file: Path, given: Given, tokens: int) -> Untrained:
    """The last link of the chain in its shape, with no training: each link of what its block names as its start.

    Raises:
        InputError: a link refuses its numbers, or starts from what does not exist.
    """
    params = load("smallest", Params, file)

    def at_start() -> Untrained:
        model, own = start_any_student(given, params.student.student, params.student.phase.seed)
        return model, own or given.tokenizer

    def trimmed() -> Untrained:
        assert given.task is not None
        texts = list(chain.from_iterable(texts_of(given.task.train, given.kind.present)))
        texts += corpus_texts(Path(params.trim.corpus), given.task.folder)
        return trim(params.trim, *checkpoint(params.trim.source), texts)

    def factorized() -> Untrained:
        model, tokenizer = checkpoint(params.factorize.source)
        return lowrank.untrained_factors(params.factorize, model, replace(given, tokenizer=tokenizer)), tokenizer

    def sliced() -> Untrained:
        model, tokenizer = checkpoint(params.gates.teacher)
        return structured.untrained_slices(params.gates, model, tokens), tokenizer

    links: dict[str, Callable[[], Untrained]] = {
        "models/smallest-student": at_start,
        "models/smallest-trim": trimmed,
        "models/smallest-factorize": factorized,
        "models/smallest-retrain": sliced,
    }

    def checkpoint(source: str) -> Untrained:
        if source in links:
            return links[source]()
        return given.kind.load(Path(source)), load_tokenizer(Path(source))

    with redirect_stdout(StringIO()):  # what links say of themselves, they say when they run
        model, tokenizer = checkpoint(params.quantize.source)
        return int8.untrained_bytes(params.quantize, model, tokenizer, given), tokenizer
