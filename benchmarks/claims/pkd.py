"""PKD > KD, and skip ≥ last (Sun 2019, tables 1 and 3)."""

from collections.abc import Callable
from functools import partial

from benchmarks.claims import Claim, Relation
from benchmarks.lab import Lab
from stillhouse.methods.pkd import layer_map, patient_step
from stillhouse.student import build_student
from stillhouse.teacher import FrozenTeacher

LAYERS, ALPHA, TEMPERATURE = 3, 0.5, 5.0


def variant(kind: str, beta: float) -> Callable[[Lab, int], list[int]]:
    return partial(run, kind, beta)


def run(kind: str, beta: float, lab: Lab, seed: int) -> list[int]:
    """The student starts from the first layers of the teacher before fine-tuning."""
    student = build_student(lab.bare(), layers=LAYERS, source_layers=list(range(1, LAYERS + 1)), seed=seed)
    mapping = layer_map(kind, LAYERS, lab.bare().config.num_hidden_layers)
    frozen = FrozenTeacher(lab.teacher(), max(mapping), [])
    lab.fit(student, patient_step(frozen, mapping, ALPHA, beta, TEMPERATURE), lab.taught(), seed=seed)
    return lab.predictions(student)


CLAIM = Claim(
    "pkd",
    "PKD > KD; skip ≥ last",
    {"PKD, skip": variant("skip", 100.0), "PKD, last": variant("last", 100.0), "KD": variant("skip", 0.0)},
    [Relation("PKD, skip", "KD"), Relation("PKD, skip", "PKD, last")],
)
