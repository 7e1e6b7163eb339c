"""Surgery is exact where it can be: what is cut gives what is masked, and a file gives back what was cut."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    BertForMaskedLM,
    BertForQuestionAnswering,
    PreTrainedModel,
    RobertaForMaskedLM,
    RobertaForQuestionAnswering,
)

from stillhouse.encoders.families import encoder_layers
from stillhouse.encoders.measure import flops, parameters
from stillhouse.errors import InputError
from stillhouse.models.compact_modules import FactorizedEmbedding
from stillhouse.models.shape import Shape
from stillhouse.onnx.export import export_onnx
from stillhouse.surgery import (
    drop_layers,
    factorize,
    factorize_embedding,
    share_layers,
    slice_embedding,
    slice_ffn,
    slice_heads,
)
from stillhouse.surgery.factorizing import matrices, saves, svd
from tests import tiny
from tests.shapes import DIMENSIONS, HEADS, SURGERY, UNITS

IDS = torch.tensor([[2, 7, 8, 9, 10, 3], [2, 11, 12, 3, 0, 0]])
AUTO = {
    "classification": AutoModelForSequenceClassification,
    "question answering": AutoModelForQuestionAnswering,
    "masked LM": AutoModelForMaskedLM,
}


def model_for(task: str, family: str) -> PreTrainedModel:
    """Three layers, 32 wide, 4 heads, 64 FFN units."""
    classifier = tiny.bert(layers=3) if family == "bert" else tiny.other_family("roberta", layers=3)
    if task == "classification":
        return classifier
    kinds = {
        ("question answering", "bert"): BertForQuestionAnswering,
        ("question answering", "roberta"): RobertaForQuestionAnswering,
        ("masked LM", "bert"): BertForMaskedLM,
        ("masked LM", "roberta"): RobertaForMaskedLM,
    }
    torch.manual_seed(1)
    return kinds[task, family](classifier.config).eval()


@pytest.fixture(params=[(task, family) for task in AUTO for family in ("bert", "roberta")], ids="-".join)
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    return model_for(*request.param)


@pytest.fixture
def auto(request: pytest.FixtureRequest, model: PreTrainedModel) -> type:
    return next(AUTO[task] for task, family in [request.node.callspec.params["model"]])


@torch.no_grad()
def outputs(model: PreTrainedModel) -> Tensor:
    """Logits, or the logits of starts and ends side by side, of the tokens that are not padding."""
    mask = (IDS != 0).long()
    given = model(input_ids=IDS, attention_mask=mask)
    values = given.logits if "logits" in given else torch.stack([given.start_logits, given.end_logits], dim=-1)
    return values if values.dim() == 2 else values[mask.bool()]


def close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, atol=1e-5)


def test_sliced_heads_give_what_masked_ones_give(model: PreTrainedModel) -> None:
    masked = copy.deepcopy(model)
    for layer, heads in zip(encoder_layers(masked), HEADS, strict=True):
        gone = [head for head in range(4) if head not in heads]
        layer.attention.output.dense.weight.data.view(32, 4, 8)[:, gone] = 0
    sliced = slice_heads(model, HEADS)
    assert close(outputs(sliced), outputs(masked))
    assert not close(outputs(sliced), outputs(model))


def test_sliced_ffn_units_give_what_masked_ones_give(model: PreTrainedModel) -> None:
    masked = copy.deepcopy(model)
    for layer, units in zip(encoder_layers(masked), UNITS, strict=True):
        gone = [unit for unit in range(64) if unit not in units]
        layer.output.dense.weight.data[:, gone] = 0
    sliced = slice_ffn(model, UNITS)
    assert close(outputs(sliced), outputs(masked))
    assert not close(outputs(sliced), outputs(model))


class MaskedNorm(nn.Module):
    """A LayerNorm of some dimensions of its input; the others come out as 0."""

    def __init__(self, norm: nn.LayerNorm, keep: list[int]) -> None:
        super().__init__()
        self.norm, self.keep = norm, keep

    def forward(self, x: Tensor) -> Tensor:
        out = torch.zeros_like(x)
        weight, bias = self.norm.weight[self.keep], self.norm.bias[self.keep]
        out[..., self.keep] = nn.functional.layer_norm(
            x[..., self.keep], (len(self.keep),), weight, bias, self.norm.eps
        )
        return out


def test_sliced_dimensions_give_what_masked_ones_give(model: PreTrainedModel) -> None:
    masked = copy.deepcopy(model)
    for name, module in list(masked.named_modules()):
        if isinstance(module, nn.LayerNorm):
            parent, _, last = name.rpartition(".")
            setattr(masked.get_submodule(parent), last, MaskedNorm(module, DIMENSIONS))
    sliced = slice_embedding(model, DIMENSIONS)
    assert close(outputs(sliced), outputs(masked))
    assert not close(outputs(sliced), outputs(model))


def test_a_dropped_layer_gives_what_a_skipped_one_gives(model: PreTrainedModel) -> None:
    skipped = copy.deepcopy(model)
    encoder_layers(skipped)[1] = _Skip()
    dropped = drop_layers(model, [0, 2])
    assert close(outputs(dropped), outputs(skipped))
    assert type(dropped) is type(model)  # plain: it loads with no import of ours


class _Skip(nn.Module):
    def forward(self, hidden: Tensor, *_: object, **__: object) -> Tensor:
        return hidden


def test_full_rank_is_the_model_itself(model: PreTrainedModel) -> None:
    full = {name: min(matrix.shape) for name, matrix in matrices(model).items()}
    assert len(full) == 3 * 6
    assert close(outputs(factorize(model, full)), outputs(model))


def test_word_vectors_of_low_rank_are_factorized_exactly(model: PreTrainedModel) -> None:
    table = model.get_input_embeddings().weight.data
    left, right = svd(table.clone(), 6)
    table.copy_(left @ right)
    thin = factorize_embedding(model, 6)
    assert close(outputs(thin), outputs(model))
    assert Shape.of(thin.config).embedding_size == 6


def test_the_first_layers_weights_serve_all_that_share_them(model: PreTrainedModel) -> None:
    same = copy.deepcopy(model)
    layers = encoder_layers(same)
    layers[1].attention.load_state_dict(layers[0].attention.state_dict())
    for part in ("intermediate", "output"):
        getattr(layers[2], part).load_state_dict(getattr(layers[1], part).state_dict())
    shared = share_layers(model, attention=[0, 0, 2], ffn=[0, 1, 1])
    assert close(outputs(shared), outputs(same))
    one = sum(weight.numel() for weight in layers[0].attention.parameters())
    other = sum(
        weight.numel() for part in ("intermediate", "output") for weight in getattr(layers[0], part).parameters()
    )
    assert parameters(shared) == parameters(model) - one - other


def test_shared_weights_can_start_from_the_average(model: PreTrainedModel) -> None:
    shared = share_layers(model, attention=[0, 0, 0], ffn=[0, 1, 2], start="average")
    weights = [layer.attention.self.key.weight for layer in encoder_layers(model)]
    assert torch.allclose(encoder_layers(shared)[0].attention.self.key.weight, torch.stack(weights).mean(0), atol=1e-6)


@pytest.mark.parametrize("what", SURGERY)
def test_a_checkpoint_gives_back_what_was_cut(model: PreTrainedModel, auto: type, what: str, tmp_path: Path) -> None:
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    cut = SURGERY[what](model)
    assert all(torch.equal(weight, model.state_dict()[name]) for name, weight in before.items())
    cut.save_pretrained(tmp_path)
    again, report = auto.from_pretrained(tmp_path, output_loading_info=True)  # type: ignore[attr-defined]
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert type(again) is type(cut)
    assert torch.equal(outputs(again.eval()), outputs(cut))
    assert parameters(cut) < parameters(model)


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize("what", SURGERY)
def test_every_shape_exports(what: str, family: str, tmp_path: Path) -> None:
    # export_onnx compares the graph's logits with the model's, on a shape that it was not traced on.
    export_onnx(SURGERY[what](model_for("classification", family)), tiny.tokenizer(), tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").stat().st_size > 0


def test_surgery_can_follow_surgery_in_any_order() -> None:
    model = model_for("classification", "bert")
    thin = factorize_embedding(slice_embedding(model, DIMENSIONS), 8)
    narrow = slice_ffn(slice_heads(factorize(model, {"1.output.dense": 5, "1.attention.self.value": 3}), HEADS), UNITS)
    assert close(outputs(drop_layers(narrow, [1])), outputs(drop_layers(drop_layers(narrow, [0, 1]), [1])))
    assert Shape.of(slice_embedding(thin, range(9)).config).embedding_size == 8
    shared = share_layers(model, [0, 0, 0], [0, 0, 0])
    assert Shape.of(slice_ffn(shared, [UNITS[0]] * 3).config).intermediate == (10, 10, 10)
    assert Shape.of(drop_layers(shared, [0, 2]).config).attention_of == (0, 0)


def test_a_width_that_is_the_same_everywhere_stays_a_plain_model() -> None:
    model = model_for("classification", "bert")
    narrow = slice_ffn(model, [range(16)] * 3)
    assert type(narrow) is type(model)
    assert narrow.config.intermediate_size == 16


def test_flops_fall_with_what_is_cut() -> None:
    model = model_for("classification", "bert")
    # A head costs 8·L·d·d_h in matrices and 4·L²·d_h in scores and sums; see `flops`.
    gone = sum(4 - len(heads) for heads in HEADS)
    assert flops(model, 8) - flops(slice_heads(model, HEADS), 8) == gone * (8 * 8 * 32 * 8 + 4 * 8 * 8 * 8)


def test_svd_leaves_the_energy_of_the_singular_values_that_go() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(12, 9)
    values = torch.linalg.svdvals(matrix)
    for rank in range(1, 10):
        left, right = svd(matrix, rank)
        assert torch.allclose((matrix - left @ right).square().sum(), values[rank:].square().sum(), atol=1e-4)


def test_weighted_svd_has_the_smaller_weighted_error() -> None:
    torch.manual_seed(0)
    matrix, importance = torch.randn(12, 9), torch.rand(12) + 0.01
    for rank in (1, 3, 6):
        errors = {}
        for name, weights in (("plain", None), ("weighted", importance)):
            left, right = svd(matrix, rank, weights)
            errors[name] = (importance[:, None] * (matrix - left @ right)).square().sum()
        assert errors["weighted"] < errors["plain"]


def test_a_rank_saves_below_mn_over_m_plus_n() -> None:
    assert saves(12, 6, 3) and not saves(12, 6, 4)  # 72 / 18 = 4


def test_layers_that_are_factorized_hold_a_factorized_table_only() -> None:
    thin = factorize_embedding(model_for("masked LM", "bert"), 8)
    words = thin.get_input_embeddings()
    assert isinstance(words, FactorizedEmbedding)
    assert (words.num_embeddings, words.embedding_dim) == (thin.config.vocab_size, 32)
    assert not any(name.endswith("decoder.weight") for name in thin.state_dict())


@pytest.mark.parametrize(
    ("cut", "words"),
    [
        (lambda m: slice_heads(m, [[0], [], [1]]), "heads of layer 1: none is kept"),
        (lambda m: slice_heads(m, [[0], [1]]), "2 lists for 3 layers"),
        (lambda m: slice_heads(m, [[0], [4], [1]]), r"\[4\] are not among 0 to 3"),
        (lambda m: slice_ffn(m, [[0], [1], [1, 1]]), "named twice"),
        (lambda m: slice_embedding(m, []), "none is kept"),
        (lambda m: drop_layers(m, [0, 3]), r"\[3\] are not among 0 to 2"),
        (lambda m: drop_layers(m, [0, 0]), "name each once"),
        (lambda m: drop_layers(m, []), "none is kept"),
        (lambda m: drop_layers(share_layers(m, [0, 0, 2], [0, 1, 2]), [1, 2]), "uses the weights of layer 0"),
        (lambda m: share_layers(m, [0, 0], [0, 1, 2]), "2 entries for 3 layers"),
        (lambda m: share_layers(m, [1, 0, 2], [0, 1, 2]), "must use a layer that has its own"),
        (lambda m: share_layers(slice_heads(m, HEADS), [0, 0, 0], [0, 1, 2]), "share weights but not their width"),
        (lambda m: slice_heads(share_layers(m, [0, 0, 0], [0, 1, 2]), HEADS), "keep the same of both"),
        (lambda m: share_layers(m, [0, 0, 0], [0, 1, 2], start="last"), "start = 'last'"),
        (lambda m: factorize(m, {"0.attention.self.query": 33}), "rank = 33 .* must be from 1 to 32"),
        (lambda m: factorize(m, {"0.attention.self.quarry": 3}), "no matrix of its own"),
        (lambda m: factorize_embedding(m, 32), "must be from 1 to 31"),
        (lambda m: factorize_embedding(factorize_embedding(m, 8), 4), "factorized already"),
    ],
)
def test_impossible_surgery_is_refused(cut: Callable[[PreTrainedModel], PreTrainedModel], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        cut(model_for("classification", "bert"))
    assert "\n" not in str(caught.value)


def test_a_family_that_surgery_does_not_know_is_refused() -> None:
    with pytest.raises(InputError, match="model family 'electra' is not one of"):
        slice_heads(tiny.other_family("electra"), [[0], [0]])
