"""A BiLSTM in eight bits: what it computes, what it loses, and its ONNX file."""

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from stillhouse.encoders.checkpoint import load_model, save_model
from stillhouse.errors import InputError
from stillhouse.methods.int8 import calibrate
from stillhouse.models.configuration_bilstm import BiLstmConfig
from stillhouse.models.modeling_bilstm import BiLstmForSequenceClassification
from stillhouse.models.modeling_bilstm_answers import BiLstmForQuestionAnswering
from stillhouse.models.modeling_bilstm_tokens import BiLstmForTokenClassification
from stillhouse.models.quantized_lstm import MATRICES
from stillhouse.onnx.export import export_onnx
from stillhouse.onnx.sessions import feed, open_session
from stillhouse.surgery.quantizing import dequantize, quantize, quantized
from stillhouse.text.word_tokenizer import word_tokenizer
from tests import tiny

GATES = (slice(0, 10), slice(30, 40), slice(10, 30))  # of 10 units each, in ONNX's order
TEXTS = tiny.sentences(40)[0]
KINDS = {
    "classes": (BiLstmForSequenceClassification, AutoModelForSequenceClassification, {}, ("logits",)),
    "pairs": (BiLstmForSequenceClassification, AutoModelForSequenceClassification, {"pair": True}, ("logits",)),
    "tokens": (BiLstmForTokenClassification, AutoModelForTokenClassification, {}, ("logits",)),
    "answers": (
        *(BiLstmForQuestionAnswering, AutoModelForQuestionAnswering, {}),
        ("start_logits", "end_logits"),
    ),
}


@pytest.fixture(params=KINDS)
def kind(request):
    made, auto, changes, outputs = KINDS[request.param]
    tokenizer = word_tokenizer(TEXTS, size=100, least=1, mask="[MASK]", cls=request.param == "answers")
    torch.manual_seed(0)
    shape = {"embedding_size": 14, "hidden_size": 10, "dense_size": 12, "num_labels": 3, "initializer_range": 0.5}
    model = made(BiLstmConfig(vocab_size=len(tokenizer), **shape | changes)).eval()
    batch = tokenizer(TEXTS[:8], TEXTS[8:16] if "pair" in changes else None, padding=True, return_tensors="pt")
    return model, tokenizer, auto, outputs, dict(batch)


def said(model, batch, outputs) -> list[np.ndarray]:
    with torch.no_grad():
        given = model(**batch)
    return [getattr(given, name).numpy() for name in outputs]


def test_its_weights_are_within_half_a_step_of_what_they_were(kind):
    model, *_ = kind
    back, before = dequantize(quantize(model)).state_dict(), model.state_dict()
    assert set(back) == set(before)
    for name, weight in before.items():
        if weight.dim() < 2:
            assert torch.equal(back[name], weight), name
        else:
            step = weight.abs().amax(1, keepdim=True) / 127
            assert ((back[name] - weight).abs() <= step * 0.501).all(), name
            assert not torch.equal(back[name], weight), name


def test_it_computes_what_its_integers_stand_for(kind):
    model, _, _, outputs, batch = kind
    ours = quantize(model)
    rounded, whole, exact = (said(each, batch, outputs) for each in (ours, dequantize(ours), model))
    for one, other, before in zip(rounded, whole, exact, strict=True):
        assert not np.array_equal(one, before)
        assert np.abs(one - other).max() < 0.05 * np.abs(before).max(), "activations of its head alone are rounded"


def test_a_checkpoint_gives_it_back_bit_by_bit_in_fewer_bytes(kind, tmp_path):
    model, tokenizer, auto, outputs, batch = kind
    ours = quantize(model, ranges=calibrate(model, [batch], None))
    for name, each in (("before", model), ("after", ours)):
        save_model(each, tokenizer, tmp_path / name)
    again = load_model(tmp_path / "after", auto, whole=True)
    assert quantized(again) == "int8" and type(again) is type(model)
    assert all(map(np.array_equal, said(again, batch, outputs), said(ours, batch, outputs)))
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("before", "after")]
    assert sizes[1] < 0.6 * sizes[0]


@pytest.mark.parametrize("activations", ["dynamic", "static"])
def test_its_onnx_file_says_the_same_and_keeps_the_integers(kind, tmp_path, activations):
    model, tokenizer, _, outputs, batch = kind
    ours = quantize(model, ranges=calibrate(model, [batch], None) if activations == "static" else None)
    per_token = outputs != ("logits",) or isinstance(model, BiLstmForTokenClassification)
    file = tmp_path / "model.onnx"
    export_onnx(ours, tokenizer, file, outputs=outputs, per_token=per_token)
    session = open_session(file, threads=1)
    given = session.run(None, feed(session, {name: tensor.numpy() for name, tensor in batch.items()}))
    free = said(dequantize(ours), batch, outputs)
    for one, other, unrounded in zip(given, said(ours, batch, outputs), free, strict=True):
        assert np.abs(one - other).max() <= max(1e-5, 2 * np.abs(unrounded - other).max())
    graph = file.read_bytes()
    assert ours.embeddings.weight.numpy().tobytes() in graph
    for lstm in (ours.forwards, ours.backwards):
        for name in MATRICES:
            matrix, scale = getattr(lstm, name), getattr(lstm, f"{name}_scale")
            gates = torch.cat([matrix[places] for places in GATES])
            assert gates.dtype == torch.int8 and gates.numpy().tobytes() in graph, name
            assert (matrix.float() * scale[:, None])[0].numpy().tobytes() not in graph, name


def test_it_is_not_quantized_again(kind):
    model, *_ = kind
    with pytest.raises(InputError, match=r"the model is quantized \(int8\): quantize the one before it"):
        quantize(quantize(model))
