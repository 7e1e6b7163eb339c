"""Every family on another device than the CPU, pretended (`tests/pretend.py`): as a student, as a watched teacher."""

import pytest
import torch
from transformers import PreTrainedModel

from stillhouse.encoders.teacher import FrozenTeacher
from stillhouse.families.find import FAMILIES
from stillhouse.training.attention import quick_attention
from tests.families import IDS, MASK, model
from tests.pretend import DEVICE, here, moved, places, pretend

INPUTS = {"input_ids": IDS, "attention_mask": MASK}
# transformers' own: MPNet's attention is its eager one, whose mask is looked at; DeBERTa makes buckets of a number.
WAITS = {"mpnet": {"_local_scalar_dense": 1}, "deberta-v2": {"copy": 1}}


def test_all_families_are_here():
    assert len(FAMILIES) == 10 and WAITS.keys() <= FAMILIES.keys()


def loss(student: PreTrainedModel, inputs: dict) -> torch.Tensor:
    return student(**inputs).logits.square().sum()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_student_has_the_cpus_loss_and_gradients_and_python_waits_for_nothing_of_ours(family):
    student = model(family)
    with quick_attention(student):
        wanted = loss(student, INPUTS).detach()
    with pretend() as waits, quick_attention(student):
        student.to(DEVICE)
        inputs = moved(INPUTS)
        waits.clear()
        given = loss(student, inputs)
        given.backward()
    torch.testing.assert_close(here(given), wanted, rtol=1e-4, atol=1e-5)
    assert places(student) == {DEVICE}
    assert dict(+waits) == WAITS.get(family, {})


@pytest.mark.parametrize("family", FAMILIES)
def test_a_teacher_gives_scores_and_projections_where_it_is(family):
    wanted = FrozenTeacher(model(family), 2, [0, 1], [1])(INPUTS)
    with pretend():
        given = FrozenTeacher(model(family), 2, [0, 1], [1])(moved(INPUTS))
    pairs = [(given.hidden[2], wanted.hidden[2]), *((given.scores[n], wanted.scores[n]) for n in (0, 1))]
    pairs += [(getattr(given.projections[1], n), getattr(wanted.projections[1], n)) for n in ("queries", "values")]
    real = MASK.bool()
    for one, other in pairs:
        assert one.device == DEVICE
        if one.dim() == 3:
            one, other = here(one)[real], other[real]
        torch.testing.assert_close(here(one), other, rtol=1e-4, atol=1e-5)
