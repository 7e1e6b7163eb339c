import copy
import math

import pytest
import torch
from torch import nn
from transformers import BertForMaskedLM, BertForQuestionAnswering, RobertaForMaskedLM, RobertaForQuestionAnswering

from stillhouse.encoders.families import encoder_layers
from stillhouse.encoders.measure import flops
from stillhouse.errors import InputError
from stillhouse.methods import structured
from stillhouse.methods.structured import (
    Gain,
    HardConcreteGates,
    choose,
    choose_for_cost,
    hard_concrete,
    open_probability,
    random_scores,
    slice_model,
    sliced_shape,
)
from stillhouse.models.shape import Shape
from stillhouse.surgery import factorize, share_layers
from stillhouse.surgery.cost import layer_flops
from stillhouse.surgery.gates import GATE_KINDS, gate_sizes, gated, gated_layer_norm, masks
from stillhouse.training.batches import collate, collator, model_inputs
from stillhouse.training.loop import fit
from stillhouse.training.losses import task_loss
from stillhouse.training.outcomes import classify
from tests import tiny

IDS = torch.tensor([[2, 7, 8, 9, 10, 3], [2, 11, 12, 3, 0, 0]])
MASK = (IDS != 0).long()
SIZES = {"heads": (4, 4, 4), "units": (64, 64, 64), "dimensions": (32,)}
KEEP = {
    "heads": [[0, 2], [1], [0, 1, 3]],
    "units": [list(range(10)), list(range(5, 64)), [3, 7]],
    "dimensions": [[*range(3, 20), *range(22, 31)]],
}
WHOLE = {kind: [list(range(size)) for size in sizes] for kind, sizes in SIZES.items()}
HEADS = {
    ("question answering", "bert"): BertForQuestionAnswering,
    ("question answering", "roberta"): RobertaForQuestionAnswering,
    ("masked LM", "bert"): BertForMaskedLM,
    ("masked LM", "roberta"): RobertaForMaskedLM,
}


def model_for(task="classification", family="bert"):
    """Three layers, 32 wide, 4 heads, 64 FFN units; LayerNorms that are not the identity."""
    torch.manual_seed(5)
    model = tiny.bert(layers=3) if family == "bert" else tiny.other_family("roberta", layers=3)
    if task == "regression":
        model.config.num_labels = 1
        model = type(model)(model.config)
    elif task != "classification":
        model = HEADS[task, family](model.config)
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return model.eval()


@torch.no_grad()
def outputs(model):
    """Logits, or those of starts and ends side by side, of real tokens."""
    given = model(input_ids=IDS, attention_mask=MASK)
    values = given.logits if "logits" in given else torch.stack([given.start_logits, given.end_logits], dim=-1)
    return values if values.dim() == 2 else values[MASK.bool()]


@pytest.mark.parametrize(
    ("kinds", "attention"),
    [
        (("heads",), "sdpa"),
        (("units",), "sdpa"),
        (("dimensions",), "sdpa"),
        (GATE_KINDS, "sdpa"),
        (GATE_KINDS, "eager"),
    ],
    ids=["heads", "units", "dimensions", "all", "all-eager"],
)
@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize("task", ["classification", "regression", "question answering", "masked LM"])
def test_masked_and_sliced_models_agree(task, family, kinds, attention):
    model = model_for(task, family)
    model.set_attn_implementation(attention)
    keep = {kind: KEEP[kind] if kind in kinds else WHOLE[kind] for kind in GATE_KINDS}
    with gated(model, masks({kind: KEEP[kind] for kind in kinds}, SIZES)):
        masked = outputs(model)
    sliced = outputs(slice_model(model, keep))
    assert (sliced - masked).abs().max() < 1e-5
    assert (sliced - outputs(model)).abs().max() > 1e-2


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize("task", ["classification", "masked LM"])
def test_gates_of_1_are_the_model_itself_and_leave_nothing_behind(task, family):
    model = model_for(task, family)
    alone = outputs(model)
    with gated(model, masks(WHOLE, SIZES)):
        assert torch.allclose(outputs(model), alone, atol=1e-5)
    with pytest.raises(ZeroDivisionError), gated(model, masks(KEEP, SIZES)):
        assert not torch.allclose(outputs(model), alone, atol=1e-2)
        raise ZeroDivisionError
    assert torch.equal(outputs(model), alone)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_gates_may_be_each_sentences_own():
    model = model_for()
    values = masks(KEEP, SIZES)
    rows = {kind: torch.stack([torch.ones_like(gates), gates]) for kind, gates in values.items()}
    alone = outputs(model)
    with gated(model, values):
        masked = outputs(model)
    with gated(model, rows):
        mixed = outputs(model)
    assert torch.allclose(mixed, torch.stack([alone[0], masked[1]]), atol=1e-5)


