import re

import pytest
import torch

from stillhouse.encoders.student import build_student, give_head, spread_layers
from stillhouse.errors import InputError
from tests import tiny, tiny_mlm


def test_a_student_of_all_the_teachers_layers_gives_the_teachers_logits():
    teacher = tiny.bert(layers=3)
    student = build_student(teacher, layers=3, source_layers=[1, 2, 3], seed=0)
    ids = torch.tensor([[2, 7, 8, 3]])
    assert torch.equal(student(input_ids=ids).logits, teacher(input_ids=ids).logits)


def test_layers_come_from_where_they_are_asked_to_and_the_head_from_the_teacher():
    teacher = tiny.bert(layers=4)
    student = build_student(teacher, layers=2, source_layers=[2, 4], seed=0)
    for ours, theirs in ((0, 1), (1, 3)):
        a, b = student.bert.encoder.layer[ours], teacher.bert.encoder.layer[theirs]
        assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert torch.equal(student.classifier.weight, teacher.classifier.weight)
    assert torch.equal(student.bert.embeddings.word_embeddings.weight, teacher.bert.embeddings.word_embeddings.weight)


def test_random_weights_depend_on_the_seed_alone_and_leave_the_global_generator():
    teacher = tiny.bert()
    before = torch.get_rng_state()
    one, other = (build_student(teacher, layers=1, hidden_size=16, heads=2, source_layers=None, seed=4) for _ in "ab")
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(p, q) for p, q in zip(one.parameters(), other.parameters(), strict=True))


def test_a_student_without_a_head_gets_the_teachers_where_the_widths_agree():
    teacher = tiny.bert(layers=2)
    base = build_student(teacher, layers=1, source_layers=[2], seed=0).base_model
    student = give_head(base, teacher, seed=0)
    assert torch.equal(student.classifier.weight, teacher.classifier.weight)
    assert torch.equal(student.bert.encoder.layer[0].output.dense.weight, base.encoder.layer[0].output.dense.weight)
    assert student.config.id2label == {0: "bad", 1: "good"}


def test_a_head_is_the_same_whatever_pooler_the_base_was_loaded_with():
    teacher = tiny.bert(layers=2)
    for shape in ({}, {"hidden_size": 16, "heads": 2}):
        base = build_student(teacher, layers=1, **shape, source_layers=None, seed=0).base_model
        first = give_head(base, teacher, seed=0)
        torch.nn.init.normal_(base.pooler.dense.weight)
        again = give_head(base, teacher, seed=0)
        assert torch.equal(first.bert.pooler.dense.weight, again.bert.pooler.dense.weight)
    assert not torch.equal(again.bert.pooler.dense.weight, base.pooler.dense.weight)


def test_a_base_of_another_vocabulary_keeps_its_embeddings_and_gets_the_teachers_labels():
    teacher, other = tiny.bert(layers=1), tiny_mlm.tokenizer()
    base = build_student(teacher, layers=1, tokenizer=other, source_layers=None, seed=0).base_model
    student = give_head(base, teacher, seed=0)
    assert student.config.vocab_size == len(other) != teacher.config.vocab_size
    assert torch.equal(student.bert.embeddings.word_embeddings.weight, base.embeddings.word_embeddings.weight)
    assert student.config.id2label == {0: "bad", 1: "good"}


def test_a_narrower_student_without_a_head_gets_a_new_one():
    teacher = tiny.bert(layers=2)
    base = build_student(teacher, layers=1, hidden_size=16, heads=2, source_layers=None, seed=0).base_model
    assert give_head(base, teacher, seed=0).classifier.weight.shape == (2, 16)


@pytest.mark.parametrize(
    ("count", "depth", "layers"),
    [
        (3, 6, [2, 4, 6]),
        (2, 6, [3, 6]),
        (1, 6, [6]),
        (4, 6, [2, 3, 5, 6]),
        (6, 12, [2, 4, 6, 8, 10, 12]),
        (8, 12, [2, 3, 5, 6, 8, 9, 11, 12]),
    ],
)
def test_layers_are_spread_evenly_with_the_last_among_them(count, depth, layers):
    assert spread_layers(count, depth) == layers


def test_of_every_depth_layers_are_spread_as_evenly_as_can_be():
    """However many neighbouring gaps are added up, around the end too, no two sums differ by more than one."""
    seen = 0
    for depth in range(1, 25):
        for count in range(1, depth + 1):
            layers = spread_layers(count, depth)
            assert len(layers) == count and layers[-1] == depth
            gaps = [after - before for before, after in zip([0, *layers], layers, strict=False)] * 2
            for width in range(1, count + 1):
                sums = {sum(gaps[first : first + width]) for first in range(count)}
                assert max(sums) - min(sums) <= 1, (count, depth, layers)
            seen += 1
    assert seen == 300


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"hidden_size": 30}, "student.hidden_size (30) must be divisible by student.heads (4)"),
        ({"hidden_size": 16, "heads": 4}, "student.init = 'teacher' needs the teacher's width (32, 4, 64)"),
        ({"source_layers": [1, 3]}, "source_layers [1, 3]: the teacher has layers 1 to 2, not [3]"),
        ({"source_layers": [1]}, "source_layers [1] names 1 layers for a student of 2"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(shape, message):
    with pytest.raises(InputError, match=re.escape(message)):
        build_student(tiny.bert(), **({"layers": 2, "source_layers": [1, 2], "seed": 0} | shape))


def test_more_layers_than_the_teacher_has_are_refused():
    with pytest.raises(InputError, match=re.escape("student.layers (7) is more than the teacher's 6")):
        spread_layers(7, 6)
