"""The link `int8`: a model's weights in eight bits, without training."""

from collections.abc import Iterator

import numpy as np
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from stillhouse.encoders.measure import longest_input
from stillhouse.errors import InputError
from stillhouse.methods import int8 as method
from stillhouse.surgery.quantizing import Range
from stillhouse.training.batches import Batch, collate
from tasks.kinds.contract import Kind
from tasks.links.params import Calibration

BATCH = 32  # rows; a moving average counts batches, so it is part of what a checkpoint's ranges are


def ranges_of(
    model: PreTrainedModel, calibration: Calibration, kind: Kind, rows: Dataset, tokenizer: PreTrainedTokenizerBase
) -> dict[str, Range]:
    """The range of what goes into each linear layer on some training rows, by its name.

    Args:
        model: in full precision.
        rows: of the task, not encoded.
        tokenizer: the model's.

    Raises:
        InputError: the rows are to be longer than the model reads.
    """
    longest, asked = longest_input(model), calibration.max_length
    if longest is not None and asked > longest:
        raise InputError(f"calibration.max_length = {asked}, but the model reads {longest} tokens at most: lower it")
    return method.calibrate(model, _batches(calibration, kind, rows, tokenizer), calibration.momentum)


def _batches(
    calibration: Calibration, kind: Kind, rows: Dataset, tokenizer: PreTrainedTokenizerBase
) -> Iterator[Batch]:
    """Rows drawn without replacement, in batches."""
    chosen = np.random.default_rng(calibration.seed).permutation(len(rows))[: calibration.rows]
    encoded = list(kind.encode(rows.select(chosen), tokenizer, calibration.max_length))
    padding = tokenizer.pad_token_id
    assert padding is not None
    for start in range(0, len(encoded), BATCH):
        yield collate(encoded[start : start + BATCH], padding)