def test_a_gated_layer_norm_weighs_its_mean_and_variance():
    x, z = torch.tensor([1.0, 2.0, 7.0, 100.0]), torch.tensor([1.0, 0.5, 1.0, 0.0])
    mean = (1 + 1 + 7) / 2.5
    variance = ((1 - mean) ** 2 + 0.5 * (2 - mean) ** 2 + (7 - mean) ** 2) / 2.5
    given = gated_layer_norm(x, z, torch.full((4,), 2.0), torch.full((4,), 3.0), 1e-5)
    wanted = [gate * (2 * (value - mean) / math.sqrt(variance + 1e-5) + 3) for gate, value in zip(z, x, strict=True)]
    assert torch.allclose(given, torch.tensor(wanted))
    ones = gated_layer_norm(x, torch.ones(4), torch.ones(4), torch.zeros(4), 1e-5)
    assert torch.allclose(ones, nn.functional.layer_norm(x, (4,)), atol=1e-6)


def test_gates_of_matrices_of_low_rank_work_and_shared_layers_are_refused():
    low = factorize(model_for(), {"0.attention.output.dense": 4, "1.output.dense": 5})
    with gated(low, masks(KEEP, SIZES)):
        masked = outputs(low)
    assert torch.allclose(outputs(slice_model(low, KEEP)), masked, atol=1e-5)
    with pytest.raises(InputError, match="prune first, then share"):
        gate_sizes(share_layers(model_for(), [0, 0, 0], [0, 0, 0]))


# -- hard concrete gates


def test_a_hard_concrete_gate_is_the_papers():
    # u = 1/2: s = σ(log α/β), stretched to (−0.1, 1.1) and cut to [0, 1].
    alpha = torch.tensor([-4.0, 0.0, 0.8, 4.0])
    stretched = [1 / (1 + math.exp(-a / (2 / 3))) * 1.2 - 0.1 for a in alpha.tolist()]
    given = hard_concrete(alpha, torch.tensor(0.5))
    assert given.tolist() == pytest.approx([min(1, max(0, s)) for s in stretched], abs=1e-6)
    assert given[0] == 0 and given[3] == 1


def test_the_penalty_is_the_papers_and_the_share_of_gates_that_are_drawn_open():
    # −β·log(−γ/ζ) = 2/3·log 11
    assert open_probability(torch.tensor(0.0)).item() == pytest.approx(1 / (1 + 11 ** (-2 / 3)), abs=1e-6)
    assert open_probability(torch.tensor(-1.3)).item() == pytest.approx(
        1 / (1 + math.exp(1.3) * 11 ** (-2 / 3)), abs=1e-6
    )
    draws = torch.rand(200_000, generator=torch.Generator().manual_seed(0)).clamp(1e-6, 1 - 1e-6)
    for alpha in (-2.0, 0.0, 1.5):
        share = (hard_concrete(torch.tensor(alpha), draws) > 0).float().mean().item()
        assert share == pytest.approx(open_probability(torch.tensor(alpha)).item(), abs=0.005)


def learned(weights=False, **changes):
    return HardConcreteGates(
        model_for(), {"heads": 0.5, "units": 0.25}, **{"start": 0.0, "rate": 10.0, "weights": weights} | changes
    )


