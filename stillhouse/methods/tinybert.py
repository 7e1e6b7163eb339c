"""TinyBERT (Jiao et al. 2020, arXiv 1909.10351, section 3).

For student layer m of M and the teacher's layer g(m), g(m) = m·N/M of N unless another map is given:

    attention    mean over heads of MSE(A_S[m], A_T[g(m)])       scores before the softmax   (eq. 7)
    hidden       MSE(H_S[m]·W_h, H_T[g(m)])                                                  (eq. 8)
    embeddings   MSE(E_S·W_e, E_T)                               m = 0                       (eq. 9)
    prediction   CE(softmax(z_T/t), softmax(z_S/t))              t = 1                       (eq. 10)

Phases: general (corpus, the teacher before fine-tuning, no prediction loss), intermediate (task data with its
augmentation, the fine-tuned teacher, no prediction loss), prediction (task data, prediction loss alone).

Where we differ: padded positions do not count (the reference code averages zeros over them). W_h is one matrix for all
layers, as in the reference code. Where the student has the teacher's width, W_h and W_e start as the identity. Where
the numbers of heads differ, which the paper leaves out, each student head learns the mean of a group of teacher heads
if the numbers divide, else the means over all heads are compared. For regression the prediction loss is squared error.

Shapes: B sentences, L tokens, h heads, d width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from stillhouse.encoders.capture import ScoreCapture
from stillhouse.encoders.teacher import FrozenTeacher
from stillhouse.errors import InputError
from stillhouse.training.batches import Batch, model_inputs
from stillhouse.training.losses import masked_mse, masked_score_mse, soft_cross_entropy
from stillhouse.training.step import Step


def layer_map(kind: str | Sequence[int], student: int, teacher: int) -> list[int]:
    """g(1) … g(M): for each student layer the teacher's layer it learns from, counted from 1.

    Args:
        kind: uniform (m·N/M), top (the last M), bottom (the first M), or the layers themselves.
        student: M.
        teacher: N.

    Raises:
        InputError: an unknown kind, or a map that the two depths do not allow.
    """
    if not isinstance(kind, str):
        layers = list(kind)
        if len(layers) != student or any(not 1 <= n <= teacher for n in layers):
            raise InputError(f"layer_map {layers} must name {student} of the teacher's layers 1 to {teacher}")
        return layers
    if student > teacher:
        raise InputError(f"student.layers ({student}) is more than the layer map can give: the teacher has {teacher}")
    if kind == "uniform":
        if teacher % student:
            raise InputError(
                f"layer_map 'uniform' needs the teacher's {teacher} layers to be a multiple of "
                f"the student's {student}: "
                "use 'top', 'bottom', or a list"
            )
        return [m * teacher // student for m in range(1, student + 1)]
    if kind == "top":
        return list(range(teacher - student + 1, teacher + 1))
    if kind == "bottom":
        return list(range(1, student + 1))
    raise InputError(f"layer_map = '{kind}' is not one of uniform, top, bottom, or a list of layers")


def attention_loss(student: Sequence[Tensor], teacher: Sequence[Tensor], mask: Tensor) -> Tensor:
    """Sum over layers of the error of the scores, (B, h, L, L) each; mask (B, L)."""
    return torch.stack(
        [masked_score_mse(*match_heads(s, t), mask) for s, t in zip(student, teacher, strict=True)]
    ).sum()


def hidden_loss(student: Sequence[Tensor], teacher: Sequence[Tensor], mask: Tensor) -> Tensor:
    """Sum over layers of the error of the hidden states, (B, L, d) each, the student's already projected."""
    return torch.stack([masked_mse(s, t, mask) for s, t in zip(student, teacher, strict=True)]).sum()


def prediction_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Soft cross-entropy of logits (B, C); squared error where C is 1."""
    if student.shape[-1] == 1:
        return F.mse_loss(student.float(), teacher.float())
    return soft_cross_entropy(student, teacher, temperature)


def match_heads(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Bring scores of h_S and of h_T heads to one number of heads, as the module's text says."""
    ours, theirs = student.shape[1], teacher.shape[1]
    if ours == theirs:
        return student, teacher
    if theirs % ours == 0:
        return student, teacher.unflatten(1, (ours, theirs // ours)).mean(2)
    return student.mean(1, keepdim=True), teacher.mean(1, keepdim=True)


@dataclass(frozen=True)
class StudentStates:
    """embeddings (B, L, d_T), hidden[m] (B, L, d_T) of layer m + 1, scores[m] (B, h, L, L), logits (B, C) or None."""

    embeddings: Tensor
    hidden: list[Tensor]
    scores: dict[int, Tensor]
    logits: Tensor | None


class TransformerDistillation(nn.Module):
    """A student with its projections to the teacher's width; the projections are trained, and left behind at the end.

    Args:
        student: the encoder, with or without a head.
        teacher_width: d of the teacher.
        score_layers: layers of the student whose scores are kept, from 0.
    """

    def __init__(self, student: PreTrainedModel, teacher_width: int, score_layers: Sequence[int], seed: int) -> None:
        super().__init__()
        self.student = student
        self.capture = ScoreCapture(student, score_layers)
        width = student.config.hidden_size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.hidden = nn.Linear(width, teacher_width, bias=False)  # W_h
            self.embeddings = nn.Linear(width, teacher_width, bias=False)  # W_e
        if width == teacher_width:
            nn.init.eye_(self.hidden.weight)
            nn.init.eye_(self.embeddings.weight)

    def forward(self, inputs: Batch) -> StudentStates:
        """States in the teacher's width."""
        outputs = self.student(**inputs, output_hidden_states=True)
        scores = dict(self.capture.scores)
        self.capture.release()
        embeddings, *hidden = outputs.hidden_states
        return StudentStates(
            self.embeddings(embeddings), [self.hidden(h) for h in hidden], scores, outputs.get("logits")
        )


def transformer_step(teacher: FrozenTeacher, mapping: Sequence[int], weights: Mapping[str, float]) -> Step:
    """The step of the general and the intermediate phase, for `fit`.

    Args:
        teacher: keeps the states and scores of the mapped layers.
        mapping: `layer_map`'s result.
        weights: of the terms `attention`, `hidden`, `embeddings`; a term of weight 0 is left out.
    """

    def step(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        inputs = model_inputs(batch)
        mask = batch["attention_mask"]
        theirs = teacher(inputs)
        ours = model(inputs)
        terms = {}
        if weights["attention"]:
            our_scores = [ours.scores[m] for m in range(len(mapping))]
            their_scores = [theirs.scores[n - 1] for n in mapping]
            terms["attention"] = weights["attention"] * attention_loss(our_scores, their_scores, mask)
        if weights["hidden"]:
            terms["hidden"] = weights["hidden"] * hidden_loss(ours.hidden, [theirs.hidden[n] for n in mapping], mask)
        if weights["embeddings"]:
            terms["embeddings"] = weights["embeddings"] * masked_mse(ours.embeddings, theirs.hidden[0], mask)
        return terms

    return step
