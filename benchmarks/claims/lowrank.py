"""Exact at full rank; accuracy falls with the rank; Fisher-weighted ≥ plain; recovery helps (Hsu 2022, table 2).

The fine-tuned teacher, with every matrix of its layers a product of rank r. Its 384×384 matrices save weights below
r = 192, the others below 307.
"""

from collections.abc import Callable
from functools import partial
from itertools import islice

from torch import nn

from benchmarks.claims import Claim, Relation
from benchmarks.lab import Lab
from stillhouse.methods.hinton import distillation_loss
from stillhouse.methods.lowrank import factorizable, fisher_information
from stillhouse.surgery import factorize
from stillhouse.training.batches import Batch, collate, model_inputs

FISHER_ROWS, FLOOR = 256, 0.01  # the recipe's, as all that follow
RECOVERY = 3.0  # passes


def variant(rank: int | None, fisher: bool = False, recover: bool = False) -> Callable[[Lab, int], list[int]]:
    return partial(run, rank, fisher, recover)


def run(rank: int | None, fisher: bool, recover: bool, lab: Lab, seed: int) -> list[int]:
    """None for the full rank of each matrix."""
    teacher = lab.teacher(seed)
    matrices = factorizable(teacher, layers=True, embedding=False)
    ranks = {name: min(*matrix.shape, rank or max(matrix.shape)) for name, matrix in matrices.items()}
    importance = None
    if fisher:
        rows = (collate([row], lab.tokenizer.pad_token_id) for row in islice(lab.rows, FISHER_ROWS))
        found = fisher_information(teacher, rows, matrices, FLOOR)
        importance = {name: values.sqrt() for name, values in found.items()}
    model = factorize(teacher, ranks, importance)
    if recover:
        lab.fit(model, learn, lab.taught(teacher=teacher), seed=seed, epochs=RECOVERY)
    return lab.predictions(model)


def learn(model: nn.Module, batch: Batch) -> dict:
    """α = 0.7, T = 4."""
    return distillation_loss(model(**model_inputs(batch)).logits, batch["teacher_logits"], batch["labels"], 0.7, 4.0)


RANKS = {f"r = {rank}": variant(rank) for rank in (190, 128, 64)}
FULL = "full rank"
RECOVERED = "r = 128, recovered"

CLAIM = Claim(
    "lowrank",
    "exact at full rank; accuracy falls with the rank; Fisher-weighted ≥ plain; recovery helps",
    {
        "teacher": lambda lab, seed: lab.predictions(lab.teacher(seed)),
        FULL: variant(None),
        **RANKS,
        "r = 128, Fisher": variant(128, fisher=True),
        "r = 64, Fisher": variant(64, fisher=True),
        RECOVERED: variant(128, recover=True),
    },
    [
        Relation("teacher", FULL, alike=True),
        Relation(FULL, "r = 190"),
        Relation("r = 190", "r = 128"),
        Relation("r = 128", "r = 64"),
        Relation("r = 128, Fisher", "r = 128"),
        Relation("r = 64, Fisher", "r = 64"),
        Relation(RECOVERED, "r = 128"),
    ],
)
