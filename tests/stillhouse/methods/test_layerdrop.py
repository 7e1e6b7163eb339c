import copy
import re

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from stillhouse.encoders.families import encoder_layers
from stillhouse.errors import InputError
from stillhouse.methods.layerdrop import (
    LayerDrop,
    LearntRates,
    check_layers,
    drop_rate,
    every_other,
    likeliest_layers,
    only_layers,
)
from stillhouse.surgery import drop_layers
from stillhouse.training.batches import collate, collator, model_inputs
from stillhouse.training.loop import fit
from stillhouse.training.losses import task_loss
from tests import tiny


def rows():
    return [{"input_ids": [2, 7, 8, 3], "label": 0}, {"input_ids": [2, 9, 10, 11, 12, 3], "label": 1}] * 8


def inputs():
    return model_inputs(collate(rows()[:2], pad_id=0))


def model_of(family="bert", layers=4, dropout=0.1):
    model = tiny.bert(layers=layers) if family == "bert" else tiny.other_family(family, layers=layers)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout
    return model


def runs_of(model):
    """Which layers compute, pass after pass."""
    seen = []
    for index, layer in enumerate(encoder_layers(model)):
        layer.register_forward_hook(lambda *_, index=index: seen.append(index))
    return seen


@pytest.mark.parametrize("family", ["bert", "roberta", "electra"])
def test_at_rate_0_training_is_plain_training_dropout_and_all(family):
    plain, dropping = model_of(family).train(), model_of(family).train()
    LayerDrop(dropping, 0.0)
    for model in (plain, dropping):
        torch.manual_seed(7)
        model.logits = model(**inputs()).logits
    assert torch.equal(plain.logits, dropping.logits)


@pytest.mark.parametrize("family", ["bert", "roberta", "electra"])
def test_at_rate_1_the_head_sees_the_embeddings(family):
    model = model_of(family, dropout=0.0).train()
    none = copy.deepcopy(model)
    del encoder_layers(none)[:]
    LayerDrop(model, 1.0)
    assert torch.allclose(model(**inputs()).logits, none(**inputs()).logits, atol=1e-6)


def skipped_counts(model, passes):
    counts = torch.zeros(len(encoder_layers(model)))
    calls = []
    for index, layer in enumerate(encoder_layers(model)):
        layer.attention.register_forward_hook(lambda *_, index=index: calls.append(index))
    for _ in range(passes):
        calls.clear()
        model(**inputs())
        counts += torch.tensor([index not in calls for index in range(len(counts))])
    return counts


def test_each_layer_is_skipped_as_often_as_the_rate_says_and_by_itself():
    model = model_of().train()
    LayerDrop(model, 0.3)
    torch.manual_seed(0)
    counts = skipped_counts(model, 400)
    # Four standard deviations of a binomial of 400 tries are 37.
    assert (counts - 120).abs().max() < 37
    assert len(set(counts.tolist())) > 1


def test_the_whole_batch_skips_a_layer_or_none_of_it():
    model = model_of(layers=1, dropout=0.0).train()
    LayerDrop(model, 0.5)
    with_it, without = (copy.deepcopy(model) for _ in range(2))
    encoder_layers(without)[0]._passing.__self__.rate = 1.0
    encoder_layers(with_it)[0]._passing.__self__.rate = 0.0
    both = [with_it(**inputs()).logits, without(**inputs()).logits]
    torch.manual_seed(0)
    for _ in range(10):
        logits = model(**inputs()).logits
        assert any(torch.allclose(logits, one, atol=1e-6) for one in both)


def test_in_eval_mode_nothing_is_skipped_and_no_coin_is_drawn():
    model = model_of()
    expected = model(**inputs()).logits
    LayerDrop(model, 1.0)
    state = torch.get_rng_state()
    assert torch.equal(model(**inputs()).logits, expected)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_skipped_layer_gets_a_gradient_of_zero_and_not_none():
    model = model_of(dropout=0.0).train()
    LayerDrop(model, 1.0)
    task_loss(model(**inputs()).logits, torch.tensor([0, 1])).backward()
    for weight in encoder_layers(model).parameters():
        assert weight.grad is not None and not weight.grad.any()
    assert model.classifier.weight.grad.any()


