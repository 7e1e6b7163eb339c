import copy
import math
import re

import pytest
import torch
from torch.nn import functional as F

from stillhouse.encoders.capture import Projections
from stillhouse.encoders.student import build_student
from stillhouse.encoders.teacher import FrozenTeacher
from stillhouse.errors import InputError
from stillhouse.methods.minilm import (
    LastProjections,
    log_relation,
    relation_heads,
    relation_loss,
    relation_losses,
    relation_step,
    teacher_layer,
)
from stillhouse.training.batches import collate, model_inputs
from tests import tiny

ALL = {"attention": 1.0, "queries": 1.0, "keys": 1.0, "values": 1.0}
V2 = {**ALL, "attention": 0.0}


def batch():
    return collate([{"input_ids": [2, 7, 8, 3]}, {"input_ids": [2, 9, 10, 11, 12, 3]}], pad_id=0)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def projections(width, seed, rows=2, length=5):
    return Projections(*(random(rows, length, width, seed=10 * seed + i) for i in range(3)))


def value(terms):
    return {name: term.item() for name, term in terms.items()}


def test_a_student_that_is_the_teacher_has_no_loss_and_no_gradient():
    teacher = tiny.bert(layers=3)
    model = LastProjections(copy.deepcopy(teacher))
    terms = relation_step(FrozenTeacher(teacher, 3, [], [2]), 3, 8, ALL)(model, batch())
    assert set(terms) == set(ALL)
    for term in terms.values():
        assert term.item() == pytest.approx(0, abs=1e-6)
    sum(terms.values()).backward()
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    assert len(gradients) > 20
    assert max(gradient.abs().max() for gradient in gradients) < 1e-5


