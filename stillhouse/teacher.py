"""A frozen teacher: eval mode, no gradients, and nothing computed after the last layer that the loss reads."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from stillhouse.architecture import keep_first_layers
from stillhouse.batches import Batch
from stillhouse.capture import ScoreCapture


@dataclass(frozen=True)
class TeacherStates:
    """Hidden states, embeddings first: hidden[n] (B, L, d) is layer n's output. scores[n]: (B, h, L, L) of layer n + 1."""

    hidden: tuple[Tensor, ...]
    scores: dict[int, Tensor]


class FrozenTeacher:
    """Gives states and scores of a teacher's first layers.

    Args:
        model: changed in place: cut after layer `depth`, switched to the capturing attention.
        depth: the last layer that is read, counted from 1.
        score_layers: layers whose attention scores are kept, from 0.
    """

    def __init__(self, model: PreTrainedModel, depth: int, score_layers: Iterable[int]) -> None:
        self.model = keep_first_layers(model, depth).eval().requires_grad_(False)
        self.capture = ScoreCapture(self.model, score_layers)
        self.device: torch.device | None = None

    @torch.no_grad()
    def __call__(self, inputs: Batch) -> TeacherStates:
        device = inputs["input_ids"].device
        if device != self.device:
            self.model.to(device)
            self.device = device
        hidden = self.model.base_model(**inputs, output_hidden_states=True).hidden_states
        scores = dict(self.capture.scores)
        self.capture.release()
        return TeacherStates(hidden, scores)
