"""The teacher's start and end logits of each window: computed once, kept by content, shared by every student.

L tokens in a window, M in all windows together.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset, concatenate_datasets
from transformers import AutoModelForQuestionAnswering, PreTrainedTokenizerBase

from stillhouse.answers.spans import span_logits
from stillhouse.encoders.checkpoint import load_model
from tasks.phases.logit_targets import cached_arrays
from tasks.stage.params import TrainParams


def add_spans(data: Dataset, train: TrainParams, folder: Path, tokenizer: PreTrainedTokenizerBase) -> Dataset:
    """The windows with `teacher_start` and `teacher_end`, L logits each.

    Args:
        data: tokenized windows.
        train: how many go in a forward pass.
        folder: the teacher's checkpoint.
    """

    def compute() -> dict[str, np.ndarray]:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        model = load_model(folder, AutoModelForQuestionAnswering).to(device)  # type: ignore[arg-type]
        logits = span_logits(model, data, tokenizer, batch_size=train.eval_batch_size)
        # One after the other: windows differ in length.
        return {name: np.concatenate([both[side] for both in logits]) for side, name in enumerate(("start", "end"))}

    found = cached_arrays(data, folder, compute)  # (M,) each
    offsets = pa.array(np.cumsum([0, *data["length"][:]]), pa.int32())
    columns = {f"teacher_{name}": pa.ListArray.from_arrays(offsets, pa.array(found[name])) for name in found}
    return concatenate_datasets([data, Dataset(pa.table(columns))], axis=1)
