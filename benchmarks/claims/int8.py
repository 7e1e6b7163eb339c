"""At most one point lost; training with the rounding ≥ rounding afterwards (Q8BERT: Zafrir 2019, table 1).

All variants take as many steps from the same start: training with the rounding is the fine-tuning itself, as in the
paper, and the others round the model that plain fine-tuning gives.
"""

from collections.abc import Callable
from functools import partial

from transformers import PreTrainedModel

from benchmarks.claims import Claim, Relation
from benchmarks.lab import Lab
from stillhouse.methods.int8 import calibrate, convert, fake_quantize
from stillhouse.surgery import quantize
from stillhouse.training.batches import collate

CALIBRATION_ROWS, CALIBRATION_BATCH = 256, 32
MOMENTUM = 0.95  # of the ranges in training: the recipe's
POINT = 0.01

WHOLE, DYNAMIC, STATIC, TRAINED = "fp32", "dynamic", "calibrated", "trained with the rounding"


def whole(lab: Lab, seed: int) -> PreTrainedModel:
    return lab.teacher(seed)


def dynamic(lab: Lab, seed: int) -> PreTrainedModel:
    return quantize(lab.teacher(seed))


def static(lab: Lab, seed: int) -> PreTrainedModel:
    """With the outermost numbers of some training rows as ranges."""
    teacher = lab.teacher(seed)
    starts = range(0, min(CALIBRATION_ROWS, len(lab.rows)), CALIBRATION_BATCH)
    batches = (collate(list(lab.rows)[i : i + CALIBRATION_BATCH], lab.tokenizer.pad_token_id) for i in starts)
    return quantize(teacher, ranges=calibrate(teacher, batches, momentum=None))


def trained(lab: Lab, seed: int) -> PreTrainedModel:
    return convert(lab.fine_tune(fake_quantize(lab.bare(seed), embeddings=True, momentum=MOMENTUM), seed))


def variant(make: Callable[[Lab, int], PreTrainedModel]) -> Callable[[Lab, int], list[int]]:
    return partial(run, make)


def run(make: Callable[[Lab, int], PreTrainedModel], lab: Lab, seed: int) -> list[int]:
    return lab.predictions(make(lab, seed))


CLAIM = Claim(
    "int8",
    "at most one point lost; training with the rounding ≥ rounding afterwards",
    {WHOLE: variant(whole), DYNAMIC: variant(dynamic), STATIC: variant(static), TRAINED: variant(trained)},
    [
        Relation(DYNAMIC, WHOLE, margin=POINT),
        Relation(STATIC, WHOLE, margin=POINT),
        Relation(TRAINED, WHOLE, margin=POINT),
        Relation(TRAINED, DYNAMIC),
    ],
)
