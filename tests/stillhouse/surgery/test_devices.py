"""Surgery on a model that is on another device than the CPU, pretended (`tests/pretend.py`)."""

import pytest
import torch

from stillhouse.methods.lowrank import EMBEDDING, energies, factorizable, fisher_information
from stillhouse.surgery import (
    drop_layers,
    factorize,
    factorize_embedding,
    share_layers,
    slice_embedding,
    slice_ffn,
    slice_heads,
)
from stillhouse.surgery.gates import gate_sizes, gated, masks
from stillhouse.surgery.quantizing import dequantize, quantize
from stillhouse.training.batches import collate, model_inputs
from tests import tiny
from tests.pretend import DEVICE, here, moved, places, pretend

NAME = "0.intermediate.dense"
BATCH = collate([{"input_ids": [2, 7, 8, 3]}, {"input_ids": [2, 9, 10, 11, 12, 3]}], pad_id=0)
EXAMPLE = collate([{"input_ids": [2, 7, 8, 3], "label": 1}], pad_id=0)


def weighted(model):
    """Low rank by Fisher information, which is kept on the CPU."""
    information = fisher_information(model, [EXAMPLE], [NAME], floor=0.01)[NAME]
    assert len(energies(factorizable(model, layers=True, embedding=False)[NAME], information)) == 32
    return factorize(model, {NAME: 8}, {NAME: information.sqrt()})


def weighted_words(model):
    information = fisher_information(model, [EXAMPLE], [EMBEDDING], floor=0.01)[EMBEDDING]
    return factorize_embedding(model, 8, information.sqrt())


CUTS = {
    "heads": lambda model: slice_heads(model, [[0, 2], [1]]),
    "units": lambda model: slice_ffn(model, [[0, 5, 9], [1, 2]]),
    "dimensions": lambda model: slice_embedding(model, list(range(0, 32, 2))),
    "layers": lambda model: drop_layers(model, [1]),
    "sharing": lambda model: share_layers(model, [0, 0], [0, 0], "average"),
    "low rank": weighted,
    "factorized words": weighted_words,
    "eight bits, dynamic": quantize,
    "eight bits and back": lambda model: dequantize(quantize(model)),
}


@pytest.mark.parametrize("cut", CUTS)
def test_a_cut_model_stays_on_its_device_and_says_what_it_says_on_the_cpu(cut):
    wanted = CUTS[cut](tiny.bert())(**model_inputs(BATCH)).logits.detach()
    with pretend():
        small = CUTS[cut](tiny.bert().to(DEVICE))
        given = small(**model_inputs(moved(BATCH))).logits
    assert places(small) == {DEVICE}
    torch.testing.assert_close(here(given), wanted, rtol=1e-4, atol=1e-5)


def test_gates_that_were_made_on_the_cpu_go_to_the_model():
    keep = {"heads": [[0, 2], [1]], "units": [[0, 5], [1, 2]], "dimensions": [list(range(0, 32, 2))]}
    model = tiny.bert()
    gates = masks(keep, gate_sizes(model))
    with torch.no_grad(), gated(model, gates):
        wanted = model(**model_inputs(BATCH)).logits
    with pretend():
        model.to(DEVICE)
        with torch.no_grad(), gated(model, gates):
            given = model(**model_inputs(moved(BATCH))).logits
    torch.testing.assert_close(here(given), wanted)
