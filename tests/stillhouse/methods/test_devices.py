"""Every method's training on a device that is not the CPU: where its tensors are, what they say, what Python waits for.

The device is pretended (`tests/pretend.py`), the phases are those of `benchmarks/gpu/phases.py`.
"""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks.gpu.phases import PHASES, Size, fresh
from stillhouse.training.attention import quick_attention
from stillhouse.training.batches import collate
from tests.pretend import DEVICE, There, here, moved, places, pretend

METHODS = Path(__file__).parents[3] / "stillhouse/methods"
# How many tokens are masked, Python knows when the device has counted them. Everywhere else it waits for nothing.
WAITS = {
    "albert.corpus": {"nonzero": 1},
    "bilstm.task": {"_local_scalar_dense": 1},  # the longest row's words
    "distilbert.corpus": {"nonzero": 2},  # real tokens, masked ones
    "layerdrop.corpus": {"nonzero": 1},
    "layerdrop.learnt": {"nonzero": 1},
    "subword.corpus": {"nonzero": 4, "_local_scalar_dense": 2},  # masked ones of both models, of both vocabularies
}


def test_every_method_is_among_the_phases():
    methods = {file.stem for file in METHODS.glob("*.py")} - {"__init__"}
    assert len(methods) >= 18
    assert {name.partition(".")[0] for name in PHASES} == methods
    assert WAITS.keys() <= PHASES.keys()


def loss_of(terms: Tensor | dict[str, Tensor]) -> Tensor:
    return terms if isinstance(terms, Tensor) else torch.stack([*terms.values()]).sum()


@pytest.mark.parametrize("name", PHASES)
def test_a_phase_on_another_device_has_the_cpus_loss_leaves_nothing_behind_and_waits_for_as_little_as_it_can(name):
    size = Size(count=8)
    phase = fresh(name, size)
    batch = collate(phase.rows, pad_id=0)
    with quick_attention(phase.model):
        torch.manual_seed(0)
        wanted = loss_of(phase.step(phase.model.train(), batch)).detach()
    phase = fresh(name, size)
    with pretend() as waits, quick_attention(phase.model):
        phase.model.train().to(DEVICE)
        batch = moved(batch)
        torch.manual_seed(0)
        loss = loss_of(phase.step(phase.model, batch))
        waits.clear()  # of the first step, which moves a teacher
        loss_of(phase.step(phase.model, batch)).backward()
    assert isinstance(loss, There)
    torch.testing.assert_close(here(loss), wanted, rtol=1e-5, atol=1e-6)
    assert places(phase.model) == {DEVICE}
    gradients = [weight.grad.device for weight in phase.model.parameters() if weight.grad is not None]
    assert gradients and set(gradients) == {DEVICE}
    assert dict(+waits) == WAITS.get(name, {})
