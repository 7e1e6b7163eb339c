"""What a family of encoders is to everything else: where it keeps its parts, and what its config calls them.

A family is a file here with a `FAMILY`. Methods, surgery and compressed models ask it, and never which one it is.

No family imports torch or transformers at its top: transformers reads this room while it imports its own tables. What
a family builds into compressed encoders stands in NAME_modules.py.

B sentences, L tokens, h heads, d width, V vocabulary, N rows.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from stillhouse.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

Scores = dict[int, "Tensor"]  # layer, from 0: (B, h, L, L)
State = dict[str, "Tensor"]
Keep = Callable[[int, str, "Tensor"], None]
PROJECTIONS = ("queries", "keys", "values")
Axes = tuple[str | None, ...]  # what each axis of a weight counts; None for what surgery leaves alone


@dataclass(frozen=True)
class Matrix:
    """A linear layer n → m of each transformer layer.

    name: in its layer.
    optional: some models of the family do without; of positions, not of tokens.
    outputs, inputs: what m and n count: width | heads (d_h a head) | qkv (queries, keys and values of all heads, one
        after the other) | units | glu (units, then their gates).
    """

    name: str
    outputs: str
    inputs: str
    optional: bool = False


# What else encoders and the heads of tasks have, by the end of its name.
NORMS: dict[str, Axes] = {
    r"(?:LayerNorm|layer_norm)\.(?:weight|bias)": ("width",),
}
TABLES: dict[str, Axes] = {
    r"(?:word|position|token_type)_embeddings\.weight": (None, "width"),
    r"word_embeddings\.table\.weight": (None, None),
    r"(?:predictions|lm_head)\.bias": (None,),
}
# Linear layers: (outputs, inputs). The bias counts what the outputs do.
HEADS: dict[str, Axes] = {
    r"word_embeddings\.project": ("width", None),
    r"pooler\.dense": (None, "width"),
    r"predictions\.transform\.dense": ("width", "width"),
    r"predictions\.decoder|lm_head\.decoder": (None, "width"),
    r"lm_head\.dense": ("width", "width"),
    r"classifier\.dense": (None, "width"),  # RoBERTa pools in its head
    r"classifier\.out_proj|seq_relationship|classifier": (None, None),
    r"qa_outputs": (None, "width"),
}


@dataclass(frozen=True)
class Family:
    """A family whose layers are BERT's, unless its file says otherwise.

    name: transformers' `model_type`.
    prefix: of transformers' classes, Bert of BertModel; None where no compressed encoder is made of them.
    config: what the class of a compressed config has; None where its fields are BERT's.
    stack: the transformer layers in the encoder.
    words: the word vectors in the encoder.
    attention, ffn: the matrices of a layer. Of each, the one that reads heads, or units, is the last.
    heads: the module in a layer that is told how many heads it has.
    parts: the modules of a layer that make up its attention and its FFN, for layers that share them.
    weights, linear: what else the family has, for surgery.
    poolers: dense layers between the encoder and a classifier, in the model or in its encoder.
    decoder, decoder_bias: of a masked LM, the matrix tied to the word vectors, and the bias tied to its own.
    units: what the config calls the FFN's width.
    head_size: what a compressed config calls the width of a head.
    word_size: what it calls the width of factorized word vectors.
    first_position: of a sentence's first token; None: the padding token's id + 1.
    types_ignored: a tokenizer may give token types; the model does without them.
    pooled: a classifier pools to a width of its own, which stays when the encoder gets narrower.
    starts_parts: where transformers gives random weights, a module sets those of the layers in it.
    one_type: its attention computes with the type of its queries, also where autocast makes other numbers of them.
    extra_fields: fields of a compressed config that this family alone has.
    refuses: what surgery the architecture does not allow, and why: heads | units | dimensions | layers | sharing |
        matrices | words.
    """

    name: str
    prefix: str | None
    config: Mapping[str, Any] | None = None
    stack: str = "encoder.layer"
    words: str = "embeddings.word_embeddings"
    attention: tuple[Matrix, ...] = (
        Matrix("attention.self.query", "heads", "width"),
        Matrix("attention.self.key", "heads", "width"),
        Matrix("attention.self.value", "heads", "width"),
        Matrix("attention.output.dense", "width", "heads"),
    )
    ffn: tuple[Matrix, ...] = (
        Matrix("intermediate.dense", "units", "width"),
        Matrix("output.dense", "width", "units"),
    )
    heads: str = "attention.self"
    parts: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {"attention": ("attention",), "ffn": ("intermediate", "output")}
    )
    weights: Mapping[str, Axes] = field(default_factory=lambda: NORMS | TABLES)
    linear: Mapping[str, Axes] = field(default_factory=lambda: HEADS)
    poolers: tuple[str, ...] = ("pooler.dense",)
    decoder: str = "cls.predictions.decoder"
    decoder_bias: str | None = "cls.predictions.bias"
    units: str = "intermediate_size"
    head_size: str = "head_size"
    word_size: str = "embedding_size"
    first_position: int | None = 0
    types_ignored: bool = False
    pooled: bool = True
    starts_parts: bool = False
    one_type: bool = False
    extra_fields: tuple[str, ...] = ()
    refuses: Mapping[str, str] = field(default_factory=dict)

    # ------------------------------------------------------------------------------------------ names

    @cached_property
    def matrices(self) -> dict[str, Matrix]:
        """Those of attention and FFN, by name."""
        return {matrix.name: matrix for matrix in (*self.attention, *self.ffn)}

    @cached_property
    def in_layer(self) -> re.Pattern[str]:
        """Of a weight in a layer: what stands before the layer's number, that number, and the name in the layer."""
        return re.compile(rf"((?:^|.*\.){re.escape(self.stack)}\.)(\d+)\.(.+)$")

    def part_of(self, name: str) -> str | None:
        """Whether a weight of a layer is of its attention or of its ffn; None for the layer's own."""
        return next(
            (part for part, modules in self.parts.items() if name.startswith(tuple(f"{m}." for m in modules))), None
        )

    def gated(self, kind: str) -> str:
        """The matrix that reads all heads, or all units."""
        return self.attention[-1].name if kind == "heads" else self.ffn[-1].name

    def allow(self, model: "PreTrainedModel", *surgery: str) -> None:
        """Raise InputError for the first kind of surgery that the architecture does not allow."""
        refused = self.refused(model.config)
        for kind in surgery:
            if kind in refused:
                raise InputError(f"model family '{self.name}': {refused[kind]}")

    def refused(self, config: Any) -> Mapping[str, str]:
        """`refuses`, and what this config adds to it."""
        return self.refuses

    # ------------------------------------------------------------------------------------------ config

    def check(self, config: Mapping[str, Any]) -> str | None:
        """What of a config this code does not know, in a line; None where all is well.

        Args:
            config: as config.json has it.
        """
        return None

    def longest(self, config: Mapping[str, Any]) -> int | None:
        """Tokens of the longest text that the encoder has positions for."""
        positions = config.get("max_position_embeddings")
        if positions is None:
            return None
        padding = config.get("pad_token_id")
        first = (1 if padding is None else int(padding)) + 1 if self.first_position is None else self.first_position
        return int(positions) - first

    def resize(self, config: Any, source: Sequence[int] | None, layers: int) -> None:
        """Bring a student's config in order whose width, heads, units and depth have been changed.

        Args:
            source: the teacher's layers that it starts from, from 0; None for random weights.
            layers: of the student.
        """
        config.num_hidden_layers = layers

    # ------------------------------------------------------------------------------------------ the model

    def layers(self, model: "PreTrainedModel") -> "nn.ModuleList":
        """The transformer layers, first to last.

        Raises:
            InputError: it has no layers apart from each other.
        """
        stack: Any = model.base_model.get_submodule(self.stack)
        return stack

    def blocks(self, model: "PreTrainedModel") -> "list[nn.Module]":
        """The modules that hold the layers' weights, each once."""
        return list(self.layers(model))

    def cut(self, model: "PreTrainedModel", count: int) -> None:
        """Drop every layer after the first `count`, in place."""
        del self.layers(model)[count:]
        model.config.num_hidden_layers = count

    def cut_below(self, model: "PreTrainedModel", count: int) -> None:
        """Drop the first `count` layers, in place."""
        del self.layers(model)[:count]
        model.config.num_hidden_layers -= count

    def copy_layers(self, teacher: "PreTrainedModel", student: "PreTrainedModel", source: Sequence[int]) -> None:
        """Start a student's layers from some of its teacher's, counted from 0."""
        theirs, ours = self.layers(teacher), self.layers(student)
        for layer, number in zip(ours, source, strict=True):
            layer.load_state_dict(theirs[number].state_dict())

    def kind(self, layer: "nn.Module") -> str | None:
        """What sort of layer it is, where a family has several; an encoder gives each sort other inputs."""
        return None

    def states(self, output: Any) -> "Tensor":
        """Hidden states (B, L, d), of what a layer returns."""
        return output

    def output(self, states: "Tensor") -> Any:
        """What a layer returns, of hidden states (B, L, d)."""
        return states

    def vocabulary_logits(self, model: "PreTrainedModel", hidden: "Tensor") -> "Tensor":
        """The head of a masked LM on outputs of its encoder, (N, d) to (N, V)."""
        head: Any = model.get_submodule(self.decoder.partition(".")[0])
        return head(hidden)

    def vocabulary_bias(self, model: "PreTrainedModel") -> "Tensor | None":
        """The output bias of a masked LM, (V,)."""
        output: Any = model.get_output_embeddings()
        return output.bias

    def watch_scores(self, model: "PreTrainedModel", layers: Sequence[int], scores: Scores) -> None:
        """Have the attention scores of some layers, before the softmax, in `scores` after each forward pass.

        Here by transformers' AttentionInterface: the model is switched to `stillhouse.training.attention` for good.

        Args:
            layers: from 0.
            scores: filled with (B, h, L, L), padding not masked.
        """
        from stillhouse.training.attention import NAME

        model.set_attn_implementation(NAME)
        stack = self.layers(model)
        for index in layers:
            for module in stack[index].modules():
                # Whichever submodule the family passes to the attention function finds its sink.
                object.__setattr__(module, "_score_sink", (scores, index, self.window(model, index)))

    def watch_projections(self, model: "PreTrainedModel", layers: Sequence[int], keep: Keep) -> None:
        """Have queries, keys and values of some layers handed to `keep` in each forward pass.

        Args:
            layers: from 0.
            keep: called with a layer, one of PROJECTIONS, and (B, L, d), d of all heads together.
        """
        for index in layers:
            layer = self.layers(model)[index]
            for name, matrix in zip(PROJECTIONS, self.attention, strict=False):
                layer.get_submodule(matrix.name).register_forward_hook(partial(give, keep, index, name))

    def window(self, model: "PreTrainedModel", layer: int) -> int | None:
        """How far a token of this layer attends to either side; None for any distance."""
        return None

    # ------------------------------------------------------------------------------------------ compressed encoders

    def extra(self, config: Any) -> dict[str, Any]:
        """What the shape of a compressed encoder has besides that of all families, by fields of its config."""
        return {}

    def said(self, extra: Mapping[str, Any], pooled_size: int) -> dict[str, Any]:
        """Fields of the family's own config that follow from the shape."""
        return {}

    def plain(self, extra: Mapping[str, Any]) -> bool:
        """Whether the family's own config can say it."""
        return True

    def kept_layers(self, extra: Mapping[str, Any], keep: Sequence[int]) -> dict[str, Any]:
        """The same of an encoder of some layers."""
        return dict(extra)

    def heads_apart(self, state: State, extra: Mapping[str, Any]) -> tuple[State, dict[str, Any]]:
        """Weights and `extra` of an encoder in which heads of different layers share nothing."""
        return state, dict(extra)

    def own_layers(self, count: int) -> tuple[int, ...]:
        """The layer whose weights each layer has in the family's own classes."""
        return tuple(range(count))

    def build(self, model: "PreTrainedModel", extra: Mapping[str, Any], heads: Sequence[int]) -> None:
        """Put into a compressed encoder what `extra` asks for; `heads` of each layer."""


def give(keep: Keep, index: int, name: str, module: Any, given: Any, output: "Tensor") -> None:
    """A forward hook: hand on what a module gives."""
    keep(index, name, output)
