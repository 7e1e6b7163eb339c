import pytest
import torch
from torch import nn

from stillhouse.training.dropout import Dropout, cheap_dropout, dropout


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_rate_is_kept_and_what_stays_is_scaled_by_its_inverse(rate):
    torch.manual_seed(0)
    out = dropout(torch.ones(1001, 997), rate, True)
    noise = 4 * (rate * (1 - rate) / out.numel()) ** 0.5
    assert (out == 0).float().mean().item() == pytest.approx(rate, abs=noise)
    assert out[out != 0].unique().tolist() == pytest.approx([1 / (1 - rate)])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sixteen_bits_fall_where_more_do_and_have_the_nearest_scale(dtype):
    outputs = []
    for kind in (torch.float32, dtype):
        torch.manual_seed(0)
        outputs.append(dropout(torch.full((7, 11), -3.0, dtype=kind), 0.1, True))
    assert outputs[1].dtype == dtype
    assert torch.equal(outputs[1], torch.where(outputs[0] != 0, torch.tensor(1 / 0.9).to(dtype) * -3, 0))


def test_neighbours_fall_independently():
    torch.manual_seed(0)
    fallen = (dropout(torch.ones(1_000_000), 0.1, True) == 0).float() - 0.1
    for distance in range(1, 9):
        assert (fallen[distance:] * fallen[:-distance]).mean().abs() < 4 * 0.09 / 1e3


def test_the_gradient_passes_where_the_value_did():
    x = torch.randn(7, 5, requires_grad=True)
    torch.manual_seed(0)
    out = dropout(x, 0.4, True)
    out.sum().backward()
    torch.testing.assert_close(x.grad, (out != 0) / 0.6)


@pytest.mark.parametrize(("rate", "training", "factor"), [(0.3, False, 1.0), (0.0, True, 1.0), (1.0, True, 0.0)])
def test_nothing_is_drawn_where_nothing_is_to_decide(rate, training, factor):
    x, state = torch.randn(4, 4), torch.get_rng_state()
    assert torch.equal(dropout(x, rate, training), x * factor)
    assert rate == 1.0 or torch.equal(torch.get_rng_state(), state)


def test_a_model_has_its_own_modules_back_afterwards():
    model = nn.Sequential(nn.Dropout(0.2), nn.Sequential(nn.Dropout(0.1)), nn.AlphaDropout(0.1))
    with cheap_dropout(model):
        assert [type(m) for m in model.modules()].count(Dropout) == 2
    assert [type(m) for m in model.modules()].count(nn.Dropout) == 2