def test_ddp_goes_on_after_a_skipped_layer(tmp_path):
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        model = model_of(dropout=0.0).train()
        LayerDrop(model, 1.0)
        # Stricter than `fit`, whose DDP looks for weights without a gradient: here each has one, if only of zero.
        parallel = DistributedDataParallel(model, find_unused_parameters=False)
        for _ in range(3):
            task_loss(parallel(**inputs()).logits, torch.tensor([0, 1])).backward()
    finally:
        torch.distributed.destroy_process_group()


def test_a_run_that_goes_on_from_a_checkpoint_skips_the_same_layers(tmp_path):
    def train(folder, stop):
        model = model_of()
        LayerDrop(model, 0.5)
        calls = []

        def step(m, batch):
            calls.append(1)
            if len(calls) == stop:
                raise KeyboardInterrupt
            return task_loss(m(**model_inputs(batch)).logits, batch["labels"])

        fit(
            model, step, rows(), collator(0), epochs=3, batch_size=4, learning_rate=1e-3, seed=0,
            checkpoints=folder, checkpoint_steps=3, precision="fp32",
        )  # fmt: skip
        return model.state_dict()

    expected = train(tmp_path / "whole", 0)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "broken", 8)
    resumed = train(tmp_path / "broken", 0)
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)


def test_the_names_of_the_weights_stay_and_removing_it_gives_the_model_back():
    model = model_of().train()
    names = list(model.state_dict())
    drop = LayerDrop(model, 1.0)
    assert list(model.state_dict()) == names
    drop.remove()
    seen = runs_of(model)
    model(**inputs())
    assert seen == [0, 1, 2, 3]


def test_a_copy_skips_layers_of_its_own():
    model = model_of(dropout=0.0).train()
    LayerDrop(model, 0.0)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for weight in encoder_layers(other).parameters():
            weight.add_(0.1)
    assert not torch.allclose(model(**inputs()).logits, other(**inputs()).logits)


@pytest.mark.parametrize("rate", [-0.1, 1.1])
def test_a_rate_that_is_no_probability_is_refused(rate):
    with pytest.raises(InputError, match=re.escape(f"rate = {rate} must be in [0, 1]")):
        LayerDrop(tiny.bert(), rate)


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize("keep", [[0, 2], [1], [0, 1, 2, 3]])
def test_a_pruned_model_gives_the_logits_of_the_full_one_with_those_layers_skipped(family, keep):
    model = model_of(family)
    full = model(**inputs()).logits
    pruned = drop_layers(model, keep)
    assert pruned.config.num_hidden_layers == len(keep)
    with only_layers(model, keep):
        skipped = model(**inputs()).logits
    assert torch.allclose(pruned(**inputs()).logits, skipped, atol=1e-6)
    assert torch.equal(model(**inputs()).logits, full), "after the context all layers compute again"
    assert torch.allclose(skipped, full, atol=1e-4) == (len(keep) == 4)


@pytest.mark.parametrize("depth", [6, 12, 16, 24])
def test_every_other_layer_is_what_the_papers_rule_leaves(depth):
    seen = 0
    for keep in range(1, depth):
        gone = depth - keep
        if keep >= gone and depth % gone == 0:  # where the rule gives as many as asked: 1/p is whole
            left = [d - 1 for d in range(1, depth + 1) if d % (depth // gone) != 0]
            assert every_other(depth, keep) == left
            seen += 1
    assert seen >= 3


def test_every_other_layer_is_evenly_spaced_at_every_depth():
    assert every_other(16, 8) == [0, 2, 4, 6, 8, 10, 12, 14]
    assert every_other(6, 2) == [0, 3]
    for keep in range(1, 13):
        layers = every_other(12, keep)
        gaps = {later - earlier for earlier, later in zip(layers, [*layers[1:], 12], strict=True)}
        assert len(layers) == keep and max(gaps) - min(gaps) <= 1


def test_the_rate_for_a_depth_leaves_that_many_layers_on_average():
    assert drop_rate(3, 6) == 0.5
    assert 12 * (1 - drop_rate(9, 12)) == pytest.approx(9)


@pytest.mark.parametrize("keep", [0, 7])
def test_a_depth_that_the_model_does_not_have_is_refused(keep):
    for wants in (every_other, lambda depth, keep: drop_rate(keep, depth)):
        with pytest.raises(InputError, match=f"keep = {keep}: the model has 6 layers: choose from 1 to 6"):
            wants(6, keep)


def test_a_list_of_layers_is_counted_from_1_and_sorted():
    assert check_layers([5, 1, 3], 6) == [0, 2, 4]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([1, 3, 9], "layers [1, 3, 9]: the model has layers 1 to 6, not [9]"),
        ([0], "layers [0]: the model has layers 1 to 6, not [0]"),
        ([], "layers []: the model has layers 1 to 6"),
        ([1, 3, 3], "layers [1, 3, 3] name [3] more than once"),
    ],
)
def test_a_missing_or_repeated_layer_is_refused_in_one_line(layers, message):
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        check_layers(layers, 6)
    assert "\n" not in str(caught.value)


