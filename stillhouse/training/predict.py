"""Logits of a whole data set, in its own order, with little padding.

B sentences in a batch, L tokens of its longest, N sentences in all, C classes (1 for regression).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from stillhouse.training.batches import collate

INPUTS = ("input_ids", "token_type_ids")


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
    rows = token_rows(data)
    # The longest first: what does not fit into memory fails at once.
    order = sorted(range(len(rows)), key=lambda i: -len(rows[i]["input_ids"]))
    classes: int = model.config.num_labels  # type: ignore[assignment]
    logits = np.empty((len(rows), classes), dtype=np.float32)
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for start in range(0, len(order), batch_size):
                chosen = order[start : start + batch_size]
                batch = collate([rows[i] for i in chosen], tokenizer.pad_token_id)  # (B, L) each
                inputs = {name: tensor.to(model.device) for name, tensor in batch.items()}
                logits[chosen] = model(**inputs).logits.float().cpu().numpy()
    finally:
        model.train(training)
    return logits


def token_rows(data: Any) -> list[dict[str, list[int]]]:
    """The inputs of each row and nothing else. A `datasets.Dataset` is read by column, which is ten times faster."""
    if not hasattr(data, "column_names"):
        return [{name: row[name] for name in INPUTS if name in row} for row in data]
    columns = {name: data[name][:] for name in INPUTS if name in data.column_names}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def rows_in_batches(
    forward: Callable[[dict[str, torch.Tensor]], np.ndarray],
    data: Any,
    tokenizer: PreTrainedTokenizerBase,
    batch_size: int,
) -> list[np.ndarray]:
    """What `forward` gives at each token of each row, (L, …), in order; rows of one length go together, longest first.

    Args:
        forward: of a batch (B, L), (B, L, …).
        data: rows with `input_ids` and maybe `token_type_ids`; L is a row's own in what comes back.
    """
    rows = token_rows(data)
    order = sorted(range(len(rows)), key=lambda i: -len(rows[i]["input_ids"]))
    found: list[Any] = [None] * len(rows)
    for begin in range(0, len(order), batch_size):
        chosen = order[begin : begin + batch_size]
        given = forward(collate([rows[i] for i in chosen], tokenizer.pad_token_id))
        for place, row in enumerate(chosen):
            found[row] = given[place, : len(rows[row]["input_ids"])]
    return found
