import pytest
import torch
from torch.nn import functional as F

from stillhouse.errors import InputError
from stillhouse.methods.hinton import combine, distillation_loss, logit_loss

BOTH = [lambda s, t, y: distillation_loss(s, t, y, 1.0, 4.0), lambda s, t, y: logit_loss(s, t, y, 1.0)]


def gradient(loss_of, logits: torch.Tensor) -> torch.Tensor:
    logits = logits.clone().requires_grad_()
    return torch.autograd.grad(loss_of(logits), logits)[0]


def test_the_soft_gradient_is_t_times_the_difference_of_probabilities_over_the_batch():
    student, teacher, labels = torch.randn(6, 4), torch.randn(6, 4), torch.zeros(6, dtype=torch.long)
    for t in (1.0, 3.0):
        got = gradient(lambda z, t=t: distillation_loss(z, teacher, labels, 1.0, t)["soft"], student)
        expected = t * (F.softmax(student / t, -1) - F.softmax(teacher / t, -1)) / len(student)
        assert torch.allclose(got, expected, atol=1e-6)


def test_the_gradient_of_the_logit_loss_is_the_difference_of_centred_logits_over_rows_and_classes():
    student, teacher = torch.randn(6, 4) + 3, torch.randn(6, 4) - 5
    got = gradient(lambda z: logit_loss(z, teacher, None, 1.0)["soft"], student)
    centred = [logits - logits.mean(-1, keepdim=True) for logits in (student, teacher)]
    assert torch.allclose(got, (centred[0] - centred[1]) / (6 * 4), atol=1e-7)


def test_that_gradient_is_the_soft_ones_limit():
    student, teacher = torch.randn(6, 4) + 3, torch.randn(6, 4) - 5
    limit = gradient(lambda z: logit_loss(z, teacher, None, 1.0)["soft"], student).double()
    for t in (1e3, 1e4, 1e5):
        # Of the test above, in double precision: in single the difference of two softmaxes has no digits left.
        softened = (F.softmax(student.double() / t, -1) - F.softmax(teacher.double() / t, -1)) * t / len(student)
        assert (softened - limit).abs().max() < 10 / t + 1e-6
    # And the code's own, at a temperature where single precision still has three digits.
    soft = gradient(lambda z: distillation_loss(z, teacher, None, 1.0, 1000.0)["soft"], student)
    assert torch.allclose(soft.double(), limit, rtol=2e-2, atol=2e-4)


def test_logits_that_differ_by_a_constant_a_row_are_the_same_distribution_to_the_logit_loss():
    teacher = torch.randn(6, 4)
    assert logit_loss(teacher + torch.randn(6, 1), teacher, None, 1.0)["soft"].item() == pytest.approx(0, abs=1e-12)


def test_alpha_weighs_the_teacher_and_the_rest_the_labels():
    student, teacher, labels = torch.randn(3, 2), torch.randn(3, 2), torch.tensor([0, 1, 1])
    terms = distillation_loss(student, teacher, labels, 0.3, 2.0)
    whole = distillation_loss(student, teacher, labels, 1.0, 2.0)
    assert torch.allclose(terms["soft"], 0.3 * whole["soft"])
    assert torch.allclose(terms["hard"], 0.7 * F.cross_entropy(student, labels))


@pytest.mark.parametrize("loss", BOTH)
def test_regression_learns_the_teachers_score(loss):
    student, teacher = torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [2.0]])
    assert loss(student, teacher, torch.tensor([0.0, 0.0]))["soft"].item() == 2.0


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_arithmetic_mean_of_teachers_is_that_of_their_probabilities_at_t(temperature):
    teachers = torch.randn(3, 6, 4) * 3
    probabilities = F.softmax(combine(teachers, temperature, "arithmetic") / temperature, -1)
    assert torch.allclose(probabilities, F.softmax(teachers / temperature, -1).mean(0), atol=1e-6)


def test_the_geometric_mean_of_teachers_is_the_normalized_one_of_their_probabilities():
    teachers = torch.randn(3, 6, 4)
    product = F.softmax(teachers / 2, -1).prod(0) ** (1 / 3)
    got = F.softmax(combine(teachers, 2.0, "geometric") / 2, -1)
    assert torch.allclose(got, product / product.sum(-1, keepdim=True), atol=1e-6)


@pytest.mark.parametrize("mean", ["arithmetic", "geometric"])
def test_one_teacher_and_teachers_that_agree_come_back_as_they_are(mean):
    one = torch.randn(1, 5, 3)
    assert torch.equal(combine(one, 4.0, mean), one[0])
    assert torch.allclose(combine(one.repeat(3, 1, 1), 4.0, mean), one[0], atol=1e-5)


def test_both_means_meet_at_high_temperature_and_differ_at_a_low_one():
    teachers = torch.randn(2, 6, 4).double()
    for temperature, meet in ((1e4, True), (1.0, False)):
        kinds = [combine(teachers, temperature, mean) for mean in ("arithmetic", "geometric")]
        assert torch.allclose(*kinds, atol=1e-3) == meet


@pytest.mark.parametrize("mean", ["arithmetic", "geometric"])
def test_teachers_that_disagree_without_end_give_finite_logits(mean):
    teachers = torch.tensor([[[500.0, -500.0]], [[-500.0, 500.0]]])
    assert torch.allclose(combine(teachers, 1.0, mean), torch.zeros(1, 2))


@pytest.mark.parametrize("mean", ["arithmetic", "geometric"])
def test_several_scores_give_their_mean(mean):
    assert combine(torch.tensor([[[1.0], [4.0]], [[3.0], [0.0]]]), 4.0, mean).tolist() == [[2.0], [2.0]]


def test_an_unknown_mean_is_refused():
    with pytest.raises(InputError, match="mean = 'harmonic' is not one of arithmetic, geometric"):
        combine(torch.zeros(2, 1, 2), 1.0, "harmonic")


@pytest.mark.parametrize("loss", BOTH)
def test_rows_without_labels_have_the_soft_part_alone(loss):
    student, teacher = torch.randn(3, 2), torch.randn(3, 2)
    terms = loss(student, teacher, None)
    assert set(terms) == {"soft"}
    assert torch.equal(terms["soft"], loss(student, teacher, torch.tensor([0, 1, 1]))["soft"])
