"""Linear schedule ≥ constant > reversed; Theseus > the same truncated model fine-tuned (Xu 2020, tables 3 and 5)."""

from collections.abc import Callable
from functools import partial

from torch import nn

from benchmarks.claims import Claim, Relation
from benchmarks.lab import Lab
from stillhouse.encoders.student import build_student
from stillhouse.methods.theseus import Theseus, replacement_schedule
from stillhouse.training.batches import Batch, model_inputs
from stillhouse.training.losses import task_loss
from stillhouse.training.outcomes import classify
from stillhouse.training.schedules import Scheduled

START = [3, 6]  # the last layers of two groups: the first layers of a mean-pooling teacher say nothing at [CLS]
FINE_TUNED = 2.0  # passes after the replacement


def variant(schedule: str, base: float) -> Callable[[Lab, int], list[int]]:
    return partial(run, schedule, base)


def run(schedule: str, base: float, lab: Lab, seed: int) -> list[int]:
    teacher = lab.teacher()
    successor = build_student(teacher, layers=len(START), source_layers=START, seed=seed)
    rate = Scheduled(replacement_schedule(schedule, base, 0.8))

    def step(model: nn.Module, batch: Batch) -> dict:
        return {"task": task_loss(model(model_inputs(batch), rate.value).logits, batch["labels"])}

    lab.fit(Theseus(teacher, successor), step, lab.rows, seed=seed, callbacks=[rate])
    lab.fit(successor, classify, lab.rows, seed=seed, epochs=FINE_TUNED)
    return lab.predictions(successor)


def truncated(lab: Lab, seed: int) -> list[int]:
    """The same layers, fine-tuned for as many passes in all."""
    model = build_student(lab.teacher(), layers=len(START), source_layers=START, seed=seed)
    return lab.predictions(lab.fine_tune(model, seed, epochs=lab.numbers.epochs + FINE_TUNED))


CLAIM = Claim(
    "theseus",
    "linear schedule ≥ constant > reversed; Theseus > the same truncated model fine-tuned",
    {
        "linear": variant("linear", 0.3),
        "constant": variant("constant", 0.5),
        "reversed": variant("reversed", 0.3),
        "truncated": truncated,
    },
    [Relation("linear", "constant"), Relation("constant", "reversed"), Relation("linear", "truncated")],
)
