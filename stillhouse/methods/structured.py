"""Structured pruning (McCarley, Chakravarti, Sil 2019, arXiv 1910.06360): whole heads, FFN units and dimensions go.

A fine-tuned model gets gates (`stillhouse.surgery.gates`) on its attention heads, FFN units and, where they are to go
too, the dimensions between its layers. What stays is chosen at random, by gain, the mean over training rows of
|∂L/∂gate| at gates of 1 (section 3; Michel et al. 2019), or by L0 regularization: gates are drawn from the hard
concrete distribution (Louizos, Welling, Kingma 2018, section 2.2)

    s = σ((log u − log(1 − u) + log α)/β),  z = min(1, max(0, s·(ζ − γ) + γ)),  u uniform, β 2/3, γ −0.1, ζ 1.1

and log α is learned on L + λ·Σ P(z ≠ 0), P(z ≠ 0) = σ(log α − β·log(−γ/ζ)). Then the model is sliced and retrained.

Where we differ: what stays are the best of a kind over all layers, in the number that was asked for, so that choosers
are compared at equal sparsity; a layer keeps its best one at least. Instead of a λ that is found by trial, each kind
may have a multiplier that rises while more than its share is open and falls after: an augmented Lagrangian,
λ·e + κ/2·e² of the excess e of the open share over its target. Gates are drawn anew for each sentence. A target in time
is one in FLOPs, which are the same on every machine.

Shapes: B sentences, n gates of a kind (of all layers, one after the other).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from stillhouse.errors import InputError
from stillhouse.models.shape import Shape
from stillhouse.surgery import slice_embedding, slice_ffn, slice_heads
from stillhouse.surgery.cost import layer_flops
from stillhouse.surgery.gates import gate_sizes, gated
from stillhouse.training.autocast import full_precision

BETA, GAMMA, ZETA = 2 / 3, -0.1, 1.1

Keep = dict[str, list[list[int]]]  # by kind, for each layer (dimensions: once), indices that stay, from 0


def hard_concrete(log_alpha: Tensor, uniform: Tensor) -> Tensor:
    """z, drawn with `uniform` in (0, 1), of the shape that the two broadcast to."""
    s = torch.sigmoid((torch.log(uniform) - torch.log1p(-uniform) + log_alpha) / BETA)
    return (s * (ZETA - GAMMA) + GAMMA).clamp(0, 1)


def open_probability(log_alpha: Tensor) -> Tensor:
    """P(z ≠ 0) of each gate; their sum is the L0 penalty."""
    return torch.sigmoid(log_alpha - BETA * math.log(-GAMMA / ZETA))


class HardConcreteGates(nn.Module):
    """A model behind hard concrete gates, to be trained by `fit` in its place.

    log α = start + rate·θ: Adam moves every θ by about the learning rate of the weights, and so log α by `rate` times
    it; weight decay pulls log α to its start. θ and the multipliers are parts of the module, so checkpoints have them.

    Args:
        model: under the gates.
        open_shares: by kind, the share of the gates that should stay open; a kind that is missing gets no gates.
        start: of every log α; at 3, P(z ≠ 0) is 0.99.
        rate: learning rate of log α, in learning rates of the weights.
        weights: whether the model's weights are trained with the gates. If not, it computes without dropout.
    """

    def __init__(
        self, model: PreTrainedModel, open_shares: Mapping[str, float], *, start: float, rate: float, weights: bool
    ) -> None:
        super().__init__()
        self.model = model.requires_grad_(weights)
        self.targets, self.start, self.rate, self.weights = dict(open_shares), start, rate, weights
        sizes = gate_sizes(model)
        self.theta = nn.ParameterDict({kind: nn.Parameter(torch.zeros(sum(sizes[kind]))) for kind in open_shares})
        for theta in self.theta.values():
            # Adam does not mind, and gradients are clipped by the norm that they have for log α.
            theta.register_hook(lambda slope: slope / rate)
        self.multipliers: Tensor
        self.register_buffer("multipliers", torch.zeros(len(self.targets)))

    def train(self, mode: bool = True) -> "HardConcreteGates":
        """Frozen weights stay in eval mode."""
        super().train(mode)
        self.model.train(mode and self.weights)
        return self

    def log_alpha(self) -> dict[str, Tensor]:
        """log α of each gate, (n,) by kind: the larger, the more a gate is worth."""
        return {kind: self.start + self.rate * theta for kind, theta in self.theta.items()}

    def forward(self, **inputs: Tensor) -> Any:
        """What the model gives behind gates that are drawn for each sentence, `input_ids` (B, L)."""
        rows = len(inputs["input_ids"])
        tiny = torch.finfo(torch.float32).eps
        values = {
            kind: hard_concrete(alpha, torch.rand(rows, len(alpha), device=alpha.device).clamp(tiny, 1 - tiny))
            for kind, alpha in self.log_alpha().items()
        }
        with gated(self.model, values):
            return self.model(**inputs)

    def penalty(self, weight: float) -> Tensor:
        """λ·Σ P(z ≠ 0), over all gates of all kinds."""
        return weight * torch.stack([open_probability(alpha).sum() for alpha in self.log_alpha().values()]).sum()

    def constraint(self, ascent: float, damping: float) -> Tensor:
        """Σ_k λ_k·e_k + κ/2·e_k², e_k the open share of kind k less its target; in training λ_k moves by ascent·e_k.

        Args:
            ascent: of the multipliers, which stay ≥ 0.
            damping: κ, keeps the shares from swinging about their targets.
        """
        alphas = self.log_alpha()
        excess = torch.stack([open_probability(alphas[kind]).mean() - share for kind, share in self.targets.items()])
        term = (self.multipliers.clone() * excess + damping / 2 * excess.square()).sum()
        if self.training:
            with torch.no_grad():
                self.multipliers.add_(ascent * excess).clamp_(min=0)
        return term


class Gain(nn.Module):
    """Sums |∂L/∂gate| at gates of 1, a sentence at a time; `fit` carries it over the rows, and nothing is trained.

    Args:
        model: in eval mode throughout, its weights without gradients.
        kinds: of gates.
    """

    def __init__(self, model: PreTrainedModel, kinds: Sequence[str]) -> None:
        super().__init__()
        self.model = model.requires_grad_(False)
        self.sizes = {kind: gate_sizes(model)[kind] for kind in kinds}
        for kind, sizes in self.sizes.items():
            self.register_buffer(f"sum_{kind}", torch.zeros(sum(sizes)))
        self.rows: Tensor
        self.register_buffer("rows", torch.zeros((), dtype=torch.long))
        self.still = nn.Parameter(torch.zeros(()))  # the loop wants something to train: its gradient is 0

    def train(self, mode: bool = True) -> "Gain":
        """The model stays in eval mode."""
        super().train(mode)
        self.model.eval()
        return self

    def gains(self) -> dict[str, Tensor]:
        """Mean |∂L/∂gate| over the rows seen, (n,) by kind."""
        return {kind: self._sum(kind) / self.rows.clamp(min=1) for kind in self.sizes}

    def measure(self, rows: int, loss_of: Callable[[nn.Module], Tensor]) -> Tensor:
        """Add the gains of a batch.

        Args:
            rows: B.
            loss_of: gives the mean loss of the batch, from a function in the model's place.

        Returns:
            The loss, with a gradient of 0.
        """
        device = self.rows.device
        ones = {kind: torch.ones(rows, sum(sizes), device=device) for kind, sizes in self.sizes.items()}
        leaves = [values.requires_grad_() for values in ones.values()]
        with torch.enable_grad(), gated(self.model, ones):
            loss = loss_of(self.model)
        with full_precision(device.type):
            # The loss is a mean: a sentence's own is B times as much.
            slopes = torch.autograd.grad(loss, leaves)
        for kind, slope in zip(self.sizes, slopes, strict=True):
            self._sum(kind).add_(rows * slope.abs().sum(0))
        self.rows.add_(rows)
        return loss.detach() + 0 * self.still

    def _sum(self, kind: str) -> Tensor:
        return self.get_buffer(f"sum_{kind}")


def random_scores(sizes: Mapping[str, Sequence[int]], seed: int) -> dict[str, Tensor]:
    """A score for each gate, (n,) by kind, that says nothing."""
    generator = torch.Generator().manual_seed(seed)
    return {kind: torch.rand(sum(parts), generator=generator) for kind, parts in sizes.items()}


def choose(
    scores: Mapping[str, Tensor], sizes: Mapping[str, Sequence[int]], remove: Mapping[str, float], multiple: int
) -> Keep:
    """What stays: of each kind the best over all layers, and of each layer its best one at least.

    Args:
        scores: (n,) by kind, the larger the better; of equal ones the first stays.
        sizes: gates of each layer, by kind.
        remove: by kind, the share that goes, rounded down to whole ones; a kind that is missing stays.
        multiple: a layer's units, and the dimensions, are filled up with its next best to a multiple of this.

    Raises:
        InputError: a share outside [0, 1), or too few left for one a layer.
    """
    kept = {}
    for kind, parts in sizes.items():
        share, total = remove.get(kind, 0.0), sum(parts)
        if not 0 <= share < 1:
            raise InputError(f"remove.{kind} = {share} must be in [0, 1)")
        stay = total - int(share * total + 1e-9)
        if stay < len(parts):
            raise InputError(
                f"remove.{kind} = {share:.4g} leaves {stay} for {len(parts)} layers, which keep one at least: lower it"
            )
        if stay == total:
            kept[kind] = [list(range(size)) for size in parts]
        else:
            kept[kind] = _best(scores[kind].detach().float().cpu(), parts, stay, 1 if kind == "heads" else multiple)
    return kept


def _best(scores: Tensor, parts: Sequence[int], stay: int, multiple: int) -> list[list[int]]:
    orders = [part.argsort(descending=True, stable=True).tolist() for part in scores.split(list(parts))]
    first = [sum(parts[:layer]) for layer in range(len(parts))]
    sure = {start + order[0] for start, order in zip(first, orders, strict=True)}
    others = [index for index in scores.argsort(descending=True, stable=True).tolist() if index not in sure]
    chosen = sure | set(others[: stay - len(sure)])
    kept = []
    for start, order, size in zip(first, orders, parts, strict=True):
        count = sum(start + index in chosen for index in order)
        kept.append(sorted(order[: min(size, -(-count // multiple) * multiple)]))
    return kept


def choose_for_cost(
    scores: Mapping[str, Tensor],
    shape: Shape,
    sizes: Mapping[str, Sequence[int]],
    remove: Mapping[str, float],
    multiple: int,
    *,
    share: float,
    tokens: int,
) -> tuple[Keep, dict[str, float]]:
    """What stays if the layers may cost this share of the FLOPs, and the shares of each kind that then go.

    The shares of `remove` are multiplied by the smallest factor that is enough.

    Args:
        shape: of the whole model.
        share: of its layers' FLOPs.
        tokens: length of the sentence that they are counted on.

    Raises:
        InputError: one of each kind in a layer is still too much, or nothing may go.
    """
    whole = layer_flops(shape, tokens)
    # Of each kind at most so much that one a layer is left.
    most = {kind: 1 - len(parts) / sum(parts) for kind, parts in sizes.items()}
    limit = max((1 / part for part in remove.values() if part > 0), default=0.0)

    def at(factor: float) -> tuple[Keep, dict[str, float]]:
        parts = {kind: min(factor * part, most[kind]) for kind, part in remove.items()}
        return choose(scores, sizes, parts, multiple), parts

    def cheap(factor: float) -> bool:
        return layer_flops(sliced_shape(shape, at(factor)[0]), tokens) <= share * whole

    if not cheap(limit):
        raise InputError(
            f"latency = {share} of the FLOPs is out of reach of remove = {dict(remove)}: raise it, or drop layers first"
        )
    low, high = 0.0, limit
    if cheap(low):
        return at(low)
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if cheap(middle) else (middle, high)
    return at(high)


def sliced_shape(shape: Shape, keep: Keep) -> Shape:
    """The shape of what stays, as far as its layers' cost goes."""
    width = len(keep["dimensions"][0])
    own = shape.embedding_size == shape.hidden_size
    return replace(
        shape,
        hidden_size=width,
        embedding_size=width if own else shape.embedding_size,
        heads=tuple(map(len, keep["heads"])),
        intermediate=tuple(map(len, keep["units"])),
    )


def slice_model(model: PreTrainedModel, keep: Keep) -> PreTrainedModel:
    """The model of what stays; the given one is left as it is.

    Raises:
        InputError: it has no such part.
    """
    model = slice_ffn(slice_heads(model, keep["heads"]), keep["units"])
    (dimensions,) = keep["dimensions"]
    return model if len(dimensions) == Shape.of(model.config).hidden_size else slice_embedding(model, dimensions)
