"""What every family promises: its parts are where its file says, and what is cut gives what is masked."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from stillhouse.encoders.capture import ScoreCapture
from stillhouse.encoders.families import encoder_layers, keep_first_layers, layer_blocks
from stillhouse.encoders.fits import misfits
from stillhouse.encoders.mlm_head import start_head, vocabulary_logits
from stillhouse.encoders.student import build_student, give_head
from stillhouse.encoders.teacher import FrozenTeacher
from stillhouse.errors import InputError
from stillhouse.families.find import COMPACT_FAMILIES, FAMILIES, family_of
from stillhouse.methods.layerdrop import only_layers
from stillhouse.models.shape import Shape
from stillhouse.onnx.export import export_onnx
from stillhouse.surgery import (
    dequantize,
    drop_layers,
    factorize,
    factorize_embedding,
    quantize,
    share_layers,
    slice_embedding,
    slice_ffn,
    slice_heads,
)
from stillhouse.surgery.factorizing import matrices
from stillhouse.surgery.gates import gate_sizes, gated, masks
from stillhouse.training.masking import logits_at
from tests.families import IDS, MASK, model, tokenizer
from tests.shapes import DIMENSIONS, HEADS, UNITS

SLICED = {"heads": slice_heads, "units": slice_ffn, "dimensions": lambda whole, keep: slice_embedding(whole, keep[0])}
KEPT = {"heads": HEADS, "units": UNITS, "dimensions": [DIMENSIONS]}
INPUTS = {"input_ids": IDS, "attention_mask": MASK}
REAL = MASK.bool()
NEW = [name for name in FAMILIES if name not in ("bert", "roberta", "xlm-roberta", "camembert", "electra")]
APART = [name for name in FAMILIES if name != "albert"]  # whose layers are
SHAPED = [name for name in COMPACT_FAMILIES if name != "albert"]


@torch.no_grad()
def outputs(encoder: PreTrainedModel) -> Tensor:
    """Logits; where each token has some, those of the tokens that are not padding."""
    logits = encoder(**INPUTS).logits
    return logits if logits.dim() == 2 else logits[REAL]


def close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, atol=1e-5)


def test_ten_families_are_known() -> None:
    assert len(FAMILIES) == 10 and len(COMPACT_FAMILIES) == 9 and len(NEW) == 5


@pytest.mark.parametrize("name", FAMILIES)
def test_captured_scores_are_what_the_softmax_reads(name: str) -> None:
    whole = model(name, layers=3)
    before = outputs(whole)
    capture = ScoreCapture(whole, [0, 2])
    assert close(outputs(whole), before), "watching changes nothing"
    assert sorted(capture.scores) == [0, 2]
    plain = model(name, layers=3)
    plain.set_attn_implementation("eager")
    with torch.no_grad():
        wanted = plain(**INPUTS, output_attentions=True).attentions
    for layer, scores in capture.scores.items():
        assert scores.shape == (2, 4, 7, 7)
        window = family_of(whole).window(whole, layer)
        far = (torch.arange(7)[:, None] - torch.arange(7)).abs() > (7 if window is None else window)
        seen = scores.masked_fill(~REAL[:, None, None] | far, torch.finfo(torch.float).min).softmax(-1)
        rows = REAL[:, None].expand(2, 4, 7)
        assert torch.allclose(seen[rows], wanted[layer][rows], atol=1e-5)
        assert window is None or scores[..., far].eq(0).all()


@pytest.mark.parametrize("name", FAMILIES)
def test_a_teacher_that_is_cut_has_the_states_of_the_whole_one(name: str) -> None:
    with torch.no_grad():
        whole = model(name, layers=3)(**INPUTS, output_hidden_states=True).hidden_states
    cut = FrozenTeacher(model(name, layers=3), 2, [])(INPUTS).hidden
    assert len(whole) == 4 and len(cut) == 3
    assert all(close(one[REAL], other[REAL]) for one, other in zip(cut, whole, strict=False))
    lower = keep_first_layers(model(name, layers=3), 2).base_model
    assert close(lower(**INPUTS).last_hidden_state[REAL], whole[2][REAL])


@pytest.mark.parametrize("name", FAMILIES)
def test_students_are_made_of_layers_or_at_random_in_any_shape(name: str) -> None:
    teacher = model(name, layers=3)
    assert close(outputs(build_student(teacher, layers=3, source_layers=[1, 2, 3], seed=0)), outputs(teacher))
    taken = build_student(teacher, layers=2, source_layers=[1, 3], seed=0)
    if name in APART:
        for ours, theirs in ((0, 0), (1, 2)):
            weights = encoder_layers(taken)[ours].state_dict()
            given = encoder_layers(teacher)[theirs].state_dict()
            assert all(torch.equal(weight, given[key]) for key, weight in weights.items())
        with only_layers(teacher, [0, 2]):
            assert close(outputs(taken), outputs(teacher))
    other = build_student(teacher, layers=4, hidden_size=16, heads=2, intermediate_size=20, source_layers=None, seed=0)
    assert outputs(other).isfinite().all()
    assert close(outputs(give_head(taken.base_model, teacher, seed=0)), outputs(taken))
    assert outputs(give_head(other.base_model, teacher, seed=0)).shape == (2, 2)


@pytest.mark.parametrize("name", NEW)
def test_a_masked_lm_has_its_head_apart_from_its_encoder(name: str) -> None:
    masked = model(name, "ForMaskedLM")
    with torch.no_grad():
        hidden = masked.base_model(**INPUTS).last_hidden_state[REAL]
        assert close(vocabulary_logits(masked, hidden), outputs(masked))
        assert close(logits_at(masked, INPUTS, REAL), outputs(masked))
    before = outputs(masked)
    start_head(masked, torch.arange(33))
    assert not close(outputs(masked), before)
    with pytest.raises(InputError, match="has no masked-LM head"):
        vocabulary_logits(model(name), hidden)


@pytest.mark.parametrize("kind", KEPT)
@pytest.mark.parametrize("name", [name for name in NEW if name in SHAPED])
@pytest.mark.parametrize("head", ["ForSequenceClassification", "ForTokenClassification", "ForMaskedLM"])
def test_what_is_sliced_gives_what_is_masked(name: str, kind: str, head: str) -> None:
    whole = model(name, head, layers=3)
    sliced = SLICED[kind](whole, KEPT[kind])
    with gated(whole, masks({kind: KEPT[kind]}, gate_sizes(whole))):
        assert close(outputs(sliced), outputs(whole))
    assert not close(outputs(sliced), outputs(whole))
    assert type(sliced).__name__ == f"Compact{type(whole).__name__}"


def test_alberts_layer_is_sliced_once_for_all() -> None:
    whole = model("albert", layers=3)
    masked = copy.deepcopy(whole)
    (layer,) = layer_blocks(masked)
    layer.attention.dense.weight.data.view(32, 4, 8)[:, [1, 3]] = 0
    assert close(outputs(slice_heads(whole, [[0, 2]] * 3)), outputs(masked))
    masked = copy.deepcopy(whole)
    (layer,) = layer_blocks(masked)
    layer.ffn_output.weight.data[:, 5:] = 0
    assert close(outputs(slice_ffn(whole, [[0, 1, 2, 3, 4]] * 3)), outputs(masked))
    with pytest.raises(InputError, match="heads: layers 0 and 1 share them"):
        slice_heads(whole, HEADS)


@pytest.mark.parametrize("keep", [[0, 2], [1, 2]])
@pytest.mark.parametrize("name", [name for name in NEW if name in SHAPED])
def test_dropped_layers_give_what_skipped_ones_give(name: str, keep: list[int]) -> None:
    whole = model(name, layers=3)
    dropped = drop_layers(whole, keep)
    with only_layers(whole, keep):
        assert close(outputs(dropped), outputs(whole))
    assert not close(outputs(dropped), outputs(whole))
    # The first layer of a ModernBERT has no LayerNorm before its attention, what is now the first keeps its own.
    assert Shape.of(dropped.config).plain == (name != "modernbert" or keep[0] == 0)


@pytest.mark.parametrize("name", NEW)
def test_matrices_of_full_rank_are_the_model_itself(name: str) -> None:
    whole = model(name, layers=2)
    full = {matrix: min(weight.shape) for matrix, weight in matrices(whole).items()}
    layers = 1 if name == "albert" else 2
    assert len(full) == layers * len([m for m in family_of(whole).matrices.values() if not m.optional])
    assert close(outputs(factorize(whole, full)), outputs(whole))


def cuts(name: str) -> dict[str, PreTrainedModel]:
    """A family's model in all shapes that it can have."""
    whole = model(name, layers=3)
    made = {"int8": quantize(whole)}
    if name == "albert":
        return made | {"heads": slice_heads(whole, [[1]] * 3), "matrix": factorize(whole, {"0.ffn": 3})}
    first, second = (f"{layer}.{family_of(whole).gated(kind)}" for layer, kind in ((0, "heads"), (1, "units")))
    small = slice_ffn(slice_heads(drop_layers(whole, [1, 2]), [[0, 2], [1]]), UNITS[:2])
    thin = factorize_embedding(factorize(slice_embedding(small, DIMENSIONS), {first: 5, second: 3}), 8)
    return made | {
        "sharing": share_layers(whole, attention=[0, 0, 2], ffn=[0, 1, 1]),
        "average": share_layers(whole, attention=[1, 1, 1], ffn=[0, 0, 0], start="average"),
        "all of it": thin,
        "all of it, in int8": quantize(thin),
    }


