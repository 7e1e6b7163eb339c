"""Attention scores before the softmax, from any encoder.

`output_attentions=True` gives probabilities, and under SDPA nothing at all. Where a family goes through transformers'
AttentionInterface, the model is switched to an attention function (`stillhouse/training/attention.py`) that keeps the
raw scores of the layers that were asked for; a family that does not has its own way.

Shapes: B sentences, h heads, L tokens.
"""

from collections.abc import Iterable

from torch import Tensor
from transformers import PreTrainedModel

from stillhouse.families.find import family_of


class ScoreCapture:
    """Keeps the attention scores of some layers of a model, anew at each forward pass.

    Args:
        model: watched for good; its outputs stay the same.
        layers: indices of the layers whose scores are kept, from 0.
    """

    def __init__(self, model: PreTrainedModel, layers: Iterable[int]) -> None:
        self.scores: dict[int, Tensor] = {}  # layer: (B, h, L, L), QKᵀ/√d_h for most families, padding not masked
        family_of(model).watch_scores(model, list(layers), self.scores)

    def release(self) -> None:
        """Forget the scores of the last pass, so that they do not outlive the step that read them."""
        self.scores.clear()