def test_the_relation_of_one_head_is_the_softmax_of_scaled_dot_products_and_the_loss_is_kl_from_the_teacher():
    ones = torch.ones(1, 2)
    student = torch.tensor([[[2.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]])  # (1, 2, 4): dots 4, 0, 1, over √4
    teacher = torch.tensor([[[3.0], [0.0]]])  # (1, 2, 1): dots 9, 0, 0, over √1
    ours = log_relation(student, student, 1, ones)
    theirs = log_relation(teacher, teacher, 1, ones)

    def softmax(*scores):
        return [math.exp(score) / sum(map(math.exp, scores)) for score in scores]

    rows = [softmax(2, 0), softmax(0, 0.5)], [softmax(9, 0), softmax(0, 0)]
    torch.testing.assert_close(ours.exp(), torch.tensor(rows[0])[None, None])
    torch.testing.assert_close(theirs.exp(), torch.tensor(rows[1])[None, None])
    divergences = [sum(q * math.log(q / p) for p, q in zip(ps, qs, strict=True)) for ps, qs in zip(*rows, strict=True)]
    assert relation_loss(ours, theirs, ones).item() == pytest.approx(sum(divergences) / 2, rel=1e-5)


def test_the_first_of_a_pair_turns_to_the_second():
    queries, keys = torch.tensor([[[1.0], [0.0]]]), torch.tensor([[[0.0], [2.0]]])
    relation = log_relation(queries, keys, 1, torch.ones(1, 2)).exp()[0, 0]
    torch.testing.assert_close(relation, torch.tensor([[0.0, 2.0], [0.0, 0.0]]).softmax(-1))


def test_several_relation_heads_are_the_mean_over_slices_of_the_width():
    mask = torch.ones(2, 5)
    ours, theirs = random(2, 5, 12, seed=1), random(2, 5, 8, seed=2)

    def loss(one, other, heads):
        return relation_loss(log_relation(one, one, heads, mask), log_relation(other, other, heads, mask), mask)

    slices = [loss(ours[..., 3 * r : 3 * r + 3], theirs[..., 2 * r : 2 * r + 2], 1) for r in range(4)]
    torch.testing.assert_close(loss(ours, theirs, 4), torch.stack(slices).mean())


@pytest.mark.parametrize("heads", [1, 2, 8, 16])
def test_the_number_of_the_students_attention_heads_does_not_matter(heads):
    teacher = tiny.bert(layers=2, seed=1)
    # Of one layer: what is related comes before its heads.
    student = tiny.bert(layers=1, heads=4, seed=2)
    other = tiny.bert(layers=1, heads=heads, seed=3)
    other.load_state_dict(student.state_dict())
    step = relation_step(FrozenTeacher(teacher, 2, [], [1]), 2, 4, ALL)
    assert value(step(LastProjections(student), batch())) == value(step(LastProjections(other), batch()))


def test_relation_heads_in_another_order_and_turned_axes_within_one_give_the_same_loss():
    mask = torch.ones(2, 5)
    ours, theirs = projections(32, 1), projections(16, 2)
    expected = relation_losses(ours, theirs, 4, mask, ALL)

    def ordered(given):
        def order(x):
            return x.unflatten(-1, (4, -1))[:, :, [2, 0, 3, 1]].flatten(2)

        return Projections(order(given.queries), order(given.keys), order(given.values))

    def turned(given):
        axes = torch.linalg.qr(random(8, 8))[0]
        turn = torch.block_diag(*[axes] * 4)
        return Projections(given.queries @ turn, given.keys @ turn, given.values @ turn)

    for one, other in ((ordered(ours), ordered(theirs)), (turned(ours), theirs)):
        for name, term in relation_losses(one, other, 4, mask, ALL).items():
            torch.testing.assert_close(term, expected[name], rtol=1e-4, atol=1e-6)
    # Only one of the two in another order is another loss.
    assert abs(relation_losses(ordered(ours), theirs, 4, mask, ALL)["keys"] - expected["keys"]) > 1e-3


def test_each_model_is_scaled_by_the_width_of_its_own_relation_heads():
    mask = torch.ones(2, 5)
    teacher = projections(16, 1)

    def twice(x):
        # Each axis twice gives dot products twice as large, and √d_r √2 times.
        return x.repeat_interleave(2, dim=-1) * 2**-0.25

    student = Projections(twice(teacher.queries), twice(teacher.keys), twice(teacher.values))
    for term in relation_losses(student, teacher, 4, mask, ALL).values():
        assert term.item() == pytest.approx(0, abs=1e-5)


def test_the_losses_do_not_depend_on_how_far_a_batch_is_padded():
    teacher, student = tiny.bert(layers=2, seed=1), tiny.bert(layers=2, seed=2)
    model = LastProjections(student)
    step = relation_step(FrozenTeacher(teacher, 2, [], [1]), 2, 8, ALL)
    short = batch()
    long = {name: F.pad(tensor, (0, 8)) for name, tensor in short.items()}
    for name, term in step(model, short).items():
        assert torch.allclose(term, step(model, long)[name], rtol=1e-4), name


def test_padding_is_neither_a_row_nor_a_key():
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    ours, theirs = projections(16, 1), projections(16, 2)
    for given in (ours, theirs):
        for x in (given.queries, given.keys, given.values):
            x.requires_grad_()
    terms = relation_losses(ours, theirs, 4, mask, ALL)

    def damaged(x):
        return torch.where(mask.bool()[..., None], x, 1e4)

    other = [Projections(damaged(p.queries), damaged(p.keys), damaged(p.values)) for p in (ours, theirs)]
    assert value(terms) == pytest.approx(value(relation_losses(*other, 4, mask, ALL)))
    sum(terms.values()).backward()
    for x in (ours.queries, ours.keys, ours.values):
        assert x.grad is not None and torch.isfinite(x.grad).all()
        assert x.grad[0, 3:].abs().max() == 0 and x.grad[0, :3].abs().min() > 0


def test_with_the_models_own_heads_attention_is_the_attention_distribution():
    model = tiny.bert(layers=2)
    eager = copy.deepcopy(model)
    eager.set_attn_implementation("eager")
    inputs = model_inputs(batch())
    expected = eager(**inputs, output_attentions=True).attentions[1]
    given = LastProjections(model)(inputs)
    relation = log_relation(
        given.queries, given.keys, relation_heads(None, (32, 4), (64, 4)), batch()["attention_mask"]
    )
    real = inputs["attention_mask"].bool()
    for row in range(2):
        torch.testing.assert_close(relation.exp()[row][:, real[row]], expected[row][:, real[row]], rtol=1e-4, atol=1e-6)


def test_a_narrow_student_with_other_heads_learns_all_that_comes_before_its_last_values():
    teacher = tiny.bert(layers=3, width=32)
    student = build_student(
        teacher, layers=2, hidden_size=24, heads=3, intermediate_size=32, source_layers=None, seed=0
    )
    model = LastProjections(student)
    step = relation_step(FrozenTeacher(teacher, 2, [], [1]), 2, 8, V2)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = sum(step(model, batch()).values())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    learned = {name for name, weight in student.bert.named_parameters() if weight.grad is not None}
    assert not [name for name in learned if re.search("layer.1.(attention.output|intermediate|output)", name)]
    assert "encoder.layer.0.output.dense.weight" in learned and "embeddings.word_embeddings.weight" in learned


def test_the_teachers_layer_is_the_one_that_is_named_and_it_computes_none_after_it():
    teacher = tiny.bert(layers=4)
    student = copy.deepcopy(teacher)
    del student.bert.encoder.layer[2:]
    student.config.num_hidden_layers = 2
    frozen = FrozenTeacher(teacher, 2, [], [1])
    assert len(teacher.bert.encoder.layer) == 2
    for term in relation_step(frozen, 2, 4, ALL)(LastProjections(student), batch()).values():
        assert term.item() == pytest.approx(0, abs=1e-6)


def test_a_term_has_its_weight_and_is_left_out_at_zero():
    mask = torch.ones(2, 5)
    ours, theirs = projections(16, 1), projections(16, 2)
    once = relation_losses(ours, theirs, 4, mask, ALL)
    terms = relation_losses(ours, theirs, 4, mask, {"attention": 0.0, "queries": 0.5, "keys": 0.0, "values": 2.0})
    assert value(terms) == pytest.approx({"queries": 0.5 * once["queries"].item(), "values": 2 * once["values"].item()})


def test_relations_are_in_fp32_under_autocast_too():
    mask = torch.ones(2, 5)
    ours, theirs = projections(16, 1), projections(16, 2)
    expected = value(relation_losses(ours, theirs, 4, mask, ALL))
    with torch.autocast("cpu", torch.bfloat16):
        assert value(relation_losses(ours, theirs, 4, mask, ALL)) == expected


def test_the_layer_and_the_heads_default_to_the_last_and_to_those_of_both_models():
    assert (teacher_layer(None, 6), teacher_layer(1, 6), teacher_layer(6, 6)) == (6, 1, 6)
    assert relation_heads(None, (192, 12), (384, 12)) == 12
    assert relation_heads(48, (192, 6), (384, 12)) == 48


@pytest.mark.parametrize("layer", [0, 7, -1])
def test_a_layer_that_the_teacher_does_not_have_is_refused(layer):
    with pytest.raises(InputError, match=re.escape(f"layer ({layer}) is none of the teacher's 1 to 6: give one of")):
        teacher_layer(layer, 6)


@pytest.mark.parametrize(
    ("count", "student", "message"),
    [
        (
            None,
            (384, 6),
            "student.heads (6) must be the teacher's 12 where relation_heads is null: give relation_heads a",
        ),
        (48, (312, 12), "relation_heads (48) must divide the student's hidden_size (312): 24 would divide both"),
        (9, (36, 12), "relation_heads (9) must divide the teacher's hidden_size (384): 3 would divide both"),
    ],
)
def test_heads_that_do_not_fit_are_refused(count, student, message):
    with pytest.raises(InputError, match=re.escape(message)):
        relation_heads(count, student, (384, 12))
