"""A frozen teacher: eval mode, no gradients, and nothing computed after the last layer that the loss reads."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from stillhouse.encoders.capture import ProjectionCapture, Projections, ScoreCapture
from stillhouse.encoders.families import keep_first_layers
from stillhouse.training.autocast import computed_in
from stillhouse.training.batches import Batch


@dataclass(frozen=True)
class TeacherStates:
    """hidden[n] (B, L, d) is layer n's output, the embeddings first; scores[n] (B, h, L, L) are those of layer n + 1.

    projections[n] are queries, keys and values of layer n + 1, (B, L, d) each.
    logits (B, C) are there only if no layer was cut and the teacher has a head.
    """

    hidden: tuple[Tensor, ...]
    scores: dict[int, Tensor]
    projections: dict[int, Projections]
    logits: Tensor | None


class FrozenTeacher:
    """Gives states and scores of a teacher's first layers.

    Args:
        model: changed in place: cut after layer `depth`, its scores watched.
        depth: the last layer that is read, counted from 1.
        score_layers: layers whose attention scores are kept, from 0.
        projection_layers: layers whose queries, keys and values are kept, from 0.
    """

    def __init__(
        self, model: PreTrainedModel, depth: int, score_layers: Iterable[int], projection_layers: Iterable[int] = ()
    ) -> None:
        self.whole = depth == model.config.num_hidden_layers
        self.model = keep_first_layers(model, depth).eval().requires_grad_(False)
        self.capture = ScoreCapture(self.model, score_layers)
        self.projections = ProjectionCapture(self.model, projection_layers)
        self.device: torch.device | None = None

    @torch.no_grad()
    def __call__(self, inputs: Batch) -> TeacherStates:
        device = inputs["input_ids"].device
        if device != self.device:
            self.model.to(device)
            self.device = device
            _store_as_computed(self.model, device.type)
        outputs = self.model(**inputs, output_hidden_states=True)
        scores = dict(self.capture.scores)
        self.capture.release()
        logits = outputs.get("logits") if self.whole else None
        return TeacherStates(outputs.hidden_states, scores, self.projections.taken(), logits)


def _store_as_computed(model: nn.Module, device: str) -> None:
    """Keep the matrices in autocast's precision: the same numbers, without casting all of them again at every step."""
    dtype = computed_in(device)
    if dtype is not None:
        for module in model.modules():
            if isinstance(module, nn.Linear):
                module.to(dtype)
