import copy
import re

import pytest
import torch
from torch.nn import functional as F

from stillhouse.encoders.student import build_student
from stillhouse.errors import InputError
from stillhouse.methods.rocket import Rocket, hint_loss, launch_loss, share_lowest
from stillhouse.training.batches import collate, model_inputs
from tests import tiny


def batch():
    return collate(
        [{"input_ids": [2, 7, 8, 3], "label": 0}, {"input_ids": [2, 9, 10, 11, 12, 3], "label": 1}], pad_id=0
    )


def nets(shared=1, light_layers=2, booster=None):
    """The two nets in eval mode, the light one from random weights; the booster comes back as it was, too."""
    booster = booster or tiny.bert(layers=4)
    whole = copy.deepcopy(booster)
    light = build_student(booster, layers=shared + light_layers, source_layers=None, seed=3)
    share_lowest(light, booster, shared)
    return Rocket(light, booster, shared).eval(), light, whole


def logits(model):
    return [outputs.logits for outputs in model(model_inputs(batch()))]


def gradients(model, of) -> dict[str, bool]:
    """Which weights get a gradient that is not zero, by name."""
    model.zero_grad()
    of().backward()
    return {name: bool(w.grad is not None and w.grad.abs().sum() > 0) for name, w in model.named_parameters()}


def test_the_hints_are_those_of_the_paper():
    light, booster = torch.randn(3, 4), torch.randn(3, 4)

    def hint(kind):
        return hint_loss(light, booster, kind, 2.0, gradient_block=True)

    assert torch.allclose(
        hint("logits"), torch.stack([(a - b).norm() ** 2 for a, b in zip(light, booster, strict=True)]).mean()
    )
    p, q = F.softmax(light, -1), F.softmax(booster, -1)
    assert torch.allclose(hint("softmax"), ((p - q) ** 2).sum() / 3)
    soft = -(F.softmax(booster / 2, -1) * F.log_softmax(light / 2, -1)).sum() / 3
    assert torch.allclose(hint("soft"), 4 * soft)


def test_the_joint_loss_is_both_nets_cross_entropy_and_the_weighted_hint():
    light, booster, labels = torch.randn(3, 4), torch.randn(3, 4), torch.tensor([0, 3, 1])
    terms = launch_loss(light, booster, labels, "logits", 0.5, 1.0, gradient_block=True)
    assert torch.allclose(terms["light"], F.cross_entropy(light, labels))
    assert torch.allclose(terms["booster"], F.cross_entropy(booster, labels))
    assert torch.allclose(terms["hint"], 0.5 * (light - booster).square().sum(-1).mean())


@pytest.mark.parametrize("kind", ["logits", "softmax", "soft"])
def test_the_block_keeps_the_hint_from_the_boosters_own_layers_and_head_and_from_nothing_else(kind):
    for block in (True, False):
        model, _, _ = nets()

        def hint(model=model, block=block):
            return hint_loss(*logits(model), kind, 2.0, gradient_block=block)

        reached = gradients(model, hint)
        assert reached["booster.classifier.weight"] is not block
        assert reached["booster.bert.encoder.layer.0.output.dense.weight"] is not block
        assert reached["light.classifier.weight"]
        assert reached["light.bert.encoder.layer.0.output.dense.weight"], "shared: through l"


@pytest.mark.parametrize("net", [0, 1], ids=["light", "booster"])
def test_the_shared_layers_learn_from_both_nets_and_each_net_reaches_no_layer_of_the_others(net):
    model, _, _ = nets(shared=2, light_layers=1)
    reached = gradients(model, lambda: F.cross_entropy(logits(model)[net], batch()["labels"]))
    for name in ("embeddings.word_embeddings", "encoder.layer.0.output.dense", "encoder.layer.1.output.dense"):
        assert reached[f"light.bert.{name}.weight"]
    assert reached["light.bert.encoder.layer.2.output.dense.weight"] is (net == 0)
    assert reached["light.classifier.weight"] is (net == 0)
    assert reached["booster.bert.encoder.layer.0.output.dense.weight"] is (net == 1)
    assert reached["booster.classifier.weight"] is (net == 1)


def test_the_gradient_of_shared_layers_is_the_sum_of_both_losses_gradients():
    model, light, _ = nets()
    weight = light.bert.encoder.layer[0].output.dense.weight

    def gradient(*terms):
        loss = launch_loss(*logits(model), batch()["labels"], "logits", 1.0, 1.0, gradient_block=True)
        return torch.autograd.grad(sum(loss[term] for term in terms), weight)[0]

    parts = gradient("light") + gradient("booster") + gradient("hint")
    assert torch.allclose(gradient("light", "booster", "hint"), parts, atol=1e-5)


@pytest.mark.parametrize("family", ["bert", "roberta", "electra"])
@pytest.mark.parametrize("shared", [0, 2])
def test_both_nets_in_one_pass_give_what_each_gives_alone(family, shared):
    booster = tiny.bert(layers=4) if family == "bert" else tiny.other_family(family, layers=4)
    model, light, whole = nets(shared, 1, booster)
    inputs = model_inputs(batch())
    of_light, of_booster = (outputs.logits for outputs in model(inputs))
    assert torch.allclose(of_light, light(**inputs).logits, atol=1e-6)
    assert torch.allclose(of_booster, whole(**inputs).logits, atol=1e-6)


def test_shared_layers_run_once_a_pass_and_are_held_once():
    model, light, whole = nets(shared=2, light_layers=1)
    runs = []
    for layer in light.bert.encoder.layer[:2]:
        layer.register_forward_hook(lambda *_: runs.append(1))
    model(model_inputs(batch()))
    assert len(runs) == 2

    def count(net):
        return sum(weight.numel() for weight in net.parameters())

    shared = count(light.bert.embeddings) + count(light.bert.encoder.layer[:2])
    assert count(model) == count(light) + count(whole) - shared


def test_one_output_is_hinted_by_its_logit_alone():
    assert hint_loss(torch.tensor([[1.0]]), torch.tensor([[3.0]]), "logits", 1.0, gradient_block=True).item() == 4.0
    for kind in ("softmax", "soft"):
        with pytest.raises(InputError, match=re.escape(f"hint = '{kind}' compares classes, and the task has scores")):
            hint_loss(torch.ones(2, 1), torch.ones(2, 1), kind, 1.0, gradient_block=True)


def test_what_cannot_be_is_refused():
    with pytest.raises(InputError, match="hint = 'cosine' is not one of logits, softmax, soft"):
        hint_loss(torch.ones(2, 2), torch.ones(2, 2), "cosine", 1.0, gradient_block=True)
    with pytest.raises(InputError, match="shared = 2: the booster has 2 layers, one must be its own"):
        share_lowest(tiny.bert(layers=3), tiny.bert(layers=2), 2)
