"""Logits of a whole data set, in its own order, with little padding.

B sentences in a batch, L tokens of its longest, N sentences in all, C classes (1 for regression).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from stillhouse.training.batches import collate
from stillhouse.training.ragged import Gathered, Ragged

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
    rows = TokenRows(data)
    order = rows.longest_first()
    classes: int = model.config.num_labels  # type: ignore[assignment]
    logits = np.empty((len(rows), classes), dtype=np.float32)
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for start in range(0, len(order), batch_size):
                chosen = order[start : start + batch_size]
                batch = collate(rows.at(chosen), tokenizer.pad_token_id)  # (B, L) each
                inputs = {name: tensor.to(model.device) for name, tensor in batch.items()}
                logits[chosen] = model(**inputs).logits.float().cpu().numpy()
    finally:
        model.train(training)
    return logits


class TokenRows:
    """The inputs of each row, of which no more is in memory than is asked for.

    Args:
        data: rows with `input_ids` and maybe `token_type_ids`: a list of dicts, or a `datasets.Dataset`.
        columns: others that are read too.
    """

    def __init__(self, data: Any, columns: Sequence[str] = ()) -> None:
        self.table = hasattr(data, "select_columns")
        self.names = (*INPUTS, *columns)
        self.data = data.select_columns([n for n in self.names if n in data.column_names]) if self.table else data

    def __len__(self) -> int:
        return len(self.data)

    def at(self, places: Sequence[int]) -> list[dict[str, Any]]:
        """The rows at some places."""
        if not self.table:
            rows = (self.data[place] for place in places)
            return [{name: row[name] for name in self.names if name in row} for row in rows]
        columns = self.data[list(places)]
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]

    def in_order(self, batch_size: int) -> Iterator[list[dict[str, Any]]]:
        """All rows, so many at a time."""
        for first in range(0, len(self), batch_size):
            yield self.at(range(first, min(first + batch_size, len(self))))

    def longest_first(self) -> list[int]:
        """All places, those of the most tokens first: what does not fit into memory fails at once."""
        return np.argsort(-self._lengths(), kind="stable").tolist()

    def _lengths(self) -> np.ndarray:
        if not self.table:
            return np.array([len(row["input_ids"]) for row in self.data], dtype=np.int64)
        parts = self.data.with_format("arrow").iter(10_000)
        found = [part["input_ids"].combine_chunks().value_lengths().to_numpy() for part in parts]
        return np.concatenate(found, dtype=np.int64) if found else np.empty(0, dtype=np.int64)


def rows_in_batches(
    forward: Callable[[dict[str, torch.Tensor]], np.ndarray],
    data: Any,
    tokenizer: PreTrainedTokenizerBase,
    batch_size: int,
    of_row: Callable[[np.ndarray, dict[str, Any]], np.ndarray],
    columns: Sequence[str] = (),
) -> Ragged:
    """What `of_row` makes of what `forward` gives at each token of a row; rows in order, computed the longest first.

    Args:
        forward: of a batch (B, L), (B, L, …).
        data: rows with `input_ids` and maybe `token_type_ids`, and with `columns`.
        of_row: of one row's (L, …), L its own, and its `columns`.
    """
    rows = TokenRows(data, columns)
    gathered = Gathered(len(rows))
    order = rows.longest_first()
    for begin in range(0, len(order), batch_size):
        chosen = order[begin : begin + batch_size]
        inputs = rows.at(chosen)
        others = [{name: row.pop(name) for name in columns} for row in inputs]
        given = forward(collate(inputs, tokenizer.pad_token_id))
        lengths = [len(row["input_ids"]) for row in inputs]
        made = zip(given, lengths, others, strict=True)
        gathered.add(chosen, [of_row(values[:length], other) for values, length, other in made])
    return gathered.whole()
