"""Starts and ends as distributions: the losses that every method shares, and padding, which counts in none."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from stillhouse.answers.outcomes import SPANS
from stillhouse.methods import hinton, rco, rocket, tinybert
from stillhouse.training.batches import collate
from stillhouse.training.losses import NO_OUTCOME, logit_error, soft_target_loss, task_loss
from tests import tiny

MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])


def logits(seed: int, width: int = 4) -> SimpleNamespace:
    torch.manual_seed(seed)
    return SimpleNamespace(start_logits=torch.randn(2, width), end_logits=torch.randn(2, width))


def batch(mask=MASK, teacher=None) -> dict:
    """Two windows; the teacher's logits are as wide as its own, (2, 2, W)."""
    made = {"attention_mask": mask, "start": torch.tensor([1, 0]), "end": torch.tensor([3, 1])}
    if teacher is not None:
        made["teacher_logits"] = torch.stack([teacher.start_logits, teacher.end_logits], 1)
    return made


def test_the_hard_loss_is_the_mean_of_two_cross_entropies_over_what_is_no_padding():
    said = logits(1)
    wanted = 0.0
    for row, (first, last) in enumerate([(1, 3), (0, 1)]):
        length = int(MASK[row].sum())
        wanted -= said.start_logits[row, :length].log_softmax(0)[first].item() / 4
        wanted -= said.end_logits[row, :length].log_softmax(0)[last].item() / 4
    ours = SPANS.predicted(said, batch())
    assert ours.shape == (4, 4)
    assert task_loss(ours, SPANS.labels(batch())).item() == pytest.approx(wanted, rel=1e-6)


LOSSES = {
    "soft": lambda ours, theirs, labels: soft_target_loss(ours, theirs, 3.0),
    "logits": lambda ours, theirs, labels: logit_error(ours, theirs),
    "prediction": lambda ours, theirs, labels: tinybert.prediction_loss(ours, theirs, 2.0),
    "divergence": lambda ours, theirs, labels: rco.divergence(ours, theirs, 2.0),
    "hinton": lambda *given: sum(hinton.distillation_loss(*given, 0.7, 4.0).values()),
    "rocket": lambda *given: sum(rocket.launch_loss(*given, "logits", 0.5, 1.0, gradient_block=False).values()),
    "softmax": lambda *given: sum(rocket.launch_loss(*given, "softmax", 0.5, 1.0, gradient_block=False).values()),
}


@pytest.mark.parametrize("name", LOSSES)
def test_each_loss_over_padded_windows_is_the_mean_over_windows_without_padding(name):
    """Each distribution by itself, cut to its window, gives the same: so padding neither adds nor dilutes."""
    said, taught = logits(1), logits(2)
    given = batch(teacher=taught)
    ours, theirs, labels = SPANS.predicted(said, given), SPANS.taught(given), SPANS.labels(given)
    lengths = MASK.sum(1).repeat(2).tolist()
    parts = [LOSSES[name](ours[i : i + 1, :n], theirs[i : i + 1, :n], labels[i : i + 1]) for i, n in enumerate(lengths)]
    assert LOSSES[name](ours, theirs, labels).item() == pytest.approx(torch.stack(parts).mean().item(), rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_what_stands_at_padding_changes_nothing_and_gets_no_gradient(name):
    said, taught = logits(1), logits(2)
    wild = SimpleNamespace(
        **{part: value.masked_fill(MASK == 0, 1e4).requires_grad_() for part, value in vars(said).items()}
    )
    filled = SimpleNamespace(**{part: value.masked_fill(MASK == 0, -1) for part, value in vars(taught).items()})
    losses = []
    for ours, theirs in ((said, taught), (wild, filled)):
        given = batch(teacher=theirs)
        losses.append(LOSSES[name](SPANS.predicted(ours, given), SPANS.taught(given), SPANS.labels(given)))
    assert losses[1].item() == pytest.approx(losses[0].item(), rel=1e-6)
    losses[1].backward()
    for value in vars(wild).values():
        assert torch.isfinite(value.grad).all() and (value.grad[1, 2:] == 0).all() and (value.grad[0] != 0).all()


def test_the_students_batch_may_be_padded_further_than_the_teachers():
    given = batch(F.pad(MASK, (0, 2)), logits(2))
    theirs = SPANS.taught(given)
    assert theirs.shape == (4, 6)
    assert (theirs[:, 4:] == NO_OUTCOME).all()
    assert torch.equal(theirs[:, :4], SPANS.taught(batch(teacher=logits(2))))


def test_several_teachers_have_an_axis_of_their_own():
    anchors = torch.randn(2, 2, 3, 4)  # B, starts and ends, K, L
    theirs = SPANS.taught(batch() | {"teacher_logits": anchors})
    assert theirs.shape == (4, 3, 4)
    assert torch.equal(theirs[0], anchors[0, 0]) and torch.equal(theirs[2], anchors[0, 1])
    assert torch.equal(theirs[3][:, :2], anchors[1, 1, :, :2]) and (theirs[3][:, 2:] == NO_OUTCOME).all()


def test_the_step_gives_the_same_loss_however_much_padding_there_is():
    model = tiny.answerer()
    rows = [{"input_ids": [2, 5, 6, 3, 7, 8, 3], "start": 4, "end": 5}]
    short, long = collate(rows, 0), collate([*rows, {"input_ids": [2] * 12, "start": 0, "end": 0}], 0)
    long = {name: value[:1] for name, value in long.items()}
    assert long["input_ids"].shape[1] > short["input_ids"].shape[1]
    with torch.no_grad():
        assert SPANS.hard(model, long).item() == pytest.approx(SPANS.hard(model, short).item(), abs=1e-5)


def test_rows_of_different_lengths_are_filled_up_on_their_innermost_axis():
    rows = [{"input_ids": [2, 3], "teacher_logits": [[1.0, 2.0], [3.0, 4.0]]}]
    rows.append({"input_ids": [2], "teacher_logits": [[5.0], [6.0]]})
    assert collate(rows, 0)["teacher_logits"].tolist() == [[[1, 2], [3, 4]], [[5, -1], [6, -1]]]


def test_without_padding_the_error_of_logits_is_half_torchs_mean_squared_error_of_centred_ones():
    torch.manual_seed(0)
    ours, theirs = torch.randn(7, 5), torch.randn(7, 5)
    centred = [logits - logits.mean(-1, keepdim=True) for logits in (ours, theirs)]
    assert logit_error(ours, theirs).item() == pytest.approx(F.mse_loss(*centred).item() / 2, rel=1e-6)


def test_of_yes_and_no_the_error_of_logits_is_an_eighth_of_the_squared_difference():
    """BCE's limit: T²·BCE at T has the gradient (σ(z/T) − σ(v/T))·T, which goes to (z − v)/4."""
    ours, theirs = torch.tensor([3.0, -1.0]), torch.tensor([1.0, 0.5])
    pairs = [F.pad(logits[:, None], (1, 0)) for logits in (ours, theirs)]  # 0 for no
    assert logit_error(*pairs).item() == pytest.approx((ours - theirs).square().mean().item() / 8)
