"""Logits of a whole data set, in its own order, with little padding.

B sentences in a batch, L tokens of its longest, N sentences in all, C classes (1 for regression).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

MULTIPLE = 8  # lengths are padded to a multiple of it: each new shape makes oneDNN build its kernels again


def predict(
    model: PreTrainedModel,
    data: Any,
    tokenizer: PreTrainedTokenizerBase,
    *,
    batch_size: int,
    device: torch.device | str | None = None,
) -> np.ndarray:
    """Run a model with a `logits` output over tokenized sentences.

    Args:
        model: stays where it is unless `device` is given; its train/eval mode is given back as it was.
        data: rows with `input_ids` and maybe `token_type_ids`: a list of dicts, or a `datasets.Dataset`.
        tokenizer: tells the padding.
        batch_size: sentences a forward pass.

    Returns:
        (N, C) float32 logits, row i for `data[i]`.
    """
    if device is not None:
        model.to(device)  # type: ignore[arg-type]  # transformers' wrapper hides `self`
    columns = _columns(data)
    lengths = [len(ids) for ids in columns["input_ids"]]
    # The longest first: what does not fit into memory fails at once.
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    classes: int = model.config.num_labels  # type: ignore[assignment]
    logits = np.empty((len(lengths), classes), dtype=np.float32)
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for start in range(0, len(order), batch_size):
                rows = order[start : start + batch_size]
                batch = {
                    name: tensor.to(model.device) for name, tensor in pad(columns, rows, tokenizer).items()
                }  # (B, L) each
                logits[rows] = model(**batch).logits.float().cpu().numpy()
    finally:
        model.train(training)
    return logits


def pad(
    columns: Mapping[str, Sequence[Sequence[int]]], rows: Sequence[int], tokenizer: PreTrainedTokenizerBase
) -> dict[str, torch.Tensor]:
    """Put some rows of tokenized columns into (B, L) tensors, with the attention mask, L a multiple of 8."""
    lengths = torch.tensor([len(columns["input_ids"][row]) for row in rows])
    width = -(-int(lengths.max()) // MULTIPLE) * MULTIPLE
    fill = {"input_ids": tokenizer.pad_token_id, "token_type_ids": tokenizer.pad_token_type_id}
    batch = {"attention_mask": (torch.arange(width) < lengths[:, None]).long()}
    for name, values in columns.items():
        batch[name] = torch.full((len(rows), width), fill[name])
        for i, row in enumerate(rows):
            batch[name][i, : lengths[i]] = torch.as_tensor(values[row])
    return batch


def _columns(data: Any) -> dict[str, Sequence[Sequence[int]]]:
    if hasattr(data, "column_names"):
        return {name: data[name][:] for name in ("input_ids", "token_type_ids") if name in data.column_names}
    return {name: [row[name] for row in data] for name in ("input_ids", "token_type_ids") if name in data[0]}
