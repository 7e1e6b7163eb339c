"""Distilled > student on hard labels (Hinton 2015, section 3)."""

from torch import nn
from transformers import PreTrainedModel

from benchmarks.claims import Claim, Relation
from benchmarks.lab import Lab
from benchmarks.set_up import CONVERGED
from stillhouse.encoders.student import build_student
from stillhouse.methods.hinton import distillation_loss
from stillhouse.training.batches import Batch, model_inputs


def student(lab: Lab) -> PreTrainedModel:
    """Two of the un-fine-tuned teacher's layers."""
    return build_student(lab.bare(), layers=2, source_layers=[3, 6], seed=0)


def step(model: nn.Module, batch: Batch) -> dict:
    """α = 0.9, T = 4."""
    return distillation_loss(model(**model_inputs(batch)).logits, batch["teacher_logits"], batch["labels"], 0.9, 4.0)


def hard(lab: Lab, seed: int) -> list[int]:
    return lab.predictions(lab.fine_tune(student(lab), seed))


def distilled(lab: Lab, seed: int) -> list[int]:
    model = student(lab)
    lab.fit(model, step, lab.taught(), seed=seed)
    return lab.predictions(model)


CLAIM = Claim(
    "hinton",
    "distilled > student on hard labels",
    {"hard": hard, "distilled": distilled},
    [Relation("distilled", "hard", paper=0.0072, source="MNIST: 146 errors in 10,000, distilled 74")],
    set_up=CONVERGED,
)
