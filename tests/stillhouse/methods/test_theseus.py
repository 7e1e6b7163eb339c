import copy

import pytest
import torch
from transformers import TrainerCallback

from stillhouse.encoders.student import build_student
from stillhouse.errors import InputError
from stillhouse.methods.theseus import Theseus, group_size, replacement_schedule
from stillhouse.training.batches import collate, collator, model_inputs
from stillhouse.training.loop import fit
from stillhouse.training.losses import task_loss
from tests import tiny


def rows():
    return [{"input_ids": [2, 7, 8, 3], "label": 0}, {"input_ids": [2, 9, 10, 11, 12, 3], "label": 1}] * 8


def inputs():
    return model_inputs(collate(rows()[:2], pad_id=0))


def ship(family="bert", layers=4, kept=2):
    """The model in eval mode, its successor, and the predecessor as it was."""
    predecessor = tiny.bert(layers=layers) if family == "bert" else tiny.other_family(family, layers=layers)
    whole = copy.deepcopy(predecessor)
    successor = build_student(predecessor, layers=kept, source_layers=list(range(1, kept + 1)), seed=0)
    return Theseus(predecessor, successor).eval(), successor, whole


def loss_at(rate):
    return lambda model, batch: task_loss(model(model_inputs(batch), rate).logits, batch["labels"])


@pytest.mark.parametrize("family", ["bert", "roberta", "electra"])
def test_at_rate_1_it_is_the_successor_and_at_rate_0_the_predecessor(family):
    model, successor, whole = ship(family)
    assert torch.equal(model(inputs(), 1.0).logits, successor(**inputs()).logits)
    assert torch.equal(model(inputs(), 0.0).logits, whole(**inputs()).logits)
    assert not torch.allclose(model(inputs(), 0.0).logits, model(inputs(), 1.0).logits, atol=1e-3)


def test_each_coin_replaces_one_group_by_one_layer():
    model, _, whole = ship(layers=4, kept=2)
    mixed = copy.deepcopy(whole)
    # The successors are the first two layers: coins (1, 0) give layer 1 for 1–2, then 3 and 4.
    mixed.bert.encoder.layer = torch.nn.ModuleList(whole.bert.encoder.layer[i] for i in (0, 2, 3))
    assert torch.allclose(model.replaced(inputs(), [True, False]).logits, mixed(**inputs()).logits, atol=1e-6)
    mixed.bert.encoder.layer = torch.nn.ModuleList(whole.bert.encoder.layer[i] for i in (0, 1, 1))
    assert torch.allclose(model.replaced(inputs(), [False, True]).logits, mixed(**inputs()).logits, atol=1e-6)


def coins_of(model, batches, rate):
    """What the model would have computed by, batch after batch, without the computing."""
    seen = []
    model.replaced = lambda inputs, coins: seen.append(coins)
    for _ in range(batches):
        model(inputs(), rate)
    return seen


def test_every_group_has_a_coin_of_its_own_for_each_batch():
    model, _, _ = ship(layers=4, kept=4)
    torch.manual_seed(0)
    coins = torch.tensor(coins_of(model, 400, 0.3)).float()
    assert torch.allclose(coins.mean(0), torch.full((4,), 0.3), atol=0.07)
    correlations = torch.corrcoef(coins.T) - torch.eye(4)
    assert correlations.abs().max() < 0.2


def test_coins_follow_the_global_generator_that_a_checkpoint_keeps():
    model, _, _ = ship(layers=4, kept=4)
    state = torch.get_rng_state()
    first = coins_of(model, 20, 0.5)
    assert first != coins_of(model, 20, 0.5)
    torch.set_rng_state(state)
    assert first == coins_of(model, 20, 0.5)


def test_a_replaced_group_gives_its_successor_a_gradient_and_a_kept_one_gives_zero():
    model, successor, _ = ship()
    model.replaced(inputs(), [True, False]).logits.sum().backward()
    first, second = successor.bert.encoder.layer
    assert first.output.dense.weight.grad.abs().sum() > 0
    assert all(weight.grad is not None and weight.grad.abs().sum() == 0 for weight in second.parameters())


