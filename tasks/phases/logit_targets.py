"""The teacher's logits over a training set: computed once, kept by content, shared by every student."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from stillhouse.encoders.checkpoint import weight_files
from stillhouse.training.predict import predict
from tasks.stage.outputs import fresh_file
from tasks.stage.workspace import cache_dir, content_digest


def cached_logits(
    data: Any,
    load: Callable[[], PreTrainedModel],
    folder: Path,
    tokenizer: PreTrainedTokenizerBase,
    batch_size: int,
) -> np.ndarray:
    """The teacher's logits for each row, (N, C).

    Args:
        data: tokenized rows.
        load: gives the teacher, from `folder`; not called if its logits are in the cache.
        folder: whose weights name the cache entry, with the token ids of `data`.
    """

    def compute() -> dict[str, np.ndarray]:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return {"logits": predict(load(), data, tokenizer, batch_size=batch_size, device=device)}

    return cached_arrays(data, folder, compute)["logits"]


def cached_arrays(data: Any, folder: Path, compute: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """What a teacher makes of some rows, by name.

    Args:
        data: tokenized rows, whose token ids name the cache entry with the weights in `folder`.
        folder: the teacher's checkpoint.
        compute: makes the arrays; not called if they are in the cache.
    """
    digest = hashlib.blake2b(digest_size=16)
    for file in weight_files(folder):
        digest.update(content_digest(file).encode())
    for rows in data.select_columns(["input_ids"]).iter(1000):
        digest.update(repr(rows["input_ids"]).encode())
    cached = cache_dir() / "logits" / f"{digest.hexdigest()}.safetensors"
    if cached.exists():
        try:
            return load_file(cached)
        except SafetensorError:
            # A full disk or a crash of the machine can leave a damaged file; it is only a cache.
            print(f"{cached} is damaged: computing the teacher's logits again", flush=True)
    print(f"computing the teacher's logits for {len(data)} rows", flush=True)
    arrays = compute()
    with fresh_file(cached) as temporary:
        save_file(arrays, temporary)
    return arrays