def test_the_penalty_sums_over_all_gates_and_the_constraint_is_that_of_the_open_shares():
    module = learned()
    probability = 1 / (1 + 11 ** (-2 / 3))
    assert module.penalty(0.1).item() == pytest.approx(0.1 * (12 + 192) * probability, rel=1e-5)
    module.train()
    assert module.constraint(2.0, 0.0).item() == 0  # the multipliers start at 0 …
    assert module.multipliers.tolist() == pytest.approx([2 * (probability - 0.5), 2 * (probability - 0.25)], rel=1e-5)
    again = module.constraint(2.0, 0.0).item()  # … and count from the step after
    assert again == pytest.approx(2 * (probability - 0.5) ** 2 + 2 * (probability - 0.25) ** 2, rel=1e-4)
    damped = module.eval().constraint(2.0, 6.0).item()
    squares = (probability - 0.5) ** 2 + (probability - 0.25) ** 2
    assert damped == pytest.approx((4 + 6 / 2) * squares, rel=1e-4)  # two steps of 2 have made λ = 4·e
    module.train()
    with torch.no_grad():
        for theta in module.theta.values():
            theta.fill_(-10)
        module.multipliers.fill_(1e-3)
    module.constraint(2.0, 0.0)
    assert module.multipliers.tolist() == [0, 0]  # a multiplier is never negative


def test_frozen_weights_get_no_gradient_and_no_dropout_and_trained_ones_get_both():
    batch = {**collate([{"input_ids": [2, 7, 8, 3], "label": 0}] * 2, pad_id=0)}
    for weights in (False, True):
        module = learned(weights).train()
        classify(module, batch).backward()
        assert all(theta.grad.abs().sum() > 0 for theta in module.theta.values())
        assert all((weight.grad is not None) == weights for weight in module.model.base_model.encoder.parameters())
        assert module.model.training == weights


def test_the_gradient_that_is_clipped_is_log_alphas():
    one, other = learned(rate=1.0), learned(rate=50.0)
    for module in (one, other):
        module.penalty(1.0).backward()
    assert torch.allclose(one.theta["units"].grad, other.theta["units"].grad)


def rows(count=64):
    texts, labels = tiny.sentences(count)
    ids = tiny.tokenizer()(texts)["input_ids"]
    return [{"input_ids": row, "label": label} for row, label in zip(ids, labels, strict=True)]


def train(module, step, folder, **numbers):
    fit(
        module, step, rows(), collator(0), seed=0, checkpoints=folder, precision="fp32",
        **{"epochs": 10, "batch_size": 16, "learning_rate": 0.01} | numbers,
    )  # fmt: skip


@pytest.mark.parametrize("penalty", [None, 0.1])
def test_gates_close_and_the_multipliers_stop_at_the_share(penalty, tmp_path):
    module = learned(rate=5.0, start=3.0)
    assert all(open_probability(alpha).mean() > 0.98 for alpha in module.log_alpha().values())

    def step(model, batch):
        return {
            "task": classify(model, batch),
            "l0": module.constraint(0.05, 50.0) if penalty is None else module.penalty(penalty),
        }

    train(module, step, tmp_path, learning_rate=0.05, epochs=40)  # they overshoot first
    shares = {kind: open_probability(alpha).mean().item() for kind, alpha in module.log_alpha().items()}
    if penalty is None:
        assert shares == pytest.approx({"heads": 0.5, "units": 0.25}, abs=0.05)
    else:
        assert max(shares.values()) < 0.3


# -- gain


def test_gain_is_the_mean_over_sentences_of_the_slope_at_gates_of_1(tmp_path):
    model = model_for()
    gain = Gain(copy.deepcopy(model), GATE_KINDS)
    train(
        gain, lambda _, batch: gain.measure(len(batch["input_ids"]), lambda m: classify(m, batch)), tmp_path, epochs=1
    )
    assert int(gain.rows) == 64
    assert all(torch.equal(a, b) for a, b in zip(gain.model.parameters(), model.parameters(), strict=True))

    gates = {"heads": torch.ones(12), "dimensions": torch.ones(32)}
    sums = {kind: torch.zeros_like(values) for kind, values in gates.items()}
    for row in rows():
        batch = collate([row], pad_id=0)
        leaves = [values.requires_grad_() for values in gates.values()]
        with gated(model, gates):
            loss = task_loss(model(**model_inputs(batch)).logits, batch["labels"])
        for kind, slope in zip(gates, torch.autograd.grad(loss, leaves), strict=True):
            sums[kind] += slope.abs()
    for kind, total in sums.items():
        assert torch.allclose(gain.gains()[kind], total / 64, rtol=1e-3, atol=1e-6)


