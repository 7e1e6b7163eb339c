"""ALBERT (Lan et al. 2020, arXiv 1909.11942, sections 3.1 and 4).

Two reductions of an encoder's parameters. The word vectors are factorized, V·E + E·H weights for V·H. And layers use
each other's weights: all of them, the attention alone, or the FFN alone, in one group or in several of the same size.
The layers still compute N times, so bytes fall, and neither FLOPs nor latency do. Parameters of an encoder of N layers,
A attentions and F FFNs of its own (N, or the number of groups where they are shared), with E = H not factorized:

    V·E + E·H + (P + T)·H + 2H  +  A·(4H² + 6H)  +  F·(2HI + I + 3H)  [+ H² + H, the pooler]

Pretraining has, besides the masked LM, sentence-order prediction (SOP) in the place of BERT's next-sentence prediction:
two consecutive segments of a document stand in their order (y = 0) or swapped (y = 1), each with probability ½,

    L = w_MLM·CE(masked tokens) + w_SOP·CE(y, o(h_[CLS]))

Both orders are made of the same words, so that topic, which answers most of next-sentence prediction, says nothing.

Where we differ.
- The paper trains shared layers from random weights. Here a trained model is the start: a group's weights are the
  average of its layers, or one of them; the table V×E is the best of rank E.
- Positions, token types and the LayerNorm after them are H wide, as the formula has them, for the encoder is BERT's; in
  the paper's code they are E wide, and the projection has a bias.
- Coins are tossed anew for every batch, as masks are, so a pair is seen in both orders. There are no n-gram masks.
- o is a dense layer, tanh and two logits. It is left behind like the masked-LM head; the task brings its own pooler.

Shapes: B pairs of segments, L tokens, d width.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from stillhouse.encoders.families import encoder
from stillhouse.encoders.mlm_head import vocabulary_logits
from stillhouse.errors import InputError
from stillhouse.models.shape import Shape
from stillhouse.surgery import factorize_embedding, share_layers
from stillhouse.surgery.factorizing import saves
from stillhouse.training.batches import Batch, model_inputs
from stillhouse.training.masking import hide_tokens, places
from stillhouse.training.step import Step
from stillhouse.training.transfer import sent

Share = Literal["all", "attention", "ffn", "none"]
Start = Literal["average"] | int


def shared(
    model: PreTrainedModel, *, share: Share, groups: int, start: Start, embedding_size: int | None
) -> PreTrainedModel:
    """The model with its layers shared and its word vectors factorized.

    Args:
        model: left as it is.
        share: what layers of a group have in common.
        groups: of consecutive layers; as many as layers, or share none, changes nothing.
        start: average (of a group's layers), or one of them, counted from 1 within the group.
        embedding_size: E; None: not factorized.

    Raises:
        InputError: groups that do not divide the layers, a start that no group has, or an E that saves nothing.
    """
    shape = Shape.of(model.config)
    layers, v, h = shape.layers, model.config.vocab_size, shape.hidden_size
    if embedding_size is not None and not (embedding_size > 0 and saves(v, h, embedding_size)):
        most = (v * h - 1) // (v + h)
        raise InputError(f"embedding_size = {embedding_size}: word vectors {v}×{h} get smaller by 1 to {most} alone")
    uses, own = layer_groups(layers, groups, start), list(range(layers))
    attention, ffn = (uses if share in ("all", part) else own for part in ("attention", "ffn"))
    if (attention, ffn) != (own, own):
        model = share_layers(model, attention, ffn, "average" if start == "average" else "first")
    return model if embedding_size is None else factorize_embedding(model, embedding_size)


def layer_groups(layers: int, groups: int, start: Start) -> list[int]:
    """For each layer, counted from 0, the layer whose weights it uses: of 4 in 2 groups by their layer 2, [1, 1, 3, 3].

    Raises:
        InputError: groups that do not divide the layers, or a start that a group does not have.
    """
    if not 1 <= groups <= layers or layers % groups:
        divide = [count for count in range(1, layers + 1) if layers % count == 0]
        raise InputError(f"groups = {groups} do not divide the model's {layers} layers: choose from {divide}")
    size = layers // groups
    if start != "average" and not 1 <= start <= size:
        raise InputError(f"start = {start}: a group has layers 1 to {size}: choose one of them, or average")
    inside = 0 if start == "average" else start - 1
    return [layer // size * size + inside for layer in range(layers)]


def parameter_count(
    *,
    vocabulary: int,
    positions: int,
    token_types: int,
    hidden_size: int,
    intermediate_size: int,
    layers: int,
    embedding_size: int | None,
    share: Share,
    groups: int,
    pooler: bool,
) -> int:
    """Parameters of an encoder without a head: weights, biases and LayerNorms, each once however often it is used.

    Args:
        vocabulary, positions, token_types: V, P, T, rows of the three tables.
        hidden_size, intermediate_size, layers: H, I, N.
        embedding_size: E; None: not factorized.
        share, groups: as `shared` takes them.
        pooler: whether the dense layer over [CLS] counts.
    """
    v, h, i = vocabulary, hidden_size, intermediate_size
    attentions, ffns = (groups if share in ("all", part) else layers for part in ("attention", "ffn"))
    words = v * h if embedding_size is None else v * embedding_size + embedding_size * h
    rest = (positions + token_types) * h + 2 * h + (h * h + h if pooler else 0)
    return words + rest + attentions * (4 * h * h + 6 * h) + ffns * (2 * h * i + i + 3 * h)


def order_segments(inputs: Batch, first: Tensor, second: Tensor, swapped: Tensor) -> Batch:
    """Put the two segments of each row into the order that its label says: a row's tokens move, none is lost.

    Args:
        inputs: `input_ids` and `attention_mask` (B, L) of [CLS] first [SEP] second [SEP], in between one separator or
            more; `token_type_ids` too where the model has them.
        first, second: (B,) tokens of each segment as it stands there, special tokens not counted.
        swapped: y (B,) bool.
    """
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    first, second, swapped = first[:, None], second[:, None], swapped[:, None]
    place = torch.arange(ids.shape[1], device=ids.device)[None]  # (1, L)
    between = mask.sum(1, keepdim=True) - first - second - 2  # separators
    # Where the token at each place of a swapped row stood: second, separators, first, from place 1 on.
    source = torch.where(place < 1 + second + between + first, place - second - between, place)
    source = torch.where(place < 1 + second + between, place - second + first, source)
    source = torch.where(place < 1 + second, place + first + between, source)
    source = torch.where(swapped & (place > 0), source, place)  # (B, L)
    ordered = {**inputs, "input_ids": ids.gather(1, source)}
    if "token_type_ids" in inputs:
        begin = 1 + torch.where(swapped, second, first) + between  # of the segment that comes second now
        ordered["token_type_ids"] = ((place >= begin) & mask.bool()).to(ids.dtype)
    return ordered


class OrderHead(nn.Module):
    """o: a dense layer, tanh, and the logits of "in order" and "swapped"."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.logits = nn.Linear(width, 2)

    def forward(self, hidden: Tensor) -> Tensor:
        """Last hidden states (B, L, d) to (B, 2)."""
        return self.logits(torch.tanh(self.dense(hidden[:, 0])))


def sentence_order_loss(logits: Tensor, swapped: Tensor) -> Tensor:
    """CE(y, o): logits (B, 2), y (B,) bool."""
    return F.cross_entropy(logits.float(), swapped.long())


class Pretraining(nn.Module):
    """A masked LM, and the losses of the corpus phase as its forward.

    Args:
        model: a masked LM.
        weights: of the terms `mlm` and `sop`; a term of weight 0 is left out, and what it alone needs is not trained.
        seed: of the head of sentence-order prediction.
    """

    def __init__(self, model: PreTrainedModel, weights: Mapping[str, float], seed: int) -> None:
        super().__init__()
        self.model = model
        self.weights = weights
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.order = OrderHead(model.config.hidden_size) if weights["sop"] else None
        if not weights["mlm"]:
            # DDP waits for a gradient of everything that needs one.
            inside = set(encoder(model).parameters())
            for weight in model.parameters():
                weight.requires_grad_(weight in inside)

    def forward(self, inputs: Batch, ids: Tensor, chosen: Tensor, swapped: Tensor) -> dict[str, Tensor]:
        """The weighted terms.

        Args:
            inputs: in the order that `swapped` says, with masked ids.
            ids: (B, L) before masking.
            chosen: (B, L) bool, which are predicted.
            swapped: y (B,) bool.
        """
        hidden = encoder(self.model)(**inputs).last_hidden_state  # (B, L, d)
        terms = {}
        if self.weights["mlm"]:
            where = places(chosen)
            logits = vocabulary_logits(self.model, hidden[where])
            hard = F.cross_entropy(logits.float(), ids[where], reduction="sum")
            terms["mlm"] = self.weights["mlm"] * hard / max(len(logits), 1)
        if self.order is not None:
            terms["sop"] = self.weights["sop"] * sentence_order_loss(self.order(hidden), swapped)
        return terms


def pretraining_step(mask: float, mask_id: int, special_ids: list[int], vocabulary: int) -> Step:
    """The step of the corpus phase for `fit`, whose model is a Pretraining: new orders and masks for every batch.

    A batch has `first` and `second` (B,), the tokens of each segment, in addition to the model's inputs.

    Args:
        mask: share of the tokens that are predicted.
        mask_id, special_ids, vocabulary: the tokenizer's.
    """

    def step(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        first = batch["first"]
        # A CPU generator's coins, so that every device draws the same; a checkpoint keeps it.
        swapped = sent(torch.rand(len(first)) < 0.5, first.device)
        inputs = order_segments(model_inputs(batch), first, batch["second"], swapped)
        hidden = hide_tokens(inputs, probability=mask, mask_id=mask_id, special_ids=special_ids, vocabulary=vocabulary)
        return model(*hidden, swapped)

    return step
