"""Half the layers with no fine-tuning: LayerDrop ≫ plain training; every other layer > first or last half (Fan 2019).

All models train on the corpus and then on the task, as long as each other; what differs is the rate, and which layers
are left.
"""

from collections.abc import Callable
from functools import partial

from transformers import AutoModelForSequenceClassification, PreTrainedModel

from benchmarks.claims import Claim, Relation
from benchmarks.lab import Lab
from stillhouse.encoders.checkpoint import load_model
from stillhouse.encoders.families import encoder_layers
from stillhouse.encoders.student import give_head
from stillhouse.methods.layerdrop import LayerDrop, every_other, only_layers

RATE = 0.5  # p* for half the depth
FIRST, LAST, EVERY_OTHER = "first half", "last half", "every other"


def variant(rate: float, which: str, corpus: float | None = None) -> Callable[[Lab, int], list[int]]:
    return partial(run, rate, rate if corpus is None else corpus, which)


def run(rate: float, corpus: float, which: str, lab: Lab, seed: int) -> list[int]:
    model = trained(rate, corpus, lab, seed)
    depth = len(encoder_layers(model))
    half = depth // 2
    keep = {FIRST: range(half), LAST: range(depth - half, depth), EVERY_OTHER: every_other(depth, half)}[which]
    with only_layers(model, list(keep)):
        return lab.predictions(model)


def trained(rate: float, corpus: float, lab: Lab, seed: int) -> PreTrainedModel:
    """The full-depth model, trained once for all the ways to cut it.

    Args:
        rate: p on the task.
        corpus: p on the corpus.
    """

    def make() -> PreTrainedModel:
        masked = lab.masked_lm()
        drop = LayerDrop(masked, corpus)
        lab.fit(masked, lab.masked_step, lab.tokenize(lab.corpus, None), seed=seed, learning_rate=2e-4)
        drop.remove()
        model = give_head(masked.base_model, lab.bare(), seed=0)
        drop = LayerDrop(model, rate)
        lab.fine_tune(model, seed)
        drop.remove()
        return model

    return load_model(lab.kept(f"layerdrop/{corpus}-{rate}-{seed}", make), AutoModelForSequenceClassification)


CLAIM = Claim(
    "layerdrop",
    "at half depth with no fine-tuning LayerDrop ≫ plain training; every other layer > first or last half",
    {
        "every other": variant(RATE, EVERY_OTHER),
        "plain, every other": variant(0.0, EVERY_OTHER),
        "on the task alone": variant(RATE, EVERY_OTHER, corpus=0.0),
        "first half": variant(RATE, FIRST),
        "last half": variant(RATE, LAST),
    },
    [
        Relation("every other", "plain, every other"),
        Relation("every other", "on the task alone"),
        Relation("every other", "first half"),
        Relation("every other", "last half"),
    ],
)