def test_a_head_and_a_unit_without_influence_have_gain_0():
    model = model_for()
    layer = encoder_layers(model)[1]
    layer.attention.output.dense.weight.data.view(32, 4, 8)[:, 2] = 0
    layer.output.dense.weight.data[:, 5] = 0
    gain = Gain(model, ("heads", "units"))
    batch = collate(rows(8), pad_id=0)
    gain.measure(8, lambda m: classify(m, batch))
    found = gain.gains()
    assert (found["heads"] == 0).nonzero().flatten().tolist() == [4 + 2]
    assert found["units"][64 + 5] == 0 and (found["units"] > 0).float().mean() > 0.9


# -- what stays


def test_the_best_of_all_layers_stay_in_the_number_asked_for():
    scores = {"heads": torch.arange(12.0)}
    keep = choose(scores, SIZES, {"heads": 0.5}, 8)
    # Six stay; the first layer's best is one of them though five better ones would be left.
    assert keep["heads"] == [[3], [3], [0, 1, 2, 3]]
    assert keep["units"] == WHOLE["units"] and keep["dimensions"] == WHOLE["dimensions"]


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_shares_are_met_exactly_and_by_layer_up_to_the_multiple(share, seed):
    scores = random_scores(SIZES, seed)
    remove = dict.fromkeys(GATE_KINDS, share)
    exact = choose(scores, SIZES, remove, 1)
    for kind, sizes in SIZES.items():
        assert sum(map(len, exact[kind])) == sum(sizes) - int(share * sum(sizes) + 1e-9)
    rounded = choose(scores, SIZES, remove, 8)
    for kind in ("units", "dimensions"):
        for ours, theirs in zip(rounded[kind], exact[kind], strict=True):
            assert set(ours) >= set(theirs)
            assert len(ours) == -(-len(theirs) // 8) * 8
    assert rounded["heads"] == exact["heads"]


def test_a_layer_keeps_one_at_least_and_less_is_refused():
    scores = {"heads": torch.tensor([*[9.0] * 4, *[0.0] * 8])}
    keep = choose(scores, SIZES, {"heads": 0.75}, 1)
    assert keep["heads"] == [[0], [0], [0]]
    with pytest.raises(InputError, match=r"remove.heads = 0.9 leaves 2 for 3 layers"):
        choose(scores, SIZES, {"heads": 0.9}, 1)


def test_the_layers_flops_are_those_that_torch_counts():
    model = model_for("question answering")
    head = 2 * 16 * 32 * 2  # two logits a token
    assert layer_flops(Shape.of(model.config), 16) == flops(model, 16) - head
    sliced = slice_model(model, KEEP)
    head = 2 * 16 * len(KEEP["dimensions"][0]) * 2
    assert layer_flops(Shape.of(sliced.config), 16) == flops(sliced, 16) - head
    assert layer_flops(sliced_shape(Shape.of(model.config), KEEP), 16) == flops(sliced, 16) - head


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_target_in_time_is_met_and_little_more_goes_than_it_takes(share):
    shape = Shape.of(model_for().config)
    scores, remove = random_scores(SIZES, 1), {"heads": 0.2, "units": 0.4, "dimensions": 0.1}
    keep, goes = choose_for_cost(scores, shape, SIZES, remove, 1, share=share, tokens=16)
    left = layer_flops(sliced_shape(shape, keep), 16) / layer_flops(shape, 16)
    assert share - 0.05 < left <= share
    if share > 0.2:
        assert goes["units"] == pytest.approx(2 * goes["heads"])


def test_a_target_out_of_reach_is_refused():
    shape = Shape.of(model_for().config)
    with pytest.raises(InputError, match=r"latency = 0.01 of the FLOPs is out of reach"):
        choose_for_cost(random_scores(SIZES, 1), shape, SIZES, {"heads": 0.5}, 1, share=0.01, tokens=16)


def test_slicing_gives_a_plain_model_where_the_shape_is_plain():
    whole = slice_model(model_for(), WHOLE)
    assert type(whole).__name__ == "BertForSequenceClassification"
    assert type(structured.slice_model(model_for(), KEEP)).__name__ == "CompactBertForSequenceClassification"
