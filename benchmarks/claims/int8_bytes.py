"""The checkpoint is near four times smaller with the word vectors in eight bits, and not without (Zafrir 2019)."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.claims import Claim, Relation, as_given
from benchmarks.lab import Lab
from stillhouse.encoders.checkpoint import save_model
from stillhouse.encoders.measure import checkpoint_bytes
from stillhouse.surgery import quantize

NEAR = 0.2  # scales, biases and LayerNorms stay in fp32


def variant(embeddings: bool) -> Callable[[Lab, int], list[float]]:
    return partial(smaller, embeddings)


def smaller(embeddings: bool, lab: Lab, seed: int) -> list[float]:
    """How many times the checkpoint goes into that of the model in fp32."""
    teacher = lab.teacher(seed)
    sizes = []
    for model in (teacher, quantize(teacher, embeddings=embeddings)):
        with tempfile.TemporaryDirectory() as folder:
            save_model(model, lab.tokenizer, Path(folder) / "model")
            sizes.append(checkpoint_bytes(Path(folder) / "model"))
    return [sizes[0] / sizes[1]]


def four(lab: Lab, seed: int) -> list[float]:
    return [4.0]


CLAIM = Claim(
    "int8-bytes",
    "near four times smaller, if the word vectors are rounded too",
    {"int8": variant(True), "int8, word vectors whole": variant(False), "four times": four},
    [Relation("int8", "four times", margin=NEAR), Relation("int8", "int8, word vectors whole")],
    score=as_given,
    measure="times smaller",
)