def test_only_successors_reach_the_optimizer_and_the_clipping_norm(tmp_path):
    model, successor, _ = ship()
    layers = {id(weight) for weight in successor.bert.encoder.layer.parameters()}
    seen = []

    class Look(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, optimizer, **_):
            held = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
            clipped = {id(weight) for weight in model.parameters() if weight.grad is not None}
            seen.append(held == layers and clipped == layers)

    train(model, tmp_path, epochs=1, rate=0.5, callbacks=[Look()])
    assert seen == [True] * 4


@pytest.mark.parametrize("rate", [0.5, 0.0])
def test_what_is_frozen_is_bit_equal_after_training(tmp_path, rate):
    model, successor, whole = ship()
    before = copy.deepcopy(successor.state_dict())
    train(model, tmp_path, epochs=2, rate=rate)
    groups = [layer for group in model.groups for layer in group.predecessor]
    for ours, theirs in zip(groups, whole.bert.encoder.layer, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    for part in ("bert.embeddings", "bert.pooler", "classifier"):
        ours, theirs = model.predecessor.get_submodule(part), whole.get_submodule(part)
        assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
        mine = successor.get_submodule(part)
        assert all(torch.equal(a, b) for a, b in zip(mine.parameters(), theirs.parameters(), strict=True))
    name = "bert.encoder.layer.0.output.dense.weight"
    assert torch.equal(successor.state_dict()[name], before[name]) is (rate == 0.0)


def test_the_predecessors_dropout_is_on_while_it_is_being_replaced():
    model, _, _ = ship()
    model.train()
    assert all(layer.training for group in model.groups for layer in group.predecessor)
    assert not torch.equal(model(inputs(), 0.0).logits, model(inputs(), 0.0).logits)


def test_a_run_that_was_interrupted_draws_the_coins_of_one_that_was_not(tmp_path):
    class StopAt(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            if state.global_step == 7:
                raise KeyboardInterrupt

    model, whole, _ = ship()
    train(model, tmp_path / "whole", epochs=3, rate=0.5)
    model, cut, _ = ship()
    with pytest.raises(KeyboardInterrupt):
        train(model, tmp_path / "cut", epochs=3, rate=0.5, callbacks=[StopAt()])
    model, cut, _ = ship()
    torch.manual_seed(99)
    train(model, tmp_path / "cut", epochs=3, rate=0.5)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), cut.parameters(), strict=True))


@pytest.mark.parametrize(
    ("kind", "start", "middle", "end"),
    [("constant", 0.2, 0.2, 0.2), ("linear", 0.2, 0.7, 1.0), ("reversed", 1.0, 0.7, 0.2)],
)
def test_schedules_have_the_papers_values_at_the_start_the_middle_and_the_end(kind, start, middle, end):
    at = replacement_schedule(kind, 0.2, 0.8)
    assert [at(0.0), at(0.5), at(1.0)] == pytest.approx([start, middle, end])


def test_the_linear_schedule_reaches_1_at_its_ramp_and_stays():
    at = replacement_schedule("linear", 0.2, 0.5)
    assert at(0.49) < 1 and at(0.5) == at(0.75) == 1


def test_an_unknown_schedule_is_refused():
    with pytest.raises(InputError, match="schedule = 'cosine' is not one of constant, linear, reversed"):
        replacement_schedule("cosine", 0.5, 1.0)


def test_groups_must_be_of_one_size():
    assert group_size(12, 6) == 2
    with pytest.raises(InputError, match="layers = 4 must divide the teacher's 6"):
        group_size(6, 4)
    with pytest.raises(InputError, match="layers = 8 must divide the teacher's 6"):
        group_size(6, 8)


def train(model, folder, *, epochs, rate, callbacks=()):
    numbers = {"batch_size": 4, "learning_rate": 1e-3, "seed": 0, "precision": "fp32", "checkpoint_steps": 2}
    numbers["weight_decay"] = 0.0  # it moves weights without any gradient
    fit(
        model,
        loss_at(rate),
        rows(),
        collator(0),
        epochs=epochs,
        checkpoints=folder,
        callbacks=callbacks,
        **numbers,
    )
