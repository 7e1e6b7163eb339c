"""Batches: rows of similar length together, padded to the longest row, rounded up a little.

On short sentences this halves the tokens that are computed only to be masked away. A GPU's tensor cores like multiples
of 8. On a CPU such padding costs more than it saves (13-token sentences padded to 16 train a fifth slower), but for
each new shape the matrix library builds its kernels once more, and keeps them: so there it is a multiple of 2.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from typing import Any

import torch
from torch.utils.data import Sampler
from transformers import PreTrainedTokenizerBase

Row = Mapping[str, object]
Batch = dict[str, torch.Tensor]  # input_ids, attention_mask, token_type_ids: (B, L); labels: (B,)

NOT_READ = ("length", "row")  # columns that say something of a row, and are no part of a batch
MULTIPLE = 8 if torch.cuda.is_available() else 2
GROUP = 50  # batches that are sorted by length together: enough for little padding, few enough to stay shuffled


class LengthGroupedSampler(Sampler[int]):
    """Row indices in an order where each run of `batch_size` rows has similar lengths.

    The order depends on (seed, epoch) alone, so a resumed run sees the rows that the undisturbed one saw.

    Args:
        lengths: tokens in each row.
        batch_size: rows a batch.
        seed: seed of the order.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths = torch.as_tensor(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.lengths), generator=generator)
        groups = order.split(self.batch_size * GROUP)
        by_length = torch.cat([group[self.lengths[group].argsort(descending=True, stable=True)] for group in groups])
        full = len(by_length) // self.batch_size * self.batch_size
        batches = by_length[:full].view(-1, self.batch_size)
        shuffled = torch.randperm(len(batches), generator=generator)
        for place in shuffled:
            yield from batches[place].tolist()  # not all at once: Python's numbers take five times a tensor's
        # The ragged last batch stays last: in the middle it would shift every batch after it.
        yield from by_length[full:].tolist()


class RandomSampler(Sampler[int]):
    """Row indices in an order that depends on (seed, epoch) alone, for rows without lengths."""

    def __init__(self, data: Sized, seed: int) -> None:
        self.data = data
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        yield from torch.randperm(len(self.data), generator=generator).tolist()


def collate(rows: Sequence[Row], pad_id: int) -> Batch:
    """Pad rows of a tokenized data set into one batch.

    `label` becomes `labels`; every other column of numbers is stacked as it is (`teacher_logits`: (B, C)); where
    its innermost lists differ in length, the shorter ones are filled up with -1.
    """
    lengths = torch.tensor([len(row["input_ids"]) for row in rows])  # type: ignore[arg-type]
    longest = -(-int(lengths.max()) // MULTIPLE) * MULTIPLE
    batch = {"attention_mask": (torch.arange(longest) < lengths[:, None]).long()}  # (B, L)
    for name in rows[0]:
        if name in NOT_READ:
            continue
        values: Any = [row[name] for row in rows]
        if name in ("input_ids", "token_type_ids"):
            fill = pad_id if name == "input_ids" else 0
            batch[name] = torch.tensor([[*v, *[fill] * (longest - len(v))] for v in values])
        else:
            batch["labels" if name == "label" else name] = _stacked(values)
    return batch


def _stacked(values: list[Any]) -> torch.Tensor:
    """Numbers, or (nested) lists of them, of all rows; lists are made as long as the longest, with -1."""
    shapes = [_shape(value) for value in values]
    if len(set(shapes)) > 1:
        # An empty list does not say how deep it is.
        deepest = max(map(len, shapes))
        longest = tuple(max(shape[axis] for shape in shapes if len(shape) > axis) for axis in range(deepest))
        values = [_filled(value, longest) for value in values]
    return torch.as_tensor(values)


def _shape(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list):
        return ()
    return (len(value), *_shape(value[0])) if value else (0,)


def _filled(value: Any, shape: tuple[int, ...]) -> Any:
    if not shape:
        return value
    missing = shape[0] - len(value)
    nothing: Any = -1
    for size in reversed(shape[1:]):
        nothing = [nothing] * size
    return [*(_filled(part, shape[1:]) for part in value), *[nothing] * missing]


def by_length(data: Any, tokenizer: PreTrainedTokenizerBase, batch_size: int) -> Iterator[Batch]:
    """All rows of a tokenized data set in batches, the longest first."""
    order = sorted(range(len(data)), key=lambda i: -len(data[i]["input_ids"]))
    for start in range(0, len(order), batch_size):
        yield collate([data[i] for i in order[start : start + batch_size]], tokenizer.pad_token_id)


def collator(pad_id: int) -> Callable[[Sequence[Row]], Batch]:
    """`collate` with the padding token of a tokenizer."""

    def padded(rows: Sequence[Row]) -> Batch:
        return collate(rows, pad_id)

    return padded


def model_inputs(batch: Batch) -> Batch:
    """The part of a batch that an encoder's forward takes."""
    return {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids") if name in batch}
