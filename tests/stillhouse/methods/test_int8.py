"""Eight-bit rounding, quantization-aware training, and the checkpoint that comes out."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from transformers import AutoModelForSequenceClassification, BertConfig, BertForMaskedLM

from stillhouse.encoders import measure
from stillhouse.encoders.checkpoint import load_model
from stillhouse.errors import InputError
from stillhouse.methods import int8
from stillhouse.models.quantized_modules import (
    QuantizedLinear,
    grid,
    restore_rows,
    round_activation,
    round_rows,
    tensor_range,
)
from stillhouse.onnx.export import export_onnx
from stillhouse.onnx.sessions import feed, open_session
from stillhouse.surgery import (
    dequantize,
    drop_layers,
    factorize,
    factorize_embedding,
    quantize,
    quantizing,
    share_layers,
    slice_embedding,
    slice_ffn,
    slice_heads,
)
from tests import tiny


def batch() -> dict[str, torch.Tensor]:
    ids = torch.randint(5, 33, (4, 7), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}


@torch.no_grad()
def logits(model) -> torch.Tensor:
    return model(**batch()).logits


def onnx_logits(model, file) -> np.ndarray:
    export_onnx(model, tiny.tokenizer(), file)
    session = open_session(file, threads=1)
    return session.run(None, feed(session, {name: tensor.numpy() for name, tensor in batch().items()}))[0]


def small():
    """Sliced heads and FFN, a factorized matrix, factorized word vectors, shared layers: all that surgery does."""
    model = share_layers(tiny.bert(layers=3), [0, 0, 2], [0, 1, 1])
    model = slice_ffn(slice_heads(model, [[0, 1], [0, 1], [1, 2, 3]]), [[*range(40)], [*range(32)], [*range(32)]])
    return factorize_embedding(factorize(model, {"0.attention.self.query": 6, "2.attention.self.key": 5}), 8)


MODELS = {"bert": tiny.bert, "roberta": lambda: tiny.other_family("roberta"), "after surgery": small}


def trained(model, **options):
    """A fake-quantized copy that has seen two batches."""
    fake = int8.fake_quantize(model, embeddings=True, momentum=0.5, **options).train()
    for _ in range(2):
        fake(**batch())
    return fake.eval()


# ---------------------------------------------------------------- rounding


def test_a_weight_is_off_by_half_a_scale_at_most_and_integers_are_symmetric():
    weight = torch.randn(6, 50) * torch.logspace(-3, 1, 6)[:, None]
    integers, scale = round_rows(weight)
    assert (restore_rows(integers, scale) - weight).abs().le(scale[:, None] / 2 * 1.0001).all()
    assert integers.abs().amax(1).eq(127).all()
    assert torch.equal(round_rows(-weight)[0], -integers)


def test_each_row_has_a_scale_of_its_own():
    weight = torch.tensor([[1.0, -127.0], [0.5, 0.01]])
    assert torch.allclose(round_rows(weight)[1], torch.tensor([1.0, 0.5 / 127]))


def test_a_row_of_zeros_stays_zeros():
    integers, scale = round_rows(torch.zeros(2, 3))
    assert not integers.any() and scale.eq(1).all()


def test_a_reduced_range_leaves_a_bit_free():
    model = quantize(tiny.bert(), reduce_range=True)
    found = [p.abs().max().item() for p in model.parameters() if p.dtype == torch.int8]
    assert max(found) == 63


def test_rounding_twice_is_rounding_once():
    integers, scale = round_rows(torch.randn(5, 40))
    again, same = round_rows(restore_rows(integers, scale))
    assert torch.equal(again, integers) and torch.allclose(same, scale)


@pytest.mark.parametrize("low", [-3.0, -0.1, 0.0])
def test_zero_is_exact_and_the_error_half_a_scale_at_most(low):
    x = torch.linspace(low, 5.0, 1001)
    scale, zero_point = grid(*tensor_range(x))
    assert zero_point == zero_point.round() and 0 <= zero_point <= 255
    assert round_activation(torch.zeros(1), scale, zero_point).item() == 0
    # The zero point is rounded as well, so the ends of the range may lie half a step outside.
    error = (round_activation(x, scale, zero_point) * scale - x).abs()
    assert error.max() <= scale * 1.0001 and error[10:-10].max() <= scale / 2 * 1.001


def test_the_range_of_a_tensor_includes_zero():
    assert [bound.item() for bound in tensor_range(torch.tensor([2.0, 3.0]))] == [0.0, 3.0]


def test_an_int8_layer_is_the_product_of_the_integers_times_the_scales():
    layer, x = QuantizedLinear(16, 5, "int8", "dynamic"), torch.randn(3, 16)
    integers, scale = round_rows(torch.randn(5, 16))
    layer.weight.data, layer.scale = integers, scale
    step = (x.max().clamp(min=0) - x.min().clamp(max=0)) / 255
    zero = (-x.min() / step).round()
    rounded = ((x / step).round() + zero).clamp(0, 255).long()
    wanted = ((rounded - zero.long()) @ integers.long().T).double() * (step * scale).double()
    assert torch.allclose(layer(x).double(), wanted, rtol=1e-5)


# ---------------------------------------------------------------- straight-through gradients


def test_the_gradient_of_a_rounded_activation_is_one_inside_the_range_and_zero_outside():
    scale, zero_point = grid(torch.tensor(-1.0), torch.tensor(2.0))
    x = torch.tensor([-5.0, -0.9, 0.0, 0.3, 1.9, 7.0], requires_grad=True)
    (int8.straight_through_activation(x, scale, zero_point) * scale).sum().backward()
    assert torch.allclose(x.grad, torch.tensor([0.0, 1.0, 1.0, 1.0, 1.0, 0.0]))


def test_the_gradient_of_a_rounded_weight_is_one():
    weight = torch.randn(3, 4, requires_grad=True)
    integers, scale = int8.straight_through_rows(weight)
    (integers * scale[:, None]).sum().backward()
    assert torch.allclose(weight.grad, torch.ones(3, 4))


def test_a_fake_quantized_layers_gradients_are_those_of_the_rounded_product():
    layer = int8.FakeQuantizedLinear(nn.Linear(6, 4), momentum=0.5).eval()
    layer.low.fill_(-9.0)
    layer.high.fill_(9.0)
    x = torch.randn(5, 6, requires_grad=True)
    layer(x).sum().backward()
    scale, zero = grid(layer.low, layer.high)
    rounded = round_activation(x, scale, zero) * scale
    restored = restore_rows(*round_rows(layer.weight))
    assert torch.allclose(x.grad, restored.sum(0).expand(5, 6), atol=1e-5)
    assert torch.allclose(layer.weight.grad, rounded.sum(0).expand(4, 6), atol=1e-5)


def test_ranges_move_in_training_alone_and_the_first_batch_sets_them():
    layer = int8.FakeQuantizedLinear(nn.Linear(1, 1), momentum=0.75)
    layer(torch.tensor([[-1.0], [4.0]]))
    assert (layer.low.item(), layer.high.item()) == (-1.0, 4.0)
    layer(torch.tensor([[-2.0], [8.0]]))
    assert (layer.low.item(), layer.high.item()) == (-1.25, 5.0)
    layer.eval()(torch.tensor([[100.0]]))
    assert layer.high.item() == 5.0


def test_ranges_are_in_the_state_that_a_checkpoint_keeps():
    state = trained(tiny.bert()).state_dict()
    assert state["bert.encoder.layer.0.output.dense.high"] > 0


def test_rounded_word_vectors_are_those_of_the_rounded_table():
    table = nn.Embedding(9, 5)
    ids = torch.tensor([[1, 4], [8, 1]])
    wanted = F.embedding(ids, restore_rows(*round_rows(table.weight)))
    assert torch.equal(int8.FakeQuantizedEmbedding(table)(ids), wanted)


# ---------------------------------------------------------------- models


@pytest.mark.parametrize("name", MODELS)
def test_a_trained_models_logits_are_those_of_its_checkpoint(name):
    fake = trained(MODELS[name]())
    assert (logits(int8.convert(fake)) - logits(fake)).abs().max() < 1e-4


def test_reduced_training_is_converted_with_a_reduced_range():
    fake = trained(tiny.bert(), reduce_range=True)
    whole = int8.convert(fake)
    assert (logits(whole) - logits(fake)).abs().max() < 1e-4
    assert max(p.abs().max().item() for p in whole.parameters() if p.dtype == torch.int8) == 63


def test_training_that_has_seen_nothing_is_not_converted():
    with pytest.raises(InputError, match="has seen no batch"):
        int8.convert(int8.fake_quantize(tiny.bert(), embeddings=True, momentum=0.9))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("static", [False, True], ids=["dynamic", "static"])
def test_a_quantized_model_is_near_its_own_and_leaves_it_as_it_was(name, static):
    model = MODELS[name]()
    before, wanted = {k: v.clone() for k, v in model.state_dict().items()}, logits(model)
    given = logits(quantize(model, ranges=int8.calibrate(model, [batch()], None) if static else None))
    assert 0 < (given - wanted).abs().max() < 0.1 * wanted.abs().max()
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("static", [False, True], ids=["dynamic", "static"])
def test_onnx_gives_the_models_logits_and_holds_the_checkpoints_integers(name, static, tmp_path):
    import onnx
    from onnx import numpy_helper

    model = MODELS[name]()
    whole = quantize(model, ranges=int8.calibrate(model, [batch()], None) if static else None)
    moved = (logits(whole) - logits(dequantize(whole))).abs().max().item()
    given = onnx_logits(whole, tmp_path / "model.onnx")
    assert np.abs(given - logits(whole).numpy()).max() <= moved
    graph = onnx.load(tmp_path / "model.onnx").graph
    found = [numpy_helper.to_array(each) for each in graph.initializer]
    found += [numpy_helper.to_array(node.attribute[0].t) for node in graph.node if node.op_type == "Constant"]
    integers = [array for array in found if array.dtype == np.int8]
    ours = [p.numpy() for p in whole.parameters() if p.dtype == torch.int8]
    same = [any(np.array_equal(each, mine) or np.array_equal(each.T, mine) for each in integers) for mine in ours]
    assert len(same) > 10 and all(same)
    kinds = {node.op_type for node in graph.node}
    assert "MatMulInteger" in kinds and "Gemm" not in kinds
    assert kinds & {"QuantizeLinear", "DynamicQuantizeLinear"} == {("" if static else "Dynamic") + "QuantizeLinear"}


def test_static_logits_of_a_sentence_do_not_depend_on_its_neighbours():
    model = tiny.bert()
    whole = quantize(model, ranges=int8.calibrate(model, [batch()], None))
    alone = {name: tensor[2:3] for name, tensor in batch().items()}
    with torch.no_grad():
        assert torch.allclose(whole(**alone).logits, logits(whole)[2:3], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["after surgery", "bert", "roberta"])
def test_a_checkpoint_gives_the_same_logits_in_a_fresh_process(name, tmp_path):
    whole = int8.convert(trained(MODELS[name]()))
    tiny.save(whole, tmp_path)
    torch.save(batch(), tmp_path / "batch.pt")
    script = (
        "import sys, torch, stillhouse; from transformers import AutoModelForSequenceClassification as Auto\n"
        "model = Auto.from_pretrained(sys.argv[1], dtype='float32').eval()\n"
        "assert any(p.dtype == torch.int8 for p in model.parameters())\n"
        "with torch.no_grad(): torch.save(model(**torch.load(sys.argv[1] + '/batch.pt')).logits, sys.argv[2])"
    )
    out = tmp_path / "logits.pt"
    subprocess.run([sys.executable, "-c", script, str(tmp_path), str(out)], check=True, capture_output=True)
    assert torch.equal(torch.load(out), logits(whole))
    config = load_model(tmp_path, AutoModelForSequenceClassification).config
    assert config.quantization == {"weights": "int8", "embeddings": True, "activations": "static"}


def test_with_the_word_vectors_the_file_is_near_a_quarter_and_without_them_it_is_not(tmp_path):
    torch.manual_seed(0)
    shape = {"hidden_size": 128, "num_attention_heads": 4, "intermediate_size": 512, "max_position_embeddings": 32}
    model = tiny.BertForSequenceClassification(BertConfig(vocab_size=8000, num_hidden_layers=2, **shape))

    def size(name: str, each) -> int:
        tiny.save(each, tmp_path / name)
        return measure.checkpoint_bytes(tmp_path / name)

    whole = size("whole", model)
    assert whole / size("all", quantize(model)) > 3.7
    assert whole / size("layers", quantize(model, embeddings=False)) < 1.6


def test_parameters_and_flops_are_counted_as_before():
    model = tiny.bert()
    whole = quantize(model)
    assert measure.parameters(whole) == measure.parameters(model)
    assert measure.flops(whole, 8) == measure.flops(model, 8)
    assert measure.nonzero_parameters(whole) <= measure.nonzero_parameters(model)


def test_a_dequantized_model_has_the_rounded_weights():
    model = tiny.bert()
    back = dequantize(quantize(model))
    assert type(back) is type(model)
    weight = model.bert.encoder.layer[1].output.dense.weight
    assert torch.equal(back.bert.encoder.layer[1].output.dense.weight, restore_rows(*round_rows(weight)))
    assert dequantize(model) is model


@pytest.mark.parametrize(
    "change",
    [
        lambda model: slice_heads(model, [[0], [0]]),
        lambda model: slice_ffn(model, [[0], [0]]),
        lambda model: slice_embedding(model, [0, 1]),
        lambda model: drop_layers(model, [0]),
        lambda model: share_layers(model, [0, 0], [0, 0]),
        lambda model: factorize(model, {"0.attention.self.query": 2}),
        lambda model: factorize_embedding(model, 2),
        quantize,
        lambda model: int8.fake_quantize(model, embeddings=True, momentum=0.9),
    ],
)
def test_a_quantized_model_is_not_changed_further(change):
    with pytest.raises(InputError, match=r"the model is quantized \(int8\): change its shape first, then quantize"):
        change(quantize(tiny.bert()))


def test_calibration_takes_the_extremes_or_a_moving_average():
    model, rows = tiny.bert(), batch()
    halves = [{name: tensor[part] for name, tensor in rows.items()} for part in (slice(2), slice(2, 4))]
    name = "bert.encoder.layer.0.intermediate.dense"
    one, two = (int8.calibrate(model, [half], None)[name] for half in halves)
    both = int8.calibrate(model, halves, None)[name]
    assert both == pytest.approx((min(one[0], two[0]), max(one[1], two[1])))
    mixed = int8.calibrate(model, halves, 0.25)[name]
    assert mixed == pytest.approx((0.25 * one[0] + 0.75 * two[0], 0.25 * one[1] + 0.75 * two[1]))


def test_empty_calibration_data_are_refused():
    with pytest.raises(InputError, match="no rows to calibrate on"):
        int8.calibrate(tiny.bert(), [], None)


def test_a_layer_without_a_range_is_refused():
    with pytest.raises(InputError, match=r"query' has no calibrated range"):
        quantize(tiny.bert(), ranges={})


def test_a_masked_lm_is_refused():
    with pytest.raises(InputError, match="'BertForMaskedLM' predicts words"):
        quantize(BertForMaskedLM(tiny.bert().config))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"weights": "int4", "embeddings": True, "activations": "dynamic"}, "weights = 'int4' is not one of"),
        ({"weights": "int8", "embeddings": True, "activations": None}, "activations = 'None' of int8"),
        ({"weights": "float8", "embeddings": True, "activations": "static"}, "activations = 'static' of float8"),
        (
            {"weights": "int8", "bits": 4},
            "states bits, weights: it takes weights, embeddings",
        ),
    ],
)
def test_a_config_of_no_such_quantization_is_refused(fields, message, tmp_path):
    whole = quantize(tiny.bert())
    whole.config.quantization = fields
    with pytest.raises(InputError, match=message):
        type(whole)(whole.config)


# ---------------------------------------------------------------- float8


def test_float8_is_refused_where_the_device_has_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"needs a CUDA device of capability 8.9 or more \(there is none\)"):
        quantize(tiny.bert(), weights="float8")


@pytest.mark.parametrize(("capability", "fits"), [((8, 0), False), ((8, 9), True), ((9, 0), True)])
def test_float8_wants_capability_8_9(capability, fits, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    if fits:
        quantizing.check_float8()
    else:
        with pytest.raises(InputError, match=r"this one has 8\.0"):
            quantizing.check_float8()


def test_float8_weights_are_within_a_sixteenth_and_survive_the_file_and_export(monkeypatch, tmp_path):
    monkeypatch.setattr(quantizing, "check_float8", lambda: None)
    model = tiny.bert()
    whole = quantize(model, weights="float8")
    tiny.save(whole, tmp_path)
    back = load_model(tmp_path, AutoModelForSequenceClassification)
    weight = back.bert.encoder.layer[0].output.dense
    assert weight.weight.dtype == torch.float8_e4m3fn
    exact = model.bert.encoder.layer[0].output.dense.weight
    error = (restore_rows(weight.weight, weight.scale) - exact).abs()
    # Three bits after the point; below 2^-6 of the range's unit the steps are even.
    assert (error <= exact.abs() / 16 + weight.scale[:, None] * 2**-10).all()
    assert torch.equal(logits(back), logits(whole))
    assert np.abs(onnx_logits(back, tmp_path / "model.onnx") - logits(back).numpy()).max() < 1e-4
    assert measure.nonzero_parameters(back) > 0
