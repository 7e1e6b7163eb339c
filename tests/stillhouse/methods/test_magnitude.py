import copy
import re

import pytest
import torch
from torch import nn
from torch.nn.utils import prune as reference

from stillhouse.errors import InputError
from stillhouse.methods.magnitude import GradualPruning, magnitude_masks, prunable_weights, prune
from stillhouse.training.batches import collator, model_inputs
from stillhouse.training.loop import fit
from stillhouse.training.losses import task_loss
from tests import tiny


def zeros(model) -> float:
    weights = prunable_weights(model).values()
    return sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)


def test_the_smallest_weights_go():
    masks = magnitude_masks({"w": torch.tensor([[0.1, -3.0], [2.0, -0.2]])}, 0.5, "local")
    assert masks["w"].tolist() == [[False, True], [True, False]]


def test_local_prunes_the_share_of_each_matrix_and_global_of_all_together():
    weights = {"small": torch.full((10,), 0.1), "large": torch.full((30,), 1.0)}
    local = magnitude_masks(weights, 0.2, "local")
    assert [int((~m).sum()) for m in local.values()] == [2, 6]
    together = magnitude_masks(weights, 0.2, "global")
    assert [int((~m).sum()) for m in together.values()] == [8, 0]


@pytest.mark.parametrize("share", [0.0, 0.25, 0.75])
def test_both_scopes_keep_what_torchs_own_pruning_keeps(share):
    draw = torch.Generator().manual_seed(0)
    layers = {"one": nn.Linear(8, 20, bias=False), "other": nn.Linear(12, 5, bias=False)}
    for scale, layer in zip((1.0, 3.0), layers.values(), strict=True):
        layer.weight.data = scale * torch.randn(layer.weight.shape, generator=draw)
    weights = {name: layer.weight.detach().clone() for name, layer in layers.items()}
    for scope in ("local", "global"):
        theirs = copy.deepcopy(layers)
        if scope == "local":
            for layer in theirs.values():
                reference.l1_unstructured(layer, "weight", amount=share)
        else:
            every = [(layer, "weight") for layer in theirs.values()]
            reference.global_unstructured(every, reference.L1Unstructured, amount=share)
        ours = magnitude_masks(weights, share, scope)
        for name, layer in theirs.items():
            assert torch.equal(ours[name], layer.weight_mask.bool()), (scope, name)


def test_ties_do_not_spoil_the_share():
    masks = magnitude_masks({"w": torch.ones(1000)}, 0.37, "global")
    assert int((~masks["w"]).sum()) == 370


def test_word_embeddings_and_every_matrix_of_every_layer_are_pruned_and_nothing_else():
    names = list(prunable_weights(tiny.bert(layers=2)))
    assert len(names) == 1 + 2 * 6
    assert "bert.embeddings.word_embeddings.weight" in names
    assert not any("LayerNorm" in n or "bias" in n or "classifier" in n or "position" in n for n in names)


def test_pruned_weights_stay_zero_through_training_and_the_share_rises(tmp_path):
    model = tiny.bert()
    texts, labels = tiny.sentences(64)
    ids = tiny.tokenizer()(texts)["input_ids"]
    data = [{"input_ids": row, "label": label} for row, label in zip(ids, labels, strict=True)]
    seen = []
    callback = GradualPruning(
        model, [0.3, 0.6], "local", lambda share, moment: seen.append((share, moment, zeros(model)))
    )

    def step(m, batch):
        return task_loss(m(**model_inputs(batch)).logits, batch["labels"])

    fit(
        model, step, data, collator(0), epochs=2, batch_size=8, learning_rate=1e-2, seed=0,
        checkpoints=tmp_path, precision="fp32", callbacks=[callback],
    )  # fmt: skip
    assert [(share, moment) for share, moment, _ in seen] == [
        (0.3, "before"), (0.3, "after"), (0.6, "before"), (0.6, "after"),
    ]  # fmt: skip
    for share, _, zero in seen:
        assert zero == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize("share", [-0.1, 1.0, 1.5])
def test_a_share_outside_zero_to_one_is_refused(share):
    with pytest.raises(InputError, match=re.escape(f"share = {share} must be in [0, 1)")):
        prune(tiny.bert(), share, "local")


@pytest.mark.parametrize("shares", [[], [0.5, 0.3], [0.3, 0.3]])
def test_shares_that_do_not_rise_are_refused(shares):
    with pytest.raises(InputError, match="must rise"):
        GradualPruning(tiny.bert(), shares, "local", lambda *_: None)
