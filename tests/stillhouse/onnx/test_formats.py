"""Each format gives the model's outputs, is as small as it says, and runs in the runtimes that it is for."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from transformers import BertForQuestionAnswering, PreTrainedModel

from stillhouse.errors import InputError
from stillhouse.methods.int8 import calibrate
from stillhouse.models.quantized_modules import restore_rows, round_rows
from stillhouse.onnx.formats import FORMATS, write_format
from stillhouse.onnx.pairs import PairedEmbedding, PairedLinear, with_pairs
from stillhouse.onnx.runtimes import RUNTIMES
from stillhouse.onnx.sessions import feed, open_session, predict_onnx
from stillhouse.surgery import dequantize, factorize_embedding, quantize, share_layers
from stillhouse.training.batches import collate
from stillhouse.training.predict import predict
from tests import tiny

TOKENIZER = tiny.tokenizer()
HERE = [
    (name, place) for name, form in FORMATS.items() for place in form.runtimes if place in ("onnxruntime", "openvino")
]
STUDENTS = {
    "bert": lambda: tiny.bert(),
    "int8": lambda: quantize(tiny.bert()),
    "factorized": lambda: factorize_embedding(tiny.bert(), 8),
    "shared": lambda: share_layers(tiny.bert(layers=4), [0, 0, 2, 2], [0, 0, 2, 2]),
}


def rows(count: int = 24) -> list[dict]:
    return [{"input_ids": ids} for ids in TOKENIZER(tiny.sentences(count)[0])["input_ids"]]


def ranges_of(model: PreTrainedModel) -> dict:
    return calibrate(model, [collate(rows(), TOKENIZER.pad_token_id)], None)


def write(name: str, model: PreTrainedModel, file: Path) -> Path:
    write_format(name, model, TOKENIZER, file, ranges=ranges_of(dequantize(model)))
    return file


@pytest.mark.parametrize("student", STUDENTS)
@pytest.mark.parametrize(("name", "place"), HERE)
def test_a_format_gives_the_models_logits_in_its_runtime(name, place, student, tmp_path):
    assert RUNTIMES[place].missing() is None
    model = STUDENTS[student]().eval()
    session = RUNTIMES[place].open(write(name, model, tmp_path / "a.onnx"), threads=1)
    assert [each.name for each in session.get_outputs()] == ["logits"]
    given = predict_onnx(session, rows(), TOKENIZER, batch_size=7)
    wanted = predict(model, rows(), TOKENIZER, batch_size=7)
    spread = float(wanted.max() - wanted.min())
    exact = name == "fp32" and student != "int8"
    assert np.abs(given - wanted).max() < (1e-4 if exact else 0.1 * spread)


def test_half_precision_is_half_the_bytes_and_gives_fp32_logits(tmp_path):
    model = tiny.bert(seed=3)
    sizes = {name: write(name, model, tmp_path / name).stat().st_size for name in ("fp32", "fp16")}
    weights = sum(each.numel() for each in model.parameters())
    assert sizes["fp32"] - sizes["fp16"] == pytest.approx(2 * weights, rel=0.1)
    graph = onnx.load(tmp_path / "fp16").graph
    assert graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    given = predict_onnx(open_session(tmp_path / "fp16", threads=1), rows(), TOKENIZER, batch_size=8)
    assert np.abs(given - predict(model, rows(), TOKENIZER, batch_size=8)).max() < 1e-2


def test_every_linear_layer_and_the_word_vectors_are_symmetric_pairs(tmp_path):
    model = tiny.bert()
    words = model.get_input_embeddings()
    linear = sum(isinstance(part, torch.nn.Linear) for part in model.modules())
    graph = onnx.load(write("int8-qdq", model, tmp_path / "a.onnx")).graph
    operators = [node.op_type for node in graph.node]
    assert operators.count("QuantizeLinear") == linear
    assert operators.count("DequantizeLinear") == 2 * linear + 1
    held = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    held |= {node.output[0]: held[node.input[0]] for node in graph.node if node.op_type == "Identity"}  # of equal ones
    zeros = [held[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"]
    assert all(zero.dtype == np.int8 and not zero.any() for zero in zeros)
    matrices = [array for array in held.values() if array.ndim == 2]
    assert {array.shape for array in matrices if array.dtype == np.int8} == {
        tuple(part.weight.shape) if isinstance(part, torch.nn.Embedding) else tuple(part.weight.shape)[::-1]
        for part in (*(part for part in model.modules() if isinstance(part, torch.nn.Linear)), words)
    }


def test_a_paired_layer_rounds_what_goes_in_to_its_range_and_its_rows_to_theirs():
    torch.manual_seed(0)
    layer = torch.nn.Linear(5, 3)
    paired = PairedLinear(layer, (-1.0, 2.0))
    x = torch.tensor([[0.0, 1.0, -1.0, 2.0, 5.0]])
    scale = 2.0 / 127
    rounded = torch.tensor([0.0, 64.0, -64.0, 127.0, 127.0]) * scale  # 1/scale = 63.5, to the even 64; 5 is cut
    wanted = rounded @ restore_rows(*round_rows(layer.weight)).T + layer.bias
    torch.testing.assert_close(paired(x)[0], wanted)


def test_paired_word_vectors_are_the_tables_rounded_rows():
    table = torch.nn.Embedding(7, 4)
    ids = torch.tensor([[3, 0], [6, 3]])
    assert torch.equal(PairedEmbedding(table)(ids), restore_rows(*round_rows(table.weight))[ids])


def test_the_model_is_left_as_it_is():
    model = tiny.bert()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with_pairs(model, ranges_of(model))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(isinstance(part, PairedLinear) for part in model.modules())


def test_two_outputs_a_token_in_openvino(tmp_path):
    torch.manual_seed(0)
    model = BertForQuestionAnswering(tiny.bert().config).eval()
    file = tmp_path / "a.onnx"
    outputs = ("start_logits", "end_logits")
    write_format("int8-qdq", model, TOKENIZER, file, ranges=ranges_of(model), outputs=outputs, per_token=True)
    batch = {name: tensor.numpy() for name, tensor in collate(rows(5), TOKENIZER.pad_token_id).items()}
    session = RUNTIMES["openvino"].open(file, threads=1)
    given = session.run(list(outputs), feed(session, batch))
    with torch.inference_mode():
        made = model(**{name: torch.from_numpy(array) for name, array in batch.items()})
    for name, array in zip(outputs, given, strict=True):
        wanted = made[name].numpy()
        assert array.shape == wanted.shape
        assert np.abs(array - wanted).max() < 0.1 * (wanted.max() - wanted.min())


def test_the_same_weights_give_the_same_bytes(tmp_path):
    for name in FORMATS:
        one, other = (write(name, tiny.bert(seed=5), tmp_path / f"{name}-{i}").read_bytes() for i in range(2))
        assert one == other, name


def test_what_has_no_such_form_is_refused_in_a_line(tmp_path):
    with pytest.raises(InputError, match="there is no format 'int4': choose of fp32, fp16, int8-dynamic, int8-qdq"):
        write_format("int4", tiny.bert(), TOKENIZER, tmp_path / "a")
    with pytest.raises(InputError, match="needs calibrated ranges"):
        write_format("int8-qdq", tiny.bert(), TOKENIZER, tmp_path / "a")
    with pytest.raises(InputError, match="'classifier' has no calibrated range"):
        with_pairs(
            tiny.bert(), {name: bounds for name, bounds in ranges_of(tiny.bert()).items() if name != "classifier"}
        )
    assert not list(tmp_path.iterdir())


def test_a_runtime_that_is_not_here_says_what_to_install(monkeypatch):
    from stillhouse.onnx import runtimes

    monkeypatch.setattr(runtimes, "find_spec", lambda name: None)
    assert RUNTIMES["openvino"].missing() == "OpenVINO is not installed: pip install 'stillhouse[openvino]'"
    assert "install onnxruntime-gpu in its place" in RUNTIMES["onnxruntime-cuda"].missing()


def test_openvino_names_a_file_that_it_cannot_read(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"no graph")
    with pytest.raises(InputError, match=r"OpenVINO cannot read '.*bad\.onnx'"):
        RUNTIMES["openvino"].open(tmp_path / "bad.onnx", threads=1)
    with pytest.raises(InputError, match=r"none\.onnx' is missing"):
        RUNTIMES["openvino"].open(tmp_path / "none.onnx", threads=1)
