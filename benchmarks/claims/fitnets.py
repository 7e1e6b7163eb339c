"""On a thin deep student, error(hint → KD) ≤ KD ≤ plain (Romero 2015, table 3)."""

from collections.abc import Callable
from functools import partial

from torch import nn

from benchmarks.claims import Claim, Relation
from benchmarks.lab import Lab
from stillhouse.encoders.student import build_student
from stillhouse.encoders.teacher import FrozenTeacher
from stillhouse.methods.fitnets import GuidedStudent, distillation_loss, hint_step, middle_layer
from stillhouse.training.batches import Batch, model_inputs
from stillhouse.training.schedules import Scheduled, linear

LAYERS, WIDTH = 8, 192
RATE = 5e-4  # the recipe's: from random weights, at the rate of the other checks nothing is learnt


def variant(hint: bool, distil: bool) -> Callable[[Lab, int], list[int]]:
    return partial(run, hint, distil)


def run(hint: bool, distil: bool, lab: Lab, seed: int, layers: int = LAYERS) -> list[int]:
    """Every variant passes over the data as often; the hint comes before."""
    teacher = lab.teacher()
    student = build_student(
        teacher, layers=layers, hidden_size=WIDTH, heads=6, intermediate_size=4 * WIDTH, source_layers=None, seed=seed
    )
    if hint:
        guided = middle_layer("guided_layer", None, layers)
        depth = middle_layer("hint_layer", None, teacher.config.num_hidden_layers)
        model = GuidedStudent(student, guided, teacher.config.hidden_size, seed)
        lab.fit(model, hint_step(FrozenTeacher(lab.teacher(), depth, [])), lab.rows, seed=seed, learning_rate=RATE)
    if not distil:
        return lab.predictions(lab.fine_tune(student, seed, learning_rate=RATE))
    weight = Scheduled(linear(4.0, 1.0))

    def step(model: nn.Module, batch: Batch) -> dict:
        logits = model(**model_inputs(batch)).logits
        return distillation_loss(logits, batch["teacher_logits"], batch["labels"], weight.value, 3.0)

    lab.fit(student, step, lab.taught(), seed=seed, callbacks=[weight], learning_rate=RATE)
    return lab.predictions(student)


CLAIM = Claim(
    "fitnets",
    "hint then KD ≥ KD ≥ plain, on a thin deep student",
    {"hint → KD": variant(True, True), "KD": variant(False, True), "plain": variant(False, False)},
    [Relation("hint → KD", "KD"), Relation("KD", "plain")],
)