def test_learnt_rates_start_alike_and_their_mean_is_the_wanted_depth():
    rates = LearntRates(model_of(), keep=2, width=8, seed=0)
    shares = rates.shares(inputs())
    assert torch.allclose(shares, torch.full((4,), 0.25))
    nn.init.normal_(rates.outer)
    shares = rates.shares(inputs())
    assert shares.sum().item() == pytest.approx(1) and len(set(shares.tolist())) == 4


def test_a_layers_share_is_the_softmax_of_a_function_of_its_mean_activation_without_padding():
    model = model_of()
    states = model(**inputs(), output_hidden_states=True).hidden_states[1:]
    rates = LearntRates(model, keep=2, width=8, seed=0)
    nn.init.normal_(rates.outer)
    real = inputs()["attention_mask"].bool()
    scores = [
        (v * torch.tanh(w @ h[real].mean(0))).sum() for v, w, h in zip(rates.outer, rates.inner, states, strict=True)
    ]
    assert torch.allclose(rates.shares(inputs()), torch.softmax(torch.stack(scores), 0), atol=1e-6)


def test_coins_of_learnt_rates_keep_whole_layers_and_reach_the_scores():
    model = model_of()
    pruned = {keep: drop_layers(model, list(keep)) for keep in [(0, 1), (0, 1, 2, 3), (2,), (1, 3)]}
    rates = LearntRates(model, keep=2, width=8, seed=0).train()
    assert not rates.model.training
    torch.manual_seed(0)
    seen = set()
    for _ in range(60):
        logits = rates(inputs()).logits
        seen |= {keep for keep, other in pruned.items() if torch.allclose(logits, other(**inputs()).logits, atol=1e-4)}
    assert seen == set(pruned)
    task_loss(logits, torch.tensor([0, 1])).backward()
    assert rates.outer.grad.any()
    assert all(weight.grad is None for weight in rates.model.parameters())


def test_learnt_rates_keep_the_layers_that_the_task_needs(tmp_path):
    model = model_of(layers=4, dropout=0.0)
    # Layers 2 and 4 hardly change what passes through them; the labels are what the full model says.
    batch = [{"input_ids": ids} for ids in tiny.tokenizer()(tiny.sentences(64)[0])["input_ids"]]
    together = model_inputs(collate(batch, 0))
    with torch.no_grad():
        for index in (1, 3):
            layer = encoder_layers(model)[index]
            layer.attention.output.dense.weight.mul_(0.01)
            layer.output.dense.weight.mul_(0.01)
        model.classifier.weight.mul_(10)
        logits = model(**together).logits
        model.classifier.bias[1] -= (logits[:, 1] - logits[:, 0]).median()
        labels = model(**together).logits.argmax(1).tolist()
    data = [row | {"label": label} for row, label in zip(batch, labels, strict=True)]
    rates = LearntRates(model, keep=2, width=8, seed=0)

    def step(m, given):
        return task_loss(m(model_inputs(given)).logits, given["labels"])

    fit(
        rates, step, data, collator(0), epochs=20, batch_size=16, learning_rate=0.05, seed=0,
        checkpoints=tmp_path, precision="fp32",
    )  # fmt: skip
    assert likeliest_layers(rates, iter([together])) == [0, 2]
