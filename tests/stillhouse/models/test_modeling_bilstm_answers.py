"""A BiLSTM that finds answers: both directions, padding, the ONNX file, and what reloads it."""

import pytest
import torch
from transformers import AutoModelForQuestionAnswering

from stillhouse.answers.spans import OUTPUTS, span_logits, span_logits_onnx
from stillhouse.answers.windows import CLS, cut_windows
from stillhouse.models.configuration_bilstm import BiLstmConfig
from stillhouse.models.modeling_bilstm_answers import BiLstmForQuestionAnswering
from stillhouse.onnx.export import export_onnx
from stillhouse.onnx.sessions import open_session
from stillhouse.text.word_tokenizer import word_tokenizer

IDS = torch.tensor([[2, 5, 6, 3, 7, 8, 3]])


@pytest.fixture
def model() -> BiLstmForQuestionAnswering:
    torch.manual_seed(0)
    return BiLstmForQuestionAnswering(BiLstmConfig(vocab_size=12, embedding_size=6, hidden_size=5, dense_size=4)).eval()


def test_it_is_a_bidirectional_lstm_with_two_logits_a_word(model):
    both = torch.nn.LSTM(6, 5, batch_first=True, bidirectional=True)
    both.load_state_dict(
        dict(model.forwards.state_dict())
        | {f"{name}_reverse": value for name, value in model.backwards.state_dict().items()}
    )
    wanted = model.qa_outputs(both(model.embeddings(IDS))[0])
    given = model(IDS)
    assert torch.allclose(given.start_logits, wanted[..., 0], atol=1e-6)
    assert torch.allclose(given.end_logits, wanted[..., 1], atol=1e-6)


def test_padding_changes_nothing(model):
    padded, mask = torch.zeros(2, 11, dtype=torch.long), torch.zeros(2, 11, dtype=torch.long)
    padded[0, :7], mask[0, :7] = IDS[0], 1
    padded[1], mask[1] = 4, 1
    given, alone = model(padded, mask), model(IDS)
    for name in OUTPUTS:
        assert torch.allclose(getattr(given, name)[:1, :7], getattr(alone, name), atol=1e-6)


def test_the_exported_graph_gives_the_same_logits_and_a_checkpoint_comes_back(model, tmp_path):
    texts = ["what is it of", "the still is of copper and the copper is old"]
    tokenizer = word_tokenizer(texts, size=12, least=1, mask="[MASK]", cls=True)
    windows = cut_windows(texts[:1] * 2, [texts[1], "copper"], tokenizer, max_length=12, overlap=2, question_length=4)
    assert all(ids[CLS] == tokenizer.cls_token_id for ids in windows["input_ids"])
    rows = [dict(zip(("input_ids", "token_type_ids"), pair, strict=True)) for pair in
            zip(windows["input_ids"], windows["token_type_ids"], strict=True)]  # fmt: skip
    export_onnx(model, tokenizer, tmp_path / "model.onnx", outputs=OUTPUTS, per_token=True)
    ours = span_logits(model, rows, tokenizer, batch_size=3)
    theirs = span_logits_onnx(open_session(tmp_path / "model.onnx", 1), rows, tokenizer, batch_size=3)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(torch.from_numpy(one), torch.from_numpy(other), atol=1e-5)
    model.save_pretrained(tmp_path / "checkpoint")
    again = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "checkpoint").eval()
    assert type(again) is BiLstmForQuestionAnswering
    assert torch.equal(again(IDS).start_logits, model(IDS).start_logits)