@pytest.mark.parametrize("name", NEW)
def test_a_checkpoint_gives_back_what_was_cut(name: str, tmp_path: Path) -> None:
    made = cuts(name)
    for what, cut in made.items():
        cut.save_pretrained(tmp_path / what)
        again, report = AutoModelForSequenceClassification.from_pretrained(tmp_path / what, output_loading_info=True)
        assert not report["missing_keys"] and not report["unexpected_keys"], what
        assert type(again) is type(cut) and close(outputs(again.eval()), outputs(cut)), what
    whole = dequantize(made["int8"])
    plain = model(name, layers=3)
    assert type(whole) is type(plain)
    assert whole.config.to_dict() | {"dtype": None} == plain.config.to_dict()


@pytest.mark.parametrize("name", NEW)
def test_graphs_agree_with_torch(name: str, tmp_path: Path) -> None:
    # export_onnx compares the logits on a shape that it was not traced on.
    export_onnx(model(name), tokenizer(name), tmp_path / "plain.onnx")
    made = cuts(name)
    export_onnx(list(made.values())[-1], tokenizer(name), tmp_path / "cut.onnx")


@pytest.mark.parametrize(
    ("name", "changes", "cut", "line"),
    [
        ("albert", {}, lambda m: slice_embedding(m, [0]), "its embeddings are of another width than its layers"),
        ("albert", {}, lambda m: drop_layers(m, [0]), "again and again: none can be dropped"),
        ("albert", {}, lambda m: share_layers(m, [0, 0], [0, 0]), "they are shared already"),
        ("albert", {}, lambda m: factorize_embedding(m, 4), "factorized by embedding_size already"),
        ("albert", {}, encoder_layers, "none can be skipped, replaced or shared by itself"),
        ("albert", {"num_hidden_groups": 2}, quantize, "num_hidden_groups = 2: an ALBERT of one layer is known here"),
        ("deberta-v2", {"norm_rel_ebd": "none"}, lambda m: slice_embedding(m, [0]), "norm_rel_ebd is no layer_norm"),
        ("deberta-v2", {"legacy": False}, lambda m: factorize_embedding(m, 4), "legacy = false has a head"),
        ("deberta-v2", {"conv_kernel_size": 3}, lambda m: drop_layers(m, [1]), "a convolution stands beside layer 0"),
        ("deberta-v2", {"embedding_size": 16}, quantize, "embedding_size = 16 is not its hidden_size = 32"),
    ],
)
def test_what_an_architecture_forbids_is_one_line(name: str, changes: dict, cut, line: str) -> None:
    with pytest.raises(InputError) as refused:
        cut(model(name, **changes))
    assert line in str(refused.value) and "\n" not in str(refused.value)


