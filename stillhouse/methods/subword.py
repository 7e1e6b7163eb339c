"""Optimal subwords and shared projections (Zhao et al. 2019, arXiv 1909.11687, section 3).

The student has its own small vocabulary and a small width, so it shares neither tokens nor dimensions with its teacher.
Both are trained together on a corpus:

    L = MLM_T + MLM_S + ε·L_p

    dual training   in the teacher's input each word is cut with the student's vocabulary with probability p_DT, else
                    with the teacher's. The teacher has an embedding for every piece of both, and predicts a masked
                    piece among those of its own vocabulary. The student reads its own pieces only.     (section 3.1)
    projection      down  Σ ‖V·W_t·U − W_s‖²      up  Σ ‖W_t − V'·W_s·U'‖²                             (section 3.2)

The sum is over the pairs of weights; V and U are shared by all layers and learnt. Then the student is fine-tuned.

Where we differ, or the paper is silent: W runs over the matrices of the layers (V and U of the width for queries, keys,
values and outputs; the feed-forward ones have the inner width's on one side) and the embedding tables (U alone); biases
and LayerNorms, which no change of basis carries over, are left out. V starts with orthonormal rows or columns and U as
its transpose. A student of fewer layers learns from those that its map names. The embeddings of the student's pieces in
the teacher start as the mean of the teacher's for the same text, or from random weights. A random token that masking
puts in may be of either vocabulary. Without projection nothing ties the student to the teacher, so the teacher is not
run.

Shapes: B sentences, L tokens, W words, d width, i feed-forward width; W_t, W_s (out, in).
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from stillhouse.encoders.families import encoder_layers, word_embeddings
from stillhouse.errors import InputError
from stillhouse.text.wordpiece import cut, words
from stillhouse.training.batches import MULTIPLE, Batch, model_inputs
from stillhouse.training.masking import hide_tokens, logits_at, masked_lm_loss, places
from stillhouse.training.step import Step
from stillhouse.training.transfer import sent

Masked = tuple[Batch, Tensor, Tensor]  # inputs, the ids before masking (B, L), which were chosen (B, L)


# ---------------------------------------------------------------------------------------------- two ways to cut


class TwoCuts:
    """Rows of a text, cut with both vocabularies, for `collate` and `mix`.

    Args:
        teacher, student: WordPiece tokenizers that see the same words.
        max_length: tokens of an input; of longer texts the student reads so many, the teacher the words that fit
            whichever way they are cut. Texts without words are dropped.
    """

    def __init__(self, teacher: PreTrainedTokenizerBase, student: PreTrainedTokenizerBase, max_length: int) -> None:
        self.teacher, self.student, self.max_length = teacher, student, max_length

    def __call__(self, texts: Sequence[str]) -> dict[str, list]:
        """input_ids of the student and `length`; pieces of both cuts, and of which word (from 0) each is a piece."""
        rows: dict[str, list] = {
            name: [] for name in ("input_ids", "length", "teacher_pieces", "teacher_words", "pieces", "words")
        }
        known: dict[str, tuple[list[int], list[int]]] = {}
        room = self.max_length - 2
        for text in texts:
            found = words(self.student, text)[:room]
            for word in found:
                if word not in known:
                    known[word] = cut(self.teacher, word)[:room], cut(self.student, word)[:room]
            if not found:
                continue
            theirs, ours = zip(*(known[word] for word in found), strict=True)
            ids = [self.student.cls_token_id, *[i for pieces in ours for i in pieces][:room], self.student.sep_token_id]
            ends = accumulate(max(map(len, pair)) for pair in zip(theirs, ours, strict=True))
            fit = sum(end <= room for end in ends)
            values = ids, len(ids), *_flat(theirs[:fit]), *_flat(ours[:fit])
            for name, value in zip(rows, values, strict=True):
                rows[name].append(value)
        return rows


def _flat(cuts: Sequence[list[int]]) -> tuple[list[int], list[int]]:
    pieces = [piece for pieces in cuts for piece in pieces]
    return pieces, [number for number, pieces in enumerate(cuts) for _ in pieces]


def mix(batch: Mapping[str, Tensor], coins: Tensor, offset: int) -> tuple[Tensor, Tensor]:
    """Each word in one of its two cuts.

    Args:
        batch: the columns of `TwoCuts`, (B, ·), -1 where a row is shorter.
        coins: (B, W) bool, which words are cut with the student's vocabulary.
        offset: added to the student's pieces: the size of the teacher's vocabulary.

    Returns:
        Pieces in the order of the text (B, L), anything behind a row's last one, and how many a row has (B,).
    """
    pieces = torch.cat([batch["teacher_pieces"], batch["pieces"] + offset], dim=1)
    word = torch.cat([batch["teacher_words"], batch["words"]], dim=1)
    ours = torch.zeros_like(word, dtype=torch.bool)
    ours[:, batch["teacher_words"].shape[1] :] = True
    taken = (word >= 0) & (coins.gather(1, word.clamp(min=0)) == ours)
    # All pieces of a word are of one cut, so sorting by word, stably, restores the text.
    order = word.masked_fill(~taken, coins.shape[1]).argsort(dim=1, stable=True)
    return pieces.gather(1, order), taken.sum(1)


class Special(NamedTuple):
    """Ids that frame and pad the teacher's input."""

    first: int
    last: int
    pad: int
    mask: int


