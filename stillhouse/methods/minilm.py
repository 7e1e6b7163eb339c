"""MiniLM (Wang et al. 2020, arXiv 2002.10957, section 3) and MiniLMv2 (Wang et al. 2021, arXiv 2012.15828, section 3).

On a corpus, the last layer of the student learns from one layer of the teacher before fine-tuning how its tokens relate
to each other. Queries of all heads stand side by side and are cut anew into A_r relation heads, d_r = d/A_r wide, and
so are keys and values. For each pair of them whose weight α is not 0:

    R_r  = softmax(X_r·Y_rᵀ/√d_r)                       of each token over the tokens of its sentence
    L    = Σ α · mean over relation heads and tokens of KL(R_r of the teacher ‖ R_r of the student)

    attention   X = queries, Y = keys       queries   X = Y = queries
    values      X = Y = values              keys      X = Y = keys

v2 is queries, keys and values with α = 1 and A_r = 48 for a teacher of BERT-base's size, 64 for a large one. v1 is
attention and values with the models' own heads for relation heads: A_r = h and d_r = d_h, so that `attention` is the
attention distribution; both models must then have as many heads. No width or depth of the two need agree, nothing is
projected, and no layers are mapped. v1 takes the teacher's last layer, v2 an upper middle one of a large teacher.

Where we differ: the mean is over all real tokens of a batch, where the papers take that of each sentence first; theirs
are all of about one length. Padding is neither a token nor related to. v1's teacher assistant is left out. As in the
papers, what the student's last layer does after its values gets no gradient here: the task trains it.

Shapes: B sentences, L tokens, d width (of the student or of the teacher), A_r relation heads. `mask` is (B, L), 1 on
real tokens.
"""

from collections.abc import Mapping
from math import gcd

from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from stillhouse.encoders.capture import ProjectionCapture, Projections
from stillhouse.encoders.teacher import FrozenTeacher
from stillhouse.errors import InputError
from stillhouse.training.autocast import full_precision
from stillhouse.training.batches import Batch, model_inputs
from stillhouse.training.losses import NO_OUTCOME
from stillhouse.training.step import Step

RELATIONS = {
    "attention": ("queries", "keys"),
    "queries": ("queries", "queries"),
    "keys": ("keys", "keys"),
    "values": ("values", "values"),
}


def teacher_layer(layer: int | None, depth: int) -> int:
    """The teacher's layer that is learned from, counted from 1.

    Args:
        layer: it, or None for the last.
        depth: layers of the teacher.

    Raises:
        InputError: the teacher has no such layer.
    """
    if layer is None:
        return depth
    if not 1 <= layer <= depth:
        raise InputError(f"layer ({layer}) is none of the teacher's 1 to {depth}: give one of them, or null: the last")
    return layer


def relation_heads(count: int | None, student: tuple[int, int], teacher: tuple[int, int]) -> int:
    """A_r.

    Args:
        count: it, or None for the attention heads that both models have.
        student, teacher: width and number of attention heads of each.

    Raises:
        InputError: A_r does not divide a width, or is to be the number of attention heads, and these differ.
    """
    (width, heads), (their_width, their_heads) = student, teacher
    if count is None:
        if heads != their_heads:
            raise InputError(
                f"student.heads ({heads}) must be the teacher's {their_heads} where relation_heads is null: "
                "give relation_heads a number"
            )
        return heads
    for whose, size in (("student", width), ("teacher", their_width)):
        if size % count:
            raise InputError(
                f"relation_heads ({count}) must divide the {whose}'s hidden_size ({size}): "
                f"{gcd(count, width, their_width)} would divide both models'"
            )
    return count


def log_relation(one: Tensor, other: Tensor, heads: int, mask: Tensor) -> Tensor:
    """log R: how much each token turns to each real one, (B, A_r, L, L) in fp32.

    Args:
        one, other: X and Y, (B, L, d) each.
        heads: A_r, which divides d.
        mask: (B, L).
    """
    # Autocast would round the products to bf16: of scores about 10 that is an error of up to 0.03 in each logarithm.
    with full_precision(one.device.type):
        x, y = _cut(one.float(), heads), _cut(other.float(), heads)
        scores = (x * x.shape[-1] ** -0.5) @ y.transpose(-1, -2)  # (B, A_r, L, L)
    return scores.masked_fill_(~mask.bool()[:, None, None], NO_OUTCOME).log_softmax(-1)


def relation_loss(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """KL(R_T ‖ R_S), mean over relation heads and real tokens, a scalar: of log R, (B, A_r, L, L) each."""
    divergence = F.kl_div(student, teacher, log_target=True, reduction="none").sum(-1).mean(1)  # (B, L)
    return (divergence * mask).sum() / mask.sum()


def relation_losses(
    student: Projections, teacher: Projections, heads: int, mask: Tensor, weights: Mapping[str, float]
) -> dict[str, Tensor]:
    """The weighted terms; one of weight 0 is left out.

    Args:
        student, teacher: queries, keys and values of a layer of each, whose widths may differ.
        heads: A_r.
        mask: (B, L).
        weights: α of RELATIONS.
    """
    terms = {}
    for name, (x, y) in RELATIONS.items():
        if weights[name]:
            ours = log_relation(getattr(student, x), getattr(student, y), heads, mask)
            theirs = log_relation(getattr(teacher, x), getattr(teacher, y), heads, mask)
            terms[name] = weights[name] * relation_loss(ours, theirs, mask)
    return terms


def _cut(states: Tensor, heads: int) -> Tensor:
    """(B, L, d) to (B, A_r, L, d_r)."""
    return states.unflatten(-1, (heads, -1)).transpose(1, 2)


class LastProjections(nn.Module):
    """A student that gives queries, keys and values of its last layer."""

    def __init__(self, student: PreTrainedModel) -> None:
        super().__init__()
        self.student = student
        self.last = student.config.num_hidden_layers - 1
        self.capture = ProjectionCapture(student, [self.last])

    def forward(self, inputs: Batch) -> Projections:
        """(B, L, d) each."""
        self.student(**inputs)
        return self.capture.taken()[self.last]


def relation_step(teacher: FrozenTeacher, layer: int, heads: int, weights: Mapping[str, float]) -> Step:
    """The step of the corpus phase for `fit`, whose model is a LastProjections.

    Args:
        teacher: keeps queries, keys and values of `layer`.
        layer: of the teacher, counted from 1.
        heads: A_r.
        weights: α of RELATIONS; a term of weight 0 is left out.
    """

    def step(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        inputs = model_inputs(batch)
        theirs = teacher(inputs).projections[layer - 1]
        return relation_losses(model(inputs), theirs, heads, batch["attention_mask"], weights)

    return step
