"""−transformer ≪ −attention < −hidden < −embedding < full; uniform map > top, bottom (Jiao 2020, tables 3 to 5).

Intermediate and prediction distillation on the task alone, from random weights, as in the paper but without its general
phase: what the transformer losses give is then not given by the start.
"""

from collections.abc import Callable
from functools import partial

from torch import nn

from benchmarks.claims import Claim, Relation
from benchmarks.lab import Lab
from stillhouse.encoders.student import build_student
from stillhouse.encoders.teacher import FrozenTeacher
from stillhouse.methods.tinybert import TransformerDistillation, layer_map, prediction_loss, transformer_step
from stillhouse.training.batches import Batch, model_inputs

FULL = {"attention": 1.0, "hidden": 1.0, "embeddings": 1.0}
LAYERS = 3
RATE = 5e-4  # of both phases: at lower ones a student of random weights learns nothing in so few steps


def variant(weights: dict[str, float], kind: str = "uniform") -> Callable[[Lab, int], list[int]]:
    return partial(run, weights, kind)


def run(weights: dict[str, float], kind: str, lab: Lab, seed: int) -> list[int]:
    teacher = lab.teacher()
    student = build_student(teacher, layers=LAYERS, source_layers=None, seed=seed)
    if any(weights.values()):
        mapping = layer_map(kind, LAYERS, teacher.config.num_hidden_layers)
        frozen = FrozenTeacher(lab.teacher(), max(mapping), [n - 1 for n in mapping])
        model = TransformerDistillation(student, teacher.config.hidden_size, range(LAYERS), seed)
        lab.fit(model, transformer_step(frozen, mapping, weights), lab.rows, seed=seed, learning_rate=RATE)
    lab.fit(student, predict_as_teacher, lab.taught(), seed=seed, learning_rate=RATE)
    return lab.predictions(student)


def predict_as_teacher(model: nn.Module, batch: Batch) -> dict:
    return {"prediction": prediction_loss(model(**model_inputs(batch)).logits, batch["teacher_logits"], 1.0)}


CLAIM = Claim(
    "tinybert",
    "−transformer ≪ −attention < −hidden < −embeddings < full; uniform map > top, bottom",
    {
        "full": variant(FULL),
        "−embeddings": variant(FULL | {"embeddings": 0.0}),
        "−hidden": variant(FULL | {"hidden": 0.0}),
        "−attention": variant(FULL | {"attention": 0.0}),
        "−transformer": variant({"attention": 0.0, "hidden": 0.0, "embeddings": 0.0}),
        "top": variant(FULL, "top"),
        "bottom": variant(FULL, "bottom"),
    },
    [
        Relation("full", "−embeddings"),
        Relation("−embeddings", "−hidden"),
        Relation("−hidden", "−attention"),
        Relation("−attention", "−transformer"),
        Relation("full", "top"),
        Relation("full", "bottom"),
    ],
)
