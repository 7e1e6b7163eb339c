"""Sentence-order prediction needs order, next-sentence prediction does not (Lan et al. 2020, table 5).

One model learns whether two consecutive sentences are swapped, the other whether the second follows the first or comes
from elsewhere. Both are then asked about pairs that neither has seen: in their order, or swapped?
"""

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModelForMaskedLM

from benchmarks.claims import Claim, Relation, as_given
from benchmarks.lab import Lab
from benchmarks.rows import Rows
from stillhouse.encoders.checkpoint import load_model
from stillhouse.methods.albert import Pretraining, order_segments
from stillhouse.training.batches import Batch, collate, model_inputs

HELD_OUT = 4  # one pair in so many is asked about; each sentence is in one pair alone


def trained_for_order(lab: Lab, seed: int) -> list[float]:
    """Both orders of a pair, by a coin each time."""
    train, _ = split(lab.pairs)

    def step(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        swapped = torch.rand(len(batch["first"])) < 0.5
        return judged(model, order_segments(model_inputs(batch), batch["first"], batch["second"], swapped), swapped)

    return score(lab, seed, step, lab.tokenize_pairs(train))


def trained_for_next(lab: Lab, seed: int) -> list[float]:
    """Half of the pairs have another pair's second sentence."""
    train, _ = split(lab.pairs)
    other = np.random.default_rng(seed).integers(1, len(train), len(train))
    wrong = np.random.default_rng(seed + 1).random(len(train)) < 0.5
    mixed = [
        (first, train[(place + other[place]) % len(train)][1] if wrong[place] else second)
        for place, (first, second) in enumerate(train)
    ]

    def step(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return judged(model, model_inputs(batch), batch["labels"].bool())

    return score(lab, seed, step, lab.tokenize_pairs(mixed).with_column("label", wrong.astype(int)))


def chance(lab: Lab, seed: int) -> list[float]:
    return [0.5] * len(split(lab.pairs)[1])


def split(pairs: list) -> tuple[list, list]:
    """Pairs to learn, and to be asked about."""
    count = len(pairs) // HELD_OUT
    return pairs[:-count], pairs[-count:]


def judged(model: nn.Module, inputs: Batch, wrong: Tensor) -> dict[str, Tensor]:
    ids = inputs["input_ids"]
    return model(inputs, ids, torch.zeros_like(ids, dtype=torch.bool), wrong)


def score(lab: Lab, seed: int, step, rows: Rows) -> list[float]:
    """1 for each held-out pair whose order is told."""
    model = Pretraining(load_model(lab.source, AutoModelForMaskedLM), {"mlm": 0.0, "sop": 1.0}, seed)
    lab.fit(model, step, rows, seed=seed, learning_rate=2e-4)
    asked = lab.tokenize_pairs(split(lab.pairs)[1])
    swapped = torch.from_numpy(np.random.default_rng(0).random(len(asked)) < 0.5)
    right: list[float] = []
    for start in range(0, len(asked), 64):
        batch, wrong = collate(asked[start : start + 64], lab.tokenizer.pad_token_id), swapped[start : start + 64]
        inputs = order_segments(model_inputs(batch), batch["first"], batch["second"], wrong)
        with torch.no_grad():
            says = model.order(model.model.base_model(**inputs).last_hidden_state).argmax(1).bool()
        right += (says == wrong).float().tolist()
    return right


CLAIM = Claim(
    "albert-order",
    "sentence-order prediction needs order: a model trained for next-sentence prediction is at chance on it",
    {"trained for order": trained_for_order, "trained for next sentence": trained_for_next, "chance": chance},
    [
        Relation("trained for order", "trained for next sentence"),
        Relation("trained for next sentence", "chance", alike=True, margin=0.05),
    ],
    score=as_given,
    measure="accuracy on sentence order",
)
