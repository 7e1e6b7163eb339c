"""What an encoder computes and does not give: attention scores before the softmax, and queries, keys and values.

Scores come from any encoder that goes through transformers' AttentionInterface. `output_attentions=True` gives
probabilities, and under SDPA nothing at all. Here a model is switched to an attention function
(`stillhouse/training/attention.py`) that keeps the raw scores of the layers that were asked for. Queries, keys and
values are what the family's own modules give, before they are cut into heads.

Shapes: B sentences, h heads, L tokens, d width of all heads together.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from stillhouse.encoders.families import encoder_layers
from stillhouse.training.attention import NAME


class ScoreCapture:
    """Keeps the attention scores of some layers of a model, anew at each forward pass.

    Args:
        model: switched to the capturing attention for good; its outputs stay the same.
        layers: indices of the layers whose scores are kept, from 0.
    """

    def __init__(self, model: PreTrainedModel, layers: Iterable[int]) -> None:
        self.scores: dict[int, Tensor] = {}  # layer: (B, h, L, L), with QKᵀ/√d_h, padding not masked
        model.set_attn_implementation(NAME)
        stack = encoder_layers(model)
        for index in layers:
            for module in stack[index].modules():
                # Whichever submodule the family passes to the attention function finds its sink.
                object.__setattr__(module, "_score_sink", (self.scores, index))

    def release(self) -> None:
        """Forget the scores of the last pass, so that they do not outlive the step that read them."""
        self.scores.clear()


@dataclass(frozen=True)
class Projections:
    """Queries, keys and values of one layer, those of all its heads side by side: (B, L, d) each."""

    queries: Tensor
    keys: Tensor
    values: Tensor


class ProjectionCapture:
    """Keeps queries, keys and values of some layers of a model, anew at each forward pass.

    Args:
        model: gets a hook on the modules that compute them; its outputs stay the same.
        layers: indices of the layers that are kept, from 0.

    Raises:
        InputError: the model's family is not known.
    """

    def __init__(self, model: PreTrainedModel, layers: Iterable[int]) -> None:
        self._kept: dict[int, dict[str, Tensor]] = {}
        stack = encoder_layers(model)
        for index in layers:
            for name, module in projecting(stack[index]).items():
                module.register_forward_hook(partial(self._keep, index, name))

    def _keep(self, index: int, name: str, module: nn.Module, given: Any, output: Tensor) -> None:
        self._kept.setdefault(index, {})[name] = output

    def taken(self) -> dict[int, Projections]:
        """Those of the last pass by layer; they are forgotten here, so that they do not outlive what reads them."""
        found = {index: Projections(**parts) for index, parts in self._kept.items()}
        self._kept.clear()
        return found


def projecting(layer: nn.Module) -> dict[str, nn.Module]:
    """The modules of one layer that compute queries, keys and values, by the names that `Projections` has for them."""
    attention: Any = layer.get_submodule("attention.self")
    return {"queries": attention.query, "keys": attention.key, "values": attention.value}
