"""ALBERT (Lan et al. 2020, arXiv 1909.11942): one layer that is computed N times, and word vectors of their own width.

What asks for single layers, to skip, replace, drop or share them, is refused: there is one. A student has the teacher's
layer, computed less often; heads and FFN units are sliced, and matrices factorized, in all layers alike. Several layers
(`num_hidden_groups`, `inner_group_num`), which no published one has, are not known here.

B sentences, h heads, L tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stillhouse.errors import InputError
from stillhouse.families.contract import HEADS, NORMS, PROJECTIONS, TABLES, Family, Keep, Matrix, Scores

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

ONE = "it computes one layer's weights again and again"


@dataclass(frozen=True)
class Albert(Family):
    """Its layers are one."""

    def check(self, config: Mapping[str, Any]) -> str | None:
        """One layer is known here."""
        for name in ("num_hidden_groups", "inner_group_num"):
            if config.get(name, 1) != 1:
                return f"{name} = {config[name]}: an ALBERT of one layer is known here, with {name} = 1"
        return None

    def layers(self, model: "PreTrainedModel") -> "nn.ModuleList":
        """There are none apart."""
        raise InputError(f"model family 'albert': {ONE}, none can be skipped, replaced or shared by itself: use bert")

    def blocks(self, model: "PreTrainedModel") -> "list[nn.Module]":
        """The layer."""
        stack: Any = model.base_model.get_submodule(self.stack)
        return list(stack)

    def cut(self, model: "PreTrainedModel", count: int) -> None:
        """Compute it less often."""
        model.config.num_hidden_layers = count

    def copy_layers(self, teacher: "PreTrainedModel", student: "PreTrainedModel", source: Sequence[int]) -> None:
        """Whichever they are, it is the same layer."""
        (ours,), (theirs,) = self.blocks(student), self.blocks(teacher)
        ours.load_state_dict(theirs.state_dict())

    def vocabulary_logits(self, model: "PreTrainedModel", hidden: "Tensor") -> "Tensor":
        """(N, d) to (N, V)."""
        parts: Any = model
        return parts.predictions(hidden)

    def watch_scores(self, model: "PreTrainedModel", layers: Sequence[int], scores: Scores) -> None:
        """Each time that the layer is computed counts as one."""
        from stillhouse.training.attention import NAME

        model.set_attn_implementation(NAME)
        (block,) = self.blocks(model)
        sink = _Counted(scores, frozenset(layers))
        # One call of the encoder begins at 0 again, whatever became of the one before.
        model.base_model.register_forward_pre_hook(sink.begin)
        for module in block.modules():
            object.__setattr__(module, "_score_sink", (sink, 0, None))

    def watch_projections(self, model: "PreTrainedModel", layers: Sequence[int], keep: Keep) -> None:
        """Each time that the layer is computed counts as one."""
        if not layers:
            return
        (block,) = self.blocks(model)
        for name, matrix in zip(PROJECTIONS, self.attention, strict=False):
            counted = _Calls(keep, name, frozenset(layers))
            model.base_model.register_forward_pre_hook(counted.begin)
            block.get_submodule(matrix.name).register_forward_hook(counted.give)

    def own_layers(self, count: int) -> tuple[int, ...]:
        """All of them the first."""
        return (0,) * count


class _Counted:
    """Stands where the scores of one layer would be kept, and keeps those of the calls that are asked for."""

    def __init__(self, scores: Scores, layers: frozenset[int]) -> None:
        self.scores, self.layers = scores, layers
        self.calls = 0

    def begin(self, *_: Any) -> None:
        self.calls = 0

    def __setitem__(self, _: int, found: "Tensor") -> None:
        if self.calls in self.layers:
            self.scores[self.calls] = found
        self.calls += 1


class _Calls:
    """Hands on what a matrix of the layer gives in the calls that are asked for."""

    def __init__(self, keep: Keep, name: str, layers: frozenset[int]) -> None:
        self.keep, self.name, self.layers = keep, name, layers
        self.calls = 0

    def begin(self, *_: Any) -> None:
        self.calls = 0

    def give(self, module: Any, given: Any, output: "Tensor") -> None:
        if self.calls in self.layers:
            self.keep(self.calls, self.name, output)
        self.calls += 1


FAMILY = Albert(
    "albert",
    "Albert",
    config={},
    stack="encoder.albert_layer_groups.0.albert_layers",
    attention=(
        Matrix("attention.query", "heads", "width"),
        Matrix("attention.key", "heads", "width"),
        Matrix("attention.value", "heads", "width"),
        Matrix("attention.dense", "width", "heads"),
    ),
    ffn=(Matrix("ffn", "units", "width"), Matrix("ffn_output", "width", "units")),
    heads="attention",
    weights={
        r"(?:embeddings|predictions)\.LayerNorm\.(?:weight|bias)": (None,),
        r"embeddings\.\w+_embeddings\.weight": (None, None),
        r"full_layer_layer_norm\.(?:weight|bias)": ("width",),
        **NORMS,
        **TABLES,
    },
    linear={
        r"embedding_hidden_mapping_in": ("width", None),
        r"pooler|predictions\.dense": (None, "width"),
        r"predictions\.decoder": (None, None),
        **HEADS,
    },
    decoder="predictions.decoder",
    decoder_bias="predictions.bias",
    word_size="word_size",
    refuses={
        "dimensions": "its embeddings are of another width than its layers, and are not sliced: slice heads or units",
        "layers": f"{ONE}: none can be dropped; make a student of fewer layers",
        "sharing": f"{ONE}: they are shared already",
        "words": "its word vectors are factorized by embedding_size already",
    },
)
