import pytest
import torch
from torch import nn

from stillhouse.training.attention import LANES, attention, quick_attention
from tests import tiny

SHAPE = (2, 3)  # sentences, heads


def reference(query, key, value, mask, scale):
    """The textbook's, in float64."""
    query, key, value = query.double(), key.double(), value.double()
    scores = query @ key.transpose(2, 3) * scale
    weights = scores.masked_fill(~mask, -torch.inf).softmax(-1)
    return (weights @ value).transpose(1, 2), scores


def three(length, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*SHAPE, length, 8, generator=generator).requires_grad_() for _ in range(3)]


def key_mask(length, real):
    return (torch.arange(length) < torch.tensor(real)[:, None])[:, None, None, :].expand(-1, 1, length, length)


@pytest.mark.parametrize("length", [1, 5, LANES - 1, LANES, LANES + 5])
@pytest.mark.parametrize("padded", [False, True])
def test_it_is_the_textbooks_attention_whatever_is_added_to_short_rows(length, padded):
    real = [length, max(1, length - 3)] if padded else [length, length]
    mask = key_mask(length, real)
    ours, theirs = three(length), three(length)
    output, scores = attention(*ours, mask if padded else None, 0.3)
    expected, expected_scores = reference(*theirs, mask, 0.3)
    assert scores.shape == (*SHAPE, length, length)
    torch.testing.assert_close(output.double(), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(scores.double(), expected_scores, rtol=1e-4, atol=1e-5)
    (output.square().sum() + scores.sum()).backward()
    (expected.square().sum() + expected_scores.sum()).backward()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-5)


def test_a_row_of_padding_alone_spreads_over_its_own_tokens_and_none_of_the_added():
    query, key, value = three(5)
    output, _ = attention(query, key, value, key_mask(5, [5, 0]), 0.3)
    torch.testing.assert_close(output[1], value[1].mean(1, keepdim=True).transpose(0, 1).expand(5, -1, -1))


def test_dropout_takes_weights_and_scales_the_others():
    query, key, _ = three(LANES)
    torch.manual_seed(0)
    output, _ = attention(query, key, torch.eye(LANES).expand(*SHAPE, -1, -1), None, 0.3, 0.5, True)
    whole, _ = attention(query, key, torch.eye(LANES).expand(*SHAPE, -1, -1), None, 0.3, 0.5, False)
    kept = output != 0
    assert 0.4 < kept.float().mean() < 0.6
    torch.testing.assert_close(output[kept], 2 * whole[kept])


@pytest.mark.parametrize("length", [6, 20])
def test_a_model_has_the_same_states_and_gradients_with_it_and_sdpa_back_afterwards(length):
    model = tiny.bert().train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    ids = torch.arange(2 * length).view(2, length) % len(tiny.WORDS) + len(tiny.SPECIAL)
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0

    def gradients():
        model.zero_grad()
        model(ids, attention_mask=mask, labels=torch.tensor([0, 1])).loss.backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    sdpa = gradients()
    with quick_attention(nn.ModuleList([model])):
        assert model.config._attn_implementation == "stillhouse"
        with torch.autocast("cpu", torch.bfloat16):
            assert all(g.isfinite().all() for g in gradients().values())
        quick = gradients()
    assert model.config._attn_implementation == "sdpa"
    for name, gradient in sdpa.items():
        torch.testing.assert_close(quick[name], gradient, rtol=1e-4, atol=1e-6)
