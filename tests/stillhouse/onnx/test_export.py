"""Exported models give the model's logits, at any shape, from one file that is the same each time."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from transformers import (
    BertForMaskedLM,
    BertForQuestionAnswering,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from stillhouse.errors import InputError
from stillhouse.onnx.export import OPSET, export_onnx
from stillhouse.onnx.sessions import feed, open_session, predict_onnx
from stillhouse.training.predict import predict
from tests import tiny

TOKENIZER = tiny.tokenizer()
SHAPE = {"vocab_size": len(TOKENIZER), "max_position_embeddings": 66, "initializer_range": 0.2}
FAMILIES = {
    "bert": lambda: tiny.bert(labels=("a", "b", "c")),
    "regression": lambda: tiny.bert(labels=()),
    "roberta": lambda: RobertaForSequenceClassification(
        RobertaConfig(
            **SHAPE, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, pad_token_id=0
        )
    ),
    "distilbert": lambda: DistilBertForSequenceClassification(
        DistilBertConfig(**SHAPE, dim=32, n_layers=2, n_heads=4, hidden_dim=64)
    ),
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A BERT and its file."""
    file = tmp_path_factory.mktemp("onnx") / "model.onnx"
    model = tiny.bert()
    export_onnx(model, TOKENIZER, file)
    return model, file


def rows(count: int = 40) -> list[dict]:
    return [{"input_ids": ids} for ids in TOKENIZER(tiny.sentences(count)[0])["input_ids"]]


@pytest.mark.parametrize("family", FAMILIES)
def test_exported_logits_are_the_models_at_every_length(family, tmp_path):
    torch.manual_seed(0)
    model = FAMILIES[family]().eval()
    file = tmp_path / "model.onnx"
    export_onnx(model, TOKENIZER, file)
    given = predict_onnx(open_session(file, threads=1), rows(), TOKENIZER, batch_size=7)
    wanted = predict(model, rows(), TOKENIZER, batch_size=7)
    assert np.ptp(wanted, axis=0).min() > 0.01  # rows differ, so equal logits mean something
    np.testing.assert_allclose(given, wanted, atol=1e-5)


def test_it_is_one_file_with_free_axes_and_no_trace_of_paths(exported):
    _, file = exported
    assert [path.name for path in file.parent.iterdir()] == ["model.onnx"]
    graph = onnx.load(file)
    assert graph.opset_import[0].version == OPSET
    inputs = {given.name: [d.dim_param for d in given.type.tensor_type.shape.dim] for given in graph.graph.input}
    assert inputs == {name: ["batch", "sequence"] for name in TOKENIZER.model_input_names}
    assert [given.name for given in graph.graph.output] == ["logits"]
    assert graph.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    content = file.read_bytes()
    assert b"site-packages" not in content
    assert str(Path.cwd()).encode() not in content


def test_dynamic_quantization_takes_the_graph_as_it_is(exported, tmp_path):
    from onnxruntime.quantization import quantize_dynamic

    model, file = exported
    quantize_dynamic(file, tmp_path / "int8.onnx")
    given = predict_onnx(open_session(tmp_path / "int8.onnx", threads=1), rows(), TOKENIZER, batch_size=8)
    wanted = predict(model, rows(), TOKENIZER, batch_size=8)
    operators = {node.op_type for node in onnx.load(tmp_path / "int8.onnx").graph.node}
    assert operators & {"MatMulInteger", "DynamicQuantizeMatMul"}
    assert np.corrcoef(given[:, 0], wanted[:, 0])[0, 1] > 0.98


def test_the_model_keeps_its_mode_and_its_attention(tmp_path):
    model = tiny.bert().train()
    attention = model.config._attn_implementation
    export_onnx(model, TOKENIZER, tmp_path / "model.onnx")
    assert model.training
    assert model.config._attn_implementation == attention != "eager"


def test_outputs_per_token_have_the_sequence_axis(tmp_path):
    config = tiny.bert().config
    cases = {BertForQuestionAnswering: ("start_logits", "end_logits"), BertForMaskedLM: ("logits",)}
    batch = {name: tensor.numpy() for name, tensor in TOKENIZER("the film", "a plot", return_tensors="pt").items()}
    for family, outputs in cases.items():
        model = family(config).eval()
        export_onnx(model, TOKENIZER, tmp_path / "model.onnx", outputs=outputs, per_token=True)
        session = open_session(tmp_path / "model.onnx", threads=1)
        given = session.run(None, feed(session, batch))
        wanted = model(**{name: torch.from_numpy(array) for name, array in batch.items()})
        for name, one in zip(outputs, given, strict=True):
            np.testing.assert_allclose(one, wanted[name].detach().numpy(), atol=1e-5)


def test_a_branch_on_the_data_is_noticed(tmp_path):
    class Moody(type(tiny.bert())):
        def forward(self, input_ids, attention_mask):
            result = super().forward(input_ids, attention_mask)
            result.logits = result.logits + (5 if input_ids.shape[1] > 8 else 0)
            return result

    with pytest.raises(RuntimeError, match="'logits' differs from the model's by 5"):
        export_onnx(Moody(tiny.bert().config).eval(), TOKENIZER, tmp_path / "model.onnx")


@pytest.mark.parametrize("content", [None, b"", b"not a graph", "half"])
def test_a_missing_or_damaged_file_is_named(content, exported, tmp_path):
    file = tmp_path / "model.onnx"
    if content == "half":
        content = exported[1].read_bytes()[: exported[1].stat().st_size // 2]
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=r"model.onnx'( is missing|: damaged ONNX file)"):
        open_session(file, threads=1)
