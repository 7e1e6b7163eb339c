"""LayerDrop (Fan, Grave, Joulin 2019, arXiv 1909.11556, sections 3.1 to 3.3).

In training each layer is skipped with probability p, one coin a layer and batch; a skipped layer passes its input on:

    h_d = h_{d−1}  with probability p,  else f_d(h_{d−1})

In eval mode nothing is skipped. A model that was trained so, on the corpus first and then on the task, is pruned to r
of its N layers with no fine-tuning afterwards. For one depth r that is aimed at, p* = 1 − r/N. Which layers stay:

    every other   layers at a depth d ≡ 0 (mod ⌊N/(N−r)⌋) go, counted from 1: of 6, the layers 1, 3, 5 stay
    search        the subset that scores best on held-out rows
    data-driven   p_d, the rate at depth d, is learnt: s_d is a non-linear function of the layer's activations,
                  π = softmax(s), and the r layers of the highest π stay, the same ones for every input

Where we differ.
- Every other: the rule names as many layers as asked only if N/(N−r) is whole. Layer ⌊i·N/r⌋, i = 0 … r − 1, from 0, is
  the same rule there, and evenly spaced everywhere.
- Search: the paper selects on validation, and says that this overfits. The rows are the caller's choice.
- Data-driven: the paper does not say what the function is, nor how it is trained. Here s_d = v_d·tanh(W_d·a_d) of the
  mean activation a_d of the real tokens of a batch in the full model; layer d is kept with the probability
  q_d = min(1, r·π_d), so the rates 1 − q_d have the mean p unless one is cut off at 0. Coins are drawn with q_d, and
  the task's loss trains v and W through them by the straight-through estimator. The model's own weights stay as they
  are, so one model serves every choice and every depth.

With DDP each process draws coins of its own, since its batch is its own. DDP waits for a gradient of every weight from
every process, so a skipped layer's weights get a gradient of zero, as the formula has it, not none.

Shapes: B sentences, L tokens, d width, N layers, C classes, k width of the function.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from stillhouse.encoders.families import encoder_layers
from stillhouse.errors import InputError
from stillhouse.families.contract import Family
from stillhouse.families.find import family_of
from stillhouse.training.batches import Batch
from stillhouse.training.masking import places
from stillhouse.training.transfer import sent

# (layer, its input (B, L, d), what computes its output): what it passes on
Passing = Callable[[nn.Module, Tensor, Callable[[], Tensor]], Tensor]


def drop_rate(keep: int, depth: int) -> float:
    """p* = 1 − r/N, the rate at which a model is trained that is to have r of N layers.

    Raises:
        InputError: r is not between 1 and N.
    """
    check_count(keep, depth)
    return 1 - keep / depth


def every_other(depth: int, keep: int) -> list[int]:
    """r of N layers, evenly spaced, the first one among them, counted from 0: 3 of 6 gives [0, 2, 4].

    Raises:
        InputError: r is not between 1 and N.
    """
    check_count(keep, depth)
    return [i * depth // keep for i in range(keep)]


def check_count(keep: int, depth: int) -> None:
    """Raise InputError unless r is between 1 and N."""
    if not 1 <= keep <= depth:
        raise InputError(f"keep = {keep}: the model has {depth} layers: choose from 1 to {depth}")


def check_layers(layers: Sequence[int], depth: int) -> list[int]:
    """Layers that a user names, counted from 1, as indices from 0 in rising order.

    Raises:
        InputError: none, one that the model does not have, or one that is named twice.
    """
    missing = [n for n in layers if not 1 <= n <= depth]
    twice = sorted({n for n in layers if list(layers).count(n) > 1})
    if not layers or missing:
        raise InputError(f"layers {list(layers)}: the model has layers 1 to {depth}, not {missing}: name some of these")
    if twice:
        raise InputError(f"layers {list(layers)} name {twice} more than once: name each layer that stays once")
    return sorted(n - 1 for n in layers)


class LayerDrop:
    """Skips each layer of a model with probability `rate` while it trains.

    The coins come from torch's global CPU generator, which a checkpoint keeps; none is drawn at rate 0 or in eval mode.
    The model's class, weights and their names stay as they are.

    Args:
        model: changed in place until `remove`.
        rate: p in [0, 1].

    Raises:
        InputError: a rate outside [0, 1].
    """

    def __init__(self, model: PreTrainedModel, rate: float) -> None:
        if not 0 <= rate <= 1:
            raise InputError(f"rate = {rate} must be in [0, 1]")
        self.rate = rate
        self.layers = encoder_layers(model)
        for layer in self.layers:
            _pass_by(layer, family_of(model), self._coin)

    def remove(self) -> None:
        """Give the model its own layers back."""
        for layer in self.layers:
            _pass_itself(layer)

    def _coin(self, layer: nn.Module, hidden: Tensor, compute: Callable[[], Tensor]) -> Tensor:
        if not layer.training or not self.rate or torch.rand(()).item() >= self.rate:
            return compute()
        return hidden + 0 * torch.stack([weight.flatten()[0] for weight in layer.parameters()]).sum()


@contextmanager
def only_layers(model: PreTrainedModel, keep: Sequence[int]) -> Iterator[None]:
    """The model computes with the layers `keep` alone, counted from 0, in any mode, while the context is open."""
    stack = encoder_layers(model)
    gone = [layer for i, layer in enumerate(stack) if i not in keep]
    for layer in gone:
        _pass_by(layer, family_of(model), lambda layer, hidden, compute: hidden)
    try:
        yield
    finally:
        for layer in gone:
            _pass_itself(layer)


class LearntRates(nn.Module):
    """A frozen model whose layers are kept with learnt probabilities: the data-driven choice.

    Args:
        model: frozen, and changed in place until `release`.
        keep: r.
        width: k.
        seed: of W; v starts at zero, so all layers start alike.

    Raises:
        InputError: r is not between 1 and N.
    """

    def __init__(self, model: PreTrainedModel, keep: int, width: int, seed: int) -> None:
        super().__init__()
        self.layers = list(encoder_layers(model))
        check_count(keep, len(self.layers))
        self.keep = keep
        self.model = model.eval().requires_grad_(False)
        generator = torch.Generator().manual_seed(seed)
        inner = torch.randn(len(self.layers), width, model.config.hidden_size, generator=generator)
        self.inner = nn.Parameter(inner / model.config.hidden_size**0.5)  # W (N, k, d)
        self.outer = nn.Parameter(torch.zeros(len(self.layers), width))  # v (N, k)
        self.means: list[Tensor] = []  # (d,) each
        self.gates: list[Tensor] | None = None  # () each; None: all layers compute, and are looked at
        self.real: tuple[Tensor, ...] = ()  # rows and places of the batch's real tokens
        for index, layer in enumerate(self.layers):
            _pass_by(layer, family_of(model), self._passing(index))

    def train(self, mode: bool = True) -> "LearntRates":
        """The frozen model stays in eval mode."""
        super().train(mode)
        self.model.eval()
        return self

    def shares(self, inputs: Batch) -> Tensor:
        """π (N,) for a batch."""
        self.means, self.gates, self.real = [], None, places(inputs["attention_mask"])
        with torch.no_grad():
            self.model(**inputs)
        means = torch.stack(self.means)  # (N, d)
        return torch.softmax((self.outer * torch.einsum("nkd,nd->nk", self.inner, means).tanh()).sum(-1).float(), 0)

    def forward(self, inputs: Batch) -> Any:
        """The model's outputs with coins drawn at q, which get their gradient as if they were q."""
        kept = (self.keep * self.shares(inputs)).clamp(max=1)  # q (N,)
        # A CPU generator's coins, so that every device draws the same; a checkpoint keeps it.
        coins = (sent(torch.rand(len(self.layers)), kept.device) < kept.detach()).to(kept)
        self.gates = list(coins + (kept - kept.detach()))
        return self.model(**inputs)

    def release(self) -> None:
        """Give the model its own layers back."""
        for layer in self.layers:
            _pass_itself(layer)

    def _passing(self, index: int) -> Passing:
        def passing(layer: nn.Module, hidden: Tensor, compute: Callable[[], Tensor]) -> Tensor:
            output = compute()
            if self.gates is None:
                self.means.append(output.float()[self.real].mean(0))
                return output
            return hidden + self.gates[index].to(hidden.dtype) * (output - hidden)

        return passing


@torch.no_grad()
def likeliest_layers(rates: LearntRates, batches: Iterator[Batch]) -> list[int]:
    """The r layers with the highest mean π over some batches, counted from 0, in rising order."""
    shares = torch.stack([rates.shares(inputs) for inputs in batches]).mean(0)
    return sorted(shares.argsort(descending=True, stable=True)[: rates.keep].tolist())


def _pass_by(layer: nn.Module, family: Family, passing: Passing) -> None:
    """What the layer passes on is up to `passing`. Bound to the layer, so that a copy of the model has its own."""
    layer._passing, layer._family = passing, family  # type: ignore[assignment]
    layer.forward = MethodType(_forward, layer)


def _pass_itself(layer: nn.Module) -> None:
    del layer.forward, layer._passing, layer._family


def _forward(layer: nn.Module, hidden: Tensor, *rest: Any, **options: Any) -> Any:
    passing: Any = layer._passing
    family: Any = layer._family

    def compute() -> Tensor:
        return family.states(type(layer).forward(layer, hidden, *rest, **options))

    return family.output(passing(layer, hidden, compute))
