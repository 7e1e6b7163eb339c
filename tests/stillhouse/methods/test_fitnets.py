import copy
import re

import pytest
import torch
from torch.nn import functional as F

from stillhouse.encoders.student import build_student
from stillhouse.encoders.teacher import FrozenTeacher
from stillhouse.errors import InputError
from stillhouse.methods.fitnets import GuidedStudent, distillation_loss, hint_loss, hint_step, middle_layer
from stillhouse.training.batches import collate, collator, model_inputs
from stillhouse.training.loop import fit
from tests import tiny


def rows():
    return [{"input_ids": [2, 7, 8, 3], "label": 0}, {"input_ids": [2, 9, 10, 11, 12, 3], "label": 1}] * 4


def batch():
    return collate(rows()[:2], pad_id=0)


def thin_and_deep(teacher, layers=4):
    return build_student(
        teacher, layers=layers, hidden_size=16, heads=2, intermediate_size=32, source_layers=None, seed=0
    )


def test_the_hint_loss_is_half_the_squared_norm_averaged_over_real_positions():
    hint, regressed = torch.randn(2, 3, 5), torch.randn(2, 3, 5)
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    norms = [(hint[b, i] - regressed[b, i]).norm() ** 2 / 2 for b, i in ((0, 0), (0, 1), (1, 0))]
    assert torch.allclose(hint_loss(hint, regressed, mask), torch.stack(norms).mean())


def test_padding_has_no_gradient_in_the_hint_loss():
    hint, regressed = torch.randn(1, 3, 5), torch.randn(1, 3, 5, requires_grad=True)
    hint_loss(hint, regressed, torch.tensor([[1, 1, 0]])).backward()
    assert regressed.grad[0, 2].abs().sum() == 0
    assert torch.allclose(regressed.grad[0, :2], (regressed - hint)[0, :2] / 2)


def test_the_second_stages_loss_is_ce_plus_lambda_times_soft_ce_without_tau_squared():
    student, teacher, labels = torch.randn(4, 3), torch.randn(4, 3), torch.tensor([0, 1, 2, 1])
    terms = distillation_loss(student, teacher, labels, 4.0, 3.0)
    soft = -(F.softmax(teacher / 3, -1) * F.log_softmax(student / 3, -1)).sum(-1).mean()
    assert torch.allclose(terms["soft"], 4 * soft)
    assert torch.allclose(terms["hard"], F.cross_entropy(student, labels))


def test_regression_has_two_squared_errors():
    terms = distillation_loss(torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [2.0]]), torch.zeros(2), 2.0, 3.0)
    assert (terms["soft"].item(), terms["hard"].item()) == (4.0, 2.5)


@pytest.mark.parametrize("family", ["bert", "roberta", "electra"])
def test_the_guided_student_is_the_students_own_lower_half(family):
    teacher = tiny.bert(layers=4) if family == "bert" else tiny.other_family(family, layers=4)
    student = thin_and_deep(teacher)
    inputs = model_inputs(batch())
    model = GuidedStudent(student, 2, 32, seed=0).eval()
    states = student(**inputs, output_hidden_states=True).hidden_states[2]
    assert torch.allclose(model(inputs), model.regressor(states), atol=1e-6)
    own = {id(weight) for weight in student.parameters()}
    trained = {id(weight) for weight in model.parameters()} - {id(weight) for weight in model.regressor.parameters()}
    assert trained < own
    assert student.config.num_hidden_layers == 4


def test_the_hint_is_the_teachers_layer_and_nothing_above_it_runs():
    teacher = tiny.bert(layers=4)
    expected = copy.deepcopy(teacher)(**model_inputs(batch()), output_hidden_states=True).hidden_states[3]
    frozen = FrozenTeacher(teacher, 3, [])
    model = GuidedStudent(thin_and_deep(teacher), 2, 32, seed=0).eval()
    loss = hint_step(frozen)(model, batch())["hint"]
    assert torch.allclose(loss, hint_loss(expected, model(model_inputs(batch())), batch()["attention_mask"]))
    assert len(teacher.bert.encoder.layer) == 3


def test_training_by_hints_changes_the_lower_half_and_the_regressor_and_nothing_else(tmp_path):
    teacher = tiny.bert(layers=4)
    student = thin_and_deep(teacher)
    before = copy.deepcopy(student.state_dict())
    computed = []
    for module in (*student.bert.encoder.layer[2:], student.bert.pooler, student.classifier):
        module.register_forward_hook(lambda *_: computed.append(1))
    model = GuidedStudent(student, 2, 32, seed=0)
    regressor = copy.deepcopy(model.regressor)
    numbers = {"epochs": 2, "batch_size": 2, "learning_rate": 1e-3, "seed": 0, "precision": "fp32"}
    fit(model, hint_step(FrozenTeacher(teacher, 2, [])), rows(), collator(0), checkpoints=tmp_path, **numbers)
    assert not computed
    assert not torch.equal(model.regressor.weight, regressor.weight)
    lower = ("bert.embeddings.", "bert.encoder.layer.0.", "bert.encoder.layer.1.")
    for name, weight in student.state_dict().items():
        # The gradient of a key's bias is zero, up to rounding: softmax does not see it.
        if name.endswith("key.bias"):
            continue
        assert torch.equal(weight, before[name]) != name.startswith(lower), name


def test_the_middle_layer_is_half_the_depth_unless_one_is_named():
    assert [middle_layer("hint_layer", None, depth) for depth in (1, 6, 7, 8)] == [1, 3, 3, 4]
    assert middle_layer("hint_layer", 5, 6) == 5


@pytest.mark.parametrize("layer", [0, 7])
def test_a_layer_that_is_not_there_is_refused(layer):
    with pytest.raises(InputError, match=re.escape(f"hint_layer = {layer}: the model has layers 1 to 6")):
        middle_layer("hint_layer", layer, 6)
