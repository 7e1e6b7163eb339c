import re
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from torch.nn import functional as F

from stillhouse.errors import InputError
from stillhouse.methods.hinton import distillation_loss
from stillhouse.methods.rco import Equal, Greedy, OnRoute, Route, divergence, equal_anchors, next_anchor, route_step
from stillhouse.training.batches import collate, collator, model_inputs
from stillhouse.training.loop import fit
from tests import tiny


def batch(anchors, labels=(0, 1)):
    rows = [{"input_ids": [2, 7, 8, 3]}, {"input_ids": [2, 9, 10, 11, 12, 3]}]
    return collate(rows, pad_id=0) | {"labels": torch.tensor(labels), "teacher_logits": anchors}


def walk(route: Route, steps: int) -> list[int]:
    """The anchor at each step."""
    seen = []
    for step in range(steps):
        state = SimpleNamespace(global_step=step, max_steps=steps, is_world_process_zero=False)
        route.on_step_begin(None, state, None)
        seen.append(int(route.model.anchor))
    return seen


@pytest.mark.parametrize(
    ("count", "route", "anchors"),
    [(4, 4, [0, 1, 2, 3]), (2, 4, [1, 3]), (1, 4, [3]), (3, 10, [2, 5, 9]), (1, 1, [0])],
)
def test_equal_anchors_are_evenly_spaced_and_end_with_the_teacher(count, route, anchors):
    assert equal_anchors(count, route) == anchors


def test_more_anchors_than_checkpoints_are_refused():
    with pytest.raises(InputError, match=re.escape("count (5) is more than the 4 checkpoints of the route")):
        Equal(5, 4)


def test_equal_anchors_have_equal_numbers_of_steps():
    route = Route(OnRoute(tiny.bert()), 3, Equal(3, 6))
    assert walk(route, 9) == [1, 1, 1, 3, 3, 3, 5, 5, 5]
    assert walk(route, 10) == [1, 1, 1, 3, 3, 3, 5, 5, 5, 5]


@pytest.mark.parametrize(
    ("hardness", "anchor", "delta", "following"),
    [
        ([1.0, 1.5, 2.0, 4.0], 0, 0.8, 2),  # the first that is more than 1.8
        ([1.0, 1.8, 1.9, 4.0], 0, 0.8, 2),  # exactly δ does not exceed it
        ([1.0, 1.1, 1.2, 1.3], 0, 0.8, 3),  # none is that much harder
        ([9.0, 1.0, 1.5, 3.0], 1, 0.8, 3),  # what lies behind is not read
        ([9.0, 1.0, 1.5, 3.0], 1, 0.4, 2),
        ([0.0, 0.0, 0.1, 0.2], 0, 0.8, 2),  # a student that has learnt an anchor wholly
    ],
)
def test_greedy_goes_to_the_first_anchor_that_is_harder_by_delta(hardness, anchor, delta, following):
    assert next_anchor(hardness, anchor, delta) == following


def test_greedy_starts_with_the_first_checkpoint_and_ends_with_the_teacher():
    model = OnRoute(tiny.bert())
    greedy = Greedy(model.student, tiny.tokenizer(), parts=4, route=6, delta=0.8, temperature=1.0, batch_size=4)
    measured = iter([[1, 1, 3, 9, 9, 9], [9, 9, 2, 5, 9, 9]])
    greedy.hardness = lambda: next(measured)
    assert walk(Route(model, 4, greedy), 8) == [0, 0, 2, 2, 3, 3, 5, 5]


def test_greedy_measures_no_more_once_it_is_at_the_teacher():
    greedy = Greedy(tiny.bert(), tiny.tokenizer(), parts=9, route=6, delta=0.8, temperature=1.0, batch_size=4)
    greedy.hardness = lambda: pytest.fail("measured")
    assert greedy(3, 5) == 5
    assert greedy(0, 0) == 0


def test_hardness_is_the_kl_to_each_anchor_in_eval_mode_and_the_modes_come_back(capsys):
    student = tiny.bert(layers=2)
    rows = [[2, 7, 8, 3], [2, 9, 10, 11, 12, 3], [2, 9, 3]]
    anchors = torch.randn(3, 4, 2)
    greedy = Greedy(student, tiny.tokenizer(), parts=2, route=4, delta=0.8, temperature=2.0, batch_size=2)
    greedy.hold_out(Dataset.from_dict({"input_ids": rows, "teacher_logits": anchors.tolist()}))
    logits = torch.cat([student(input_ids=torch.tensor([row])).logits for row in rows])
    student.train()
    hardness = greedy.hardness()
    assert student.training and all(module.training for module in student.modules())
    for j, got in enumerate(hardness):
        p, q = F.softmax(anchors[:, j] / 2, -1), F.softmax(logits / 2, -1)
        assert got == pytest.approx(4 * (p * (p.log() - q.log())).sum().item() / 3, rel=1e-4)
    assert capsys.readouterr().out.count(".") == 4


