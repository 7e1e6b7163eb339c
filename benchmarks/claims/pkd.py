"""PKD > KD, and skip ≥ last (Sun 2019, tables 1 and 3)."""

from collections.abc import Callable
from functools import partial

from benchmarks.claims import Claim, Relation
from benchmarks.lab import Lab
from stillhouse.encoders.student import build_student
from stillhouse.encoders.teacher import FrozenTeacher
from stillhouse.methods.pkd import layer_map, patient_step

ALPHA, TEMPERATURE = 0.5, 5.0
START = [2, 4, 6]  # the paper's first layers say nothing at [CLS] in a teacher that pools by the mean


def variant(kind: str, beta: float) -> Callable[[Lab, int], list[int]]:
    return partial(run, kind, beta)


def run(kind: str, beta: float, lab: Lab, seed: int) -> list[int]:
    """The student starts from layers of the teacher before fine-tuning."""
    student = build_student(lab.bare(), layers=len(START), source_layers=START, seed=seed)
    mapping = layer_map(kind, len(START), lab.bare().config.num_hidden_layers)
    frozen = FrozenTeacher(lab.teacher(), max(mapping), [])
    lab.fit(student, patient_step(frozen, mapping, ALPHA, beta, TEMPERATURE), lab.taught(), seed=seed)
    return lab.predictions(student)


CLAIM = Claim(
    "pkd",
    "PKD > KD; skip ≥ last",
    {"PKD, skip": variant("skip", 100.0), "PKD, last": variant("last", 100.0), "KD": variant("skip", 0.0)},
    [Relation("PKD, skip", "KD"), Relation("PKD, skip", "PKD, last")],
)
