"""Attention scores before the softmax, from any encoder that goes through transformers' AttentionInterface.

`output_attentions=True` gives probabilities, and under SDPA nothing at all. Here a model is switched to an attention
function (`stillhouse/training/attention.py`) that keeps the raw scores of the layers that were asked for.

Shapes: B sentences, h heads, L tokens.
"""

from collections.abc import Iterable

from torch import Tensor
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
