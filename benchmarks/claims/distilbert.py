"""Alternate-layer start ≫ random start; dropping KL hurts more than dropping MLM (Sanh 2019, table 4)."""

from collections.abc import Callable
from functools import partial

from benchmarks.claims import Claim, Relation
from benchmarks.lab import Lab
from stillhouse.encoders.student import build_student, give_head
from stillhouse.methods.distilbert import GeneralDistillation, general_step

FULL = {"kl": 5.0, "mlm": 2.0, "cosine": 1.0}
ALTERNATE = [2, 4, 6]


def variant(weights: dict[str, float], source: list[int] | None = ALTERNATE) -> Callable[[Lab, int], list[int]]:
    return partial(run, weights, source)


def run(weights: dict[str, float], source: list[int] | None, lab: Lab, seed: int) -> list[int]:
    """The corpus, then the task with its labels alone."""
    student = build_student(lab.masked_lm(), layers=3, source_layers=source, seed=seed)
    model = GeneralDistillation(student, lab.masked_lm(), weights, 2.0)
    coder = lab.tokenizer
    step = general_step(0.15, coder.mask_token_id, coder.all_special_ids, len(coder))
    lab.fit(model, step, lab.tokenize(lab.corpus, None), seed=seed, learning_rate=2e-4)
    return lab.predictions(lab.fine_tune(give_head(student.base_model, lab.bare(), seed=0), seed))


CLAIM = Claim(
    "distilbert",
    "alternate-layer start ≫ random start; dropping KL hurts more than dropping MLM",
    {
        "full": variant(FULL),
        "−MLM": variant(FULL | {"mlm": 0.0}),
        "−KL": variant(FULL | {"kl": 0.0}),
        "random start": variant(FULL, None),
    },
    [Relation("full", "random start"), Relation("−MLM", "−KL"), Relation("full", "−KL")],
)