def test_measuring_leaves_the_random_numbers_alone():
    greedy = Greedy(tiny.bert().train(), tiny.tokenizer(), parts=2, route=2, delta=0.8, temperature=1.0, batch_size=2)
    greedy.hold_out(Dataset.from_dict({"input_ids": [[2, 7, 3]], "teacher_logits": [[[0.0, 1.0], [1.0, 0.0]]]}))
    before = torch.get_rng_state()
    greedy.hardness()
    assert torch.equal(torch.get_rng_state(), before)


def test_the_divergence_is_zero_for_the_anchor_itself_and_has_the_gradient_of_soft_cross_entropy():
    student, anchor = torch.randn(5, 3, requires_grad=True), torch.randn(5, 3)
    assert divergence(anchor + 4, anchor, 3.0).item() == pytest.approx(0, abs=1e-5)
    (gradient,) = torch.autograd.grad(divergence(student, anchor, 3.0), student)
    assert torch.allclose(gradient, 3 * (F.softmax(student / 3, -1) - F.softmax(anchor / 3, -1)) / 5, atol=1e-6)


def test_the_loss_is_cross_entropy_of_logits_plus_lambda_times_the_kl_to_the_anchor_of_the_moment():
    model = OnRoute(tiny.bert(layers=2))
    anchors = torch.randn(2, 3, 2)
    rows = batch(anchors)
    logits = model.student(**model_inputs(rows)).logits
    step = route_step(model, 2.0, 4.0)
    losses = []
    for now in range(3):
        model.anchor.fill_(now)
        terms = step(model, rows)
        p, q = F.softmax(anchors[:, now] / 4, -1), F.softmax(logits / 4, -1)
        assert torch.allclose(terms["soft"], 2 * 16 * (p * (p / q).log()).sum() / 2, rtol=1e-3)
        assert torch.allclose(terms["hard"], F.nll_loss(logits.log_softmax(-1), rows["labels"]))
        losses.append(terms["soft"].item())
    assert len(set(losses)) == 3


def test_regression_follows_the_anchors_scores():
    model = OnRoute(tiny.bert(layers=2, labels=()))
    rows = batch(torch.tensor([[[1.0], [3.0]], [[2.0], [4.0]]]), labels=(0.0, 1.0))
    model.anchor.fill_(1)
    terms = route_step(model, 2.0, 4.0)(model, rows)
    score = model.student(**model_inputs(rows)).logits[:, 0]
    assert torch.allclose(terms["soft"], 2 * F.mse_loss(score, torch.tensor([3.0, 4.0])), rtol=1e-5)
    assert torch.allclose(terms["hard"], F.mse_loss(score, torch.tensor([0.0, 1.0])), rtol=1e-5)


def train(folder, epochs, parts):
    """A student on a route from one answer to its opposite: its anchor and its own answer at each step."""
    model = OnRoute(tiny.bert(layers=1))
    ids = tiny.tokenizer()(tiny.sentences(32)[0])["input_ids"]
    data = [{"input_ids": row, "label": 0, "teacher_logits": [[2.0, -2.0], [-2.0, 2.0]]} for row in ids]
    paper, seen = route_step(model, 10.0, 1.0), []

    def step(m, rows):
        seen.append((int(model.anchor), m(model_inputs(rows)).logits.mean(0).argmax().item()))
        return paper(m, rows)

    fit(
        model, step, data, collator(0), epochs=epochs, batch_size=8, learning_rate=2e-2, seed=0,
        checkpoints=folder, precision="fp32", callbacks=[Route(model, parts, Equal(parts, 2))],
    )  # fmt: skip
    return seen


def test_a_student_answers_like_its_early_anchor_first_and_like_the_teacher_in_the_end(tmp_path):
    seen = train(tmp_path, 12, 2)
    assert [anchor for anchor, _ in seen] == [0] * 24 + [1] * 24
    assert (seen[23], seen[47]) == ((0, 0), (1, 1))


def test_a_route_of_the_teacher_alone_has_hintons_gradient_but_for_a_factor():
    model = OnRoute(tiny.bert(layers=2))
    teacher = torch.randn(2, 1, 2)
    rows = batch(teacher)
    ours = sum(route_step(model, 0.7 / 0.3, 4.0)(model, rows).values())
    theirs = sum(distillation_loss(model(model_inputs(rows)).logits, teacher[:, 0], rows["labels"], 0.7, 4.0).values())
    weights = [w for w in model.parameters() if w.requires_grad]
    for one, other in zip(torch.autograd.grad(ours, weights), torch.autograd.grad(theirs, weights), strict=True):
        assert torch.allclose(0.3 * one, other, atol=1e-5)


def test_fewer_steps_than_parts_are_refused(tmp_path):
    with pytest.raises(InputError, match="1 steps are fewer than the 2 parts"):
        train(tmp_path, 0.1, 2)
