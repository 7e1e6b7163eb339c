import copy

import pytest
import torch

from stillhouse.encoders.capture import ProjectionCapture
from stillhouse.encoders.families import encoder_layers
from stillhouse.encoders.teacher import FrozenTeacher
from stillhouse.training.batches import collate, model_inputs
from tests import tiny


def inputs():
    return model_inputs(collate([{"input_ids": [2, 7, 8, 3]}, {"input_ids": [2, 9, 10, 11, 12, 3]}], pad_id=0))


@pytest.mark.parametrize("family", ["bert", "roberta", "electra"])
def test_captured_projections_are_those_of_the_layers_input_and_outputs_stay_the_same(family):
    model = tiny.bert() if family == "bert" else tiny.other_family(family)
    plain = copy.deepcopy(model)(**inputs(), output_hidden_states=True)
    capture = ProjectionCapture(model, [1])
    assert torch.equal(model(**inputs()).logits, plain.logits)
    found = capture.taken()
    assert list(found) == [1]
    attention = encoder_layers(model)[1].attention.self
    for got, module in (
        (found[1].queries, attention.query),
        (found[1].keys, attention.key),
        (found[1].values, attention.value),
    ):
        assert got.shape == (2, 6, 32)
        torch.testing.assert_close(got, module(plain.hidden_states[1]))


def test_captured_projections_are_forgotten_once_they_are_taken():
    model = tiny.bert()
    capture = ProjectionCapture(model, [0])
    model(**inputs())
    assert list(capture.taken()) == [0]
    assert capture.taken() == {}


def test_a_frozen_teacher_gives_the_projections_of_its_layers_without_a_gradient():
    states = FrozenTeacher(tiny.bert(layers=4), 2, [], [1])(inputs())
    assert list(states.projections) == [1] and states.scores == {}
    assert not states.projections[1].queries.requires_grad