def framed(pieces: Tensor, counts: Tensor, special: Special) -> Batch:
    """The teacher's input_ids and attention_mask, (B, L): a row's pieces between first and last, then padding."""
    length = -(-(int(counts.max()) + 2) // MULTIPLE) * MULTIPLE
    place = torch.arange(length, device=pieces.device)
    end = counts[:, None] + 1
    ids = F.pad(pieces[:, : length - 1], (1, max(length - 1 - pieces.shape[1], 0)), value=special.first)
    ids = torch.where(place < end, ids, special.pad)
    return {"input_ids": torch.where(place == end, special.last, ids), "attention_mask": (place <= end).long()}


# ---------------------------------------------------------------------------------------------- the teacher of both


def add_vocabulary(teacher: PreTrainedModel, extra: int, starts: list[list[int]] | None, seed: int) -> int:
    """Give a masked LM embeddings and predictions for `extra` more tokens, behind its own, in place.

    Args:
        starts: for each of them the teacher's tokens whose mean embedding it starts from; None for random weights.
        seed: of the random weights.

    Returns:
        The id of the first.
    """
    offset = word_embeddings(teacher).num_embeddings
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        teacher.resize_token_embeddings(offset + extra, mean_resizing=False)
    if starts is not None:
        table = word_embeddings(teacher).weight
        with torch.no_grad():
            for number, tokens in enumerate(starts):
                table[offset + number] = table[tokens].mean(0)
    return offset


def dual_masked_lm_loss(teacher: nn.Module, inputs: Batch, ids: Tensor, chosen: Tensor, offset: int) -> Tensor:
    """Masked-LM loss where each piece is predicted among those of its own vocabulary; zero where none was chosen.

    Args:
        inputs: the teacher's, masked.
        ids: (B, L) before masking; from `offset` on they are the student's pieces.
        chosen: (B, L) bool.
    """
    where = places(chosen)
    logits, target = logits_at(teacher, inputs, where).float(), ids[where]
    theirs, ours = (places(mine)[0] for mine in (target < offset, target >= offset))
    loss = F.cross_entropy(logits[theirs, :offset], target[theirs], reduction="sum")
    loss = loss + F.cross_entropy(logits[ours, offset:], target[ours] - offset, reduction="sum")
    return loss / max(len(target), 1)


# ---------------------------------------------------------------------------------------------- shared projections


class Weights(NamedTuple):
    """Matrices of one kind, all layers of one model stacked: (M, out, in), or one embedding table (1, V, d).

    `out` and `in` name their dimensions: width, inner, or rows (of a table, which are not projected).
    """

    out: str
    into: str
    stack: Tensor


def matrices(model: PreTrainedModel, layers: Sequence[int], first_token: int) -> dict[str, Weights]:
    """What the projections tie: the matrices of some layers, by name, and the embedding tables.

    Args:
        layers: which, from 0.
        first_token: where the rows of the student's vocabulary begin in the table of words.
    """
    base = model.base_model
    found = {}
    for name, weight in base.embeddings.named_parameters():  # type: ignore[union-attr]
        if weight.dim() == 2:
            rows = weight[first_token:] if name == "word_embeddings.weight" else weight
            found[f"embeddings.{name}"] = Weights("rows", "width", rows[None])
    stack = encoder_layers(model)
    for name, weight in stack[0].named_parameters():
        if weight.dim() == 2:
            out = "inner" if name.startswith("intermediate.") else "width"
            into = "inner" if name.startswith("output.") else "width"
            found[name] = Weights(out, into, torch.stack([stack[n].get_parameter(name) for n in layers]))
    return found


class SharedProjection(nn.Module):
    """V and U, from the weights of one model to those of another.

    Args:
        source, target: (d, i) of the two.
        seed: of the start.
    """

    def __init__(self, source: tuple[int, int], target: tuple[int, int], seed: int) -> None:
        super().__init__()
        self.left, self.right = nn.ParameterDict(), nn.ParameterDict()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for name, before, after in zip(("width", "inner"), source, target, strict=True):
                start = torch.eye(after) if before == after else nn.init.orthogonal_(torch.empty(after, before))
                self.left[name] = nn.Parameter(start)  # V (after, before)
                self.right[name] = nn.Parameter(start.T.clone())  # U (before, after)

    def forward(self, weights: Weights) -> Tensor:
        """V·W·U, (M, out, in) of the other model."""
        stack = weights.stack @ self.right[weights.into]
        return stack if weights.out == "rows" else self.left[weights.out] @ stack


def projection_loss(
    projection: SharedProjection, source: Mapping[str, Weights], target: Mapping[str, Weights]
) -> Tensor:
    """Σ ‖V·W·U − W'‖² over all pairs; what only one of the two has (such as token types of none) does not count."""
    return torch.stack(
        [(projection(source[name]) - target[name].stack).float().square().sum() for name in source if name in target]
    ).sum()


# ---------------------------------------------------------------------------------------------- both together


class DualTraining(nn.Module):
    """Student, teacher and projections, and the loss of the corpus phase as its forward. The student alone is kept.

    Args:
        student: a masked LM over the student's vocabulary.
        teacher: a masked LM over both, see `add_vocabulary`; None leaves it and the projections out.
        offset: the first of the student's pieces in it.
        layers: for each student layer the teacher's, from 1.
        up: project the student's weights to the teacher's shape, not the other way.
        weight: ε.
        seed: of the projections.
    """

    def __init__(
        self,
        student: PreTrainedModel,
        teacher: PreTrainedModel | None,
        *,
        offset: int,
        layers: Sequence[int],
        up: bool,
        weight: float,
        seed: int,
    ) -> None:
        super().__init__()
        self.student, self.teacher = student, teacher
        self.offset, self.layers, self.weight = offset, [n - 1 for n in layers], weight
        self.up = up
        if teacher is not None:
            shapes = [(m.config.hidden_size, m.config.intermediate_size) for m in (teacher, student)]
            source, target = reversed(shapes) if up else shapes
            self.projection = SharedProjection(source, target, seed)

    def forward(self, student: Masked, teacher: Masked | None) -> dict[str, Tensor]:
        """The terms, of what each model reads."""
        terms = {"student": masked_lm_loss(self.student, *student)}
        if self.teacher is not None:
            assert teacher is not None
            terms["teacher"] = dual_masked_lm_loss(self.teacher, *teacher, self.offset)
            theirs = matrices(self.teacher, self.layers, self.offset)
            ours = matrices(self.student, range(len(self.layers)), 0)
            pair = (ours, theirs) if self.up else (theirs, ours)
            terms["projection"] = self.weight * projection_loss(self.projection, *pair)
        return terms


def dual_step(
    teacher: PreTrainedTokenizerBase,
    student: PreTrainedTokenizerBase,
    *,
    offset: int | None,
    probability: float,
    mask: float,
) -> Step:
    """The step of the corpus phase for `fit`, whose model is a DualTraining: cuts and masks drawn anew for every batch.

    Args:
        teacher, student: the tokenizers.
        offset: the first of the student's pieces in the teacher; None where there is no teacher.
        probability: p_DT.
        mask: share of the tokens that are predicted.
    """
    special = Special(teacher.cls_token_id, teacher.sep_token_id, teacher.pad_token_id, teacher.mask_token_id)
    kept = [*teacher.all_special_ids, *((offset or 0) + i for i in student.all_special_ids)]

    def step(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        ours = hide_tokens(
            model_inputs(batch), probability=mask, mask_id=student.mask_token_id,
            special_ids=student.all_special_ids, vocabulary=len(student),
        )  # fmt: skip
        if offset is None:
            return model(ours, None)
        shape = len(batch["words"]), int(batch["words"].max()) + 1
        coins = sent(torch.rand(shape) < probability, batch["words"].device)
        mixed = framed(*mix(batch, coins, offset), special)
        theirs = hide_tokens(
            mixed, probability=mask, mask_id=special.mask, special_ids=kept, vocabulary=offset + len(student)
        )
        return model(ours, theirs)

    return step


def check_layers(layers: Sequence[int], depth: int) -> None:
    """Raises:
    InputError: the map names a layer that the teacher has not.
    """
    if not layers or any(not 1 <= n <= depth for n in layers):
        raise InputError(f"layer_map {list(layers)} must name some of the teacher's layers 1 to {depth}")
