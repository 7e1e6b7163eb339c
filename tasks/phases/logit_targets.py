"""What teachers say of a training set: computed once, kept by content, shared by every student.

N rows, C outcomes, K teachers, M numbers of all rows together.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset, concatenate_datasets
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from transformers import PreTrainedTokenizerBase

from stillhouse.encoders.checkpoint import weight_files
from stillhouse.training.ragged import Ragged
from tasks.kinds.contract import Kind, Predictions
from tasks.stage.outputs import fresh_file
from tasks.stage.sharing import share
from tasks.stage.workspace import cache_dir, content_digest

FORM = b"2"  # of the cache's files
Combine = Callable[[np.ndarray], np.ndarray]  # logits of several teachers, (K, …, C), to one array


def cached_logits(
    encoded: Dataset, kind: Kind, folder: Path, tokenizer: PreTrainedTokenizerBase, batch_size: int
) -> Predictions:
    """A teacher's logits of each encoded row.

    Args:
        encoded: rows whose token ids name the cache entry with the weights in `folder`.
        folder: the teacher's checkpoint; it is loaded only if its logits are not in the cache.
    """
    digest = hashlib.blake2b(FORM, digest_size=16)
    for file in weight_files(folder):
        digest.update(content_digest(file).encode())
    for rows in encoded.select_columns(["input_ids"]).iter(1000):
        digest.update(repr(rows["input_ids"]).encode())
    cached = cache_dir() / "logits" / f"{digest.hexdigest()}.safetensors"
    share(cached)  # or other machines would compute for hours while the first waits
    if cached.exists():
        try:
            return _unpacked(load_file(cached))
        except SafetensorError:
            # A full disk or a crash of the machine can leave a damaged file; it is only a cache.
            print(f"{cached} is damaged: computing the teacher's logits again", flush=True)
    print(f"computing the teacher's logits for {len(encoded)} rows", flush=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    teacher = kind.load(folder).to(device)  # type: ignore[arg-type]
    logits = kind.predict(teacher, encoded, tokenizer, batch_size)
    with fresh_file(cached) as temporary:
        save_file(_packed(logits), temporary)
    return logits


def combined(said: Sequence[Predictions], combine: Combine) -> Predictions:
    """One of several teachers' logits of the same rows."""
    if all(isinstance(logits, np.ndarray) for logits in said):
        return combine(np.stack(said))
    return [combine(np.stack(row)) for row in zip(*said, strict=True)]


def with_logits(data: Dataset, logits: Predictions) -> Dataset:
    """Encoded rows with the column `teacher_logits`, nested lists as deep as the arrays."""
    if isinstance(logits, np.ndarray):
        # Arrow takes rows of one dimension as they are; of more, as lists.
        return data.add_column("teacher_logits", list(logits) if logits.ndim == 2 else logits.tolist())
    ragged = Ragged.of(logits)
    shapes, column = ragged.shapes, pa.array(ragged.values)
    for axis in reversed(range(shapes.shape[1])):
        lengths = np.repeat(shapes[:, axis], shapes[:, :axis].prod(axis=1))
        column = _lists(column, np.cumsum([0, *lengths]))
    return concatenate_datasets([data, Dataset(pa.table({"teacher_logits": column}))], axis=1)


def _lists(values: pa.Array, offsets: np.ndarray) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


def _packed(logits: Predictions) -> dict[str, np.ndarray]:
    """As arrays: where rows differ in shape their numbers stand one after the other, (M,)."""
    if isinstance(logits, np.ndarray):
        return {"logits": logits}
    ragged = Ragged.of(logits)
    return {"logits": ragged.values, "shapes": ragged.shapes}


def _unpacked(arrays: dict[str, np.ndarray]) -> Predictions:
    if "shapes" not in arrays:
        return arrays["logits"]
    return Ragged(arrays["logits"], arrays["shapes"])