def test_the_largest_of_debertas_keeps_its_own_matrices_and_convolution() -> None:
    changes = {"share_att_key": False, "conv_kernel_size": 3, "conv_act": "gelu"}
    whole = model("deberta-v2", layers=3, **changes)
    assert len(matrices(whole)) == 3 * 8
    for kind, keep in KEPT.items():
        with gated(whole, masks({kind: keep}, gate_sizes(whole))):
            assert close(outputs(SLICED[kind](whole, keep)), outputs(whole)), kind
    capture = ScoreCapture(whole, [1])
    plain = model("deberta-v2", layers=3, **changes)
    outputs(whole)
    with torch.no_grad():
        wanted = plain(**INPUTS, output_attentions=True).attentions[1]
    seen = capture.scores[1].masked_fill(~REAL[:, None, None], torch.finfo(torch.float).min).softmax(-1)
    assert torch.allclose(seen[:1], wanted[:1], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "longest"), [("distilbert", 66), ("mpnet", 64), ("deberta-v2", 66), ("modernbert", 66), ("albert", 66)]
)
def test_a_text_longer_than_the_positions_is_one_line(name: str, longest: int) -> None:
    config = model(name).config.to_dict()
    assert list(misfits(config, tokenizer(name), {"train.max_length": longest}, pair=True)) == []
    (line,) = misfits(config, tokenizer(name), {"train.max_length": longest + 1}, pair=True)
    assert line == f"train.max_length = {longest + 1}, but it reads {longest} tokens at most: lower train.max_length"
    with torch.no_grad():
        ids = torch.full((1, longest), 7)
        assert model(name)(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.isfinite().all()


@pytest.mark.parametrize("name", ["distilbert", "mpnet", "deberta-v2", "modernbert"])
def test_a_model_without_token_types_takes_a_tokenizer_that_gives_them(name: str) -> None:
    typed = tokenizer("bert")
    assert list(misfits(model(name).config.to_dict(), typed, {}, pair=True)) == []
    types = torch.cat([torch.zeros_like(IDS[:, :3]), torch.ones_like(IDS[:, 3:])], 1)
    with torch.no_grad():
        assert close(model(name)(**INPUTS, token_type_ids=types).logits, outputs(model(name)))
