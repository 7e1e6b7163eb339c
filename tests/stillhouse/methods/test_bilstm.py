"""The BiLSTM student: what it computes, that padding does not count, its loss, its start, its checkpoint."""

import json
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence
from transformers import AutoModelForSequenceClassification

from stillhouse.encoders.checkpoint import load_model, load_tokenizer, save_model
from stillhouse.encoders.labels import align_labels, set_labels
from stillhouse.encoders.measure import flops, longest_input
from stillhouse.errors import InputError
from stillhouse.methods.bilstm import distillation_loss, piece_vectors, start_from
from stillhouse.models.configuration_bilstm import BiLstmConfig
from stillhouse.models.modeling_bilstm import BiLstmForSequenceClassification, siamese_features
from stillhouse.onnx.export import export_onnx
from stillhouse.onnx.sessions import open_session, predict_onnx
from stillhouse.text.word_tokenizer import word_tokenizer
from stillhouse.training.autocast import choose_precision
from stillhouse.training.batches import collate
from stillhouse.training.predict import predict
from tests import tiny

TEXTS = tiny.sentences(40)[0]
TOKENIZER = word_tokenizer(TEXTS, size=100, least=1, mask="[MASK]")


def bilstm(**changes) -> BiLstmForSequenceClassification:
    torch.manual_seed(0)
    shape = {"vocab_size": len(TOKENIZER), "embedding_size": 7, "hidden_size": 5, "dense_size": 6, "num_labels": 3}
    return BiLstmForSequenceClassification(BiLstmConfig(**shape | {"initializer_range": 0.5} | changes)).eval()


def rows(texts: list[str], pairs: list[str] | None = None) -> list[dict]:
    tokens = TOKENIZER(texts, pairs)
    names = ("input_ids", "token_type_ids") if pairs else ("input_ids",)
    return [dict(zip(names, values, strict=True)) for values in zip(*(tokens[name] for name in names), strict=True)]


def logits(model: nn.Module, batch: list[dict]) -> torch.Tensor:
    with torch.no_grad():
        return model(**collate(batch, TOKENIZER.pad_token_id)).logits


def test_the_final_states_are_those_of_a_packed_bidirectional_lstm():
    model = bilstm()
    both = nn.LSTM(7, 5, bidirectional=True, batch_first=True)
    both.load_state_dict(
        model.forwards.state_dict()
        | {f"{name}_reverse": weight for name, weight in model.backwards.state_dict().items()}
    )
    batch = collate(rows(TEXTS), TOKENIZER.pad_token_id)
    lengths = batch["attention_mask"].sum(1) - 1  # the separator is not read
    assert lengths.unique().numel() > 3
    packed = pack_padded_sequence(model.embeddings(batch["input_ids"]), lengths, batch_first=True, enforce_sorted=False)
    expected = both(packed)[1][0].transpose(0, 1).flatten(1)  # (2, B, H) -> (B, 2H)
    assert torch.allclose(model.encode(batch["input_ids"], batch["attention_mask"]), expected, atol=1e-6)


@pytest.mark.parametrize("pair", [False, True])
def test_a_row_has_the_same_logits_by_itself_in_a_batch_and_behind_more_padding(pair):
    model = bilstm(pair=pair)
    batch = rows(TEXTS, TEXTS[::-1] if pair else None)
    together = logits(model, batch)
    assert together.std(0).min() > 0.01
    assert torch.allclose(together, torch.cat([logits(model, [row]) for row in batch]), atol=1e-6)
    padded = {name: F.pad(tensor, (0, 9)) for name, tensor in collate(batch, TOKENIZER.pad_token_id).items()}
    assert torch.allclose(together, model(**padded).logits, atol=1e-6)


def test_each_side_of_a_pair_is_read_like_a_sentence_by_itself():
    pairs, single = bilstm(pair=True), bilstm()
    for name in ("embeddings", "forwards", "backwards"):
        getattr(single, name).load_state_dict(getattr(pairs, name).state_dict())
    other = TEXTS[1:] + TEXTS[:1]

    def encoded(texts: list[str]) -> torch.Tensor:
        batch = collate(rows(texts), TOKENIZER.pad_token_id)
        return single.encode(batch["input_ids"], batch["attention_mask"])

    expected = pairs.classifier(siamese_features(encoded(TEXTS), encoded(other)))
    assert torch.allclose(logits(pairs, rows(TEXTS, other)), expected, atol=1e-6)


def test_siamese_features_are_both_states_their_product_and_their_distance():
    one, other = torch.randn(4, 6), torch.randn(4, 6)
    here, there = siamese_features(one, other), siamese_features(other, one)
    assert torch.equal(here[:, :12], torch.cat([one, other], 1)) and torch.equal(
        there[:, :12], torch.cat([other, one], 1)
    )
    assert torch.equal(here[:, 12:], there[:, 12:])
    assert torch.equal(here[:, 12:18], one * other) and torch.equal(here[:, 18:], (one - other).abs())


def test_an_empty_sentence_has_the_state_zero():
    model = bilstm(pair=True)
    batch = collate(rows(["", "good", ""], ["bad", "", ""]), TOKENIZER.pad_token_id)
    ids, mask, types = (batch[name] for name in ("input_ids", "attention_mask", "token_type_ids"))
    one, other = model.encode(ids, mask * (types == 0)), model.encode(ids, mask * (types == 1))
    assert one[[0, 2]].abs().sum() == 0 and other[[1, 2]].abs().sum() == 0
    assert one[1].abs().sum() > 0 and other[0].abs().sum() > 0


def test_without_mask_and_types_every_token_but_the_last_is_a_word_of_the_first_sentence():
    ids = torch.tensor([[5, 6, 7, 8]])
    for model in (bilstm(), bilstm(pair=True)):
        ones, zeros = torch.ones_like(ids), torch.zeros_like(ids)
        assert torch.equal(model(ids).logits, model(ids, attention_mask=ones, token_type_ids=zeros).logits)


def test_a_model_of_sentences_takes_no_notice_of_token_types():
    model = bilstm()
    ids = torch.tensor([[5, 6, 7, 8]])
    assert torch.equal(model(ids).logits, model(ids, token_type_ids=torch.tensor([[0, 0, 1, 1]])).logits)


def test_in_the_precision_that_the_loop_chooses_it_trains_and_its_logits_are_near():
    model = bilstm().train()
    batch = collate(rows(TEXTS), TOKENIZER.pad_token_id)
    # Where the processor has no bf16 the loop trains in fp32, and torch has no LSTM in bf16 either.
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=choose_precision("auto") == "bf16"):
        low = model(**batch).logits
    low.float().square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    assert model.forwards.weight_hh_l0.grad.abs().sum() > 0
    high = logits(model.eval(), rows(TEXTS))
    assert (low.float() - high).abs().max() < 0.05 * high.abs().max()


def test_the_soft_loss_is_the_squared_norm_of_the_difference_and_pulls_by_twice_of_it():
    student, teacher, labels = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3), torch.tensor([0, 1, 2, 1])
    terms = distillation_loss(student, teacher, labels, 0.0)
    assert set(terms) == {"soft"}
    assert torch.isclose(terms["soft"], sum(torch.dist(s, t) ** 2 for s, t in zip(student, teacher, strict=True)) / 4)
    terms["soft"].backward()
    assert torch.allclose(student.grad, 2 * (student - teacher).detach() / 4)


def test_alpha_weighs_the_labels_and_the_rest_the_teacher():
    student, teacher, labels = torch.randn(4, 3), torch.randn(4, 3), torch.tensor([0, 1, 2, 1])
    terms = distillation_loss(student, teacher, labels, 0.3)
    assert torch.isclose(terms["hard"], 0.3 * F.cross_entropy(student, labels))
    assert torch.isclose(terms["soft"], 0.7 * distillation_loss(student, teacher, labels, 0.0)["soft"])
    assert set(distillation_loss(student, teacher, labels, 1.0)) == {"hard"}


def test_scores_are_learnt_by_squared_error_on_both_sides():
    student, teacher, labels = torch.randn(4, 1), torch.randn(4, 1), torch.randn(4)
    terms = distillation_loss(student, teacher, labels, 0.5)
    assert torch.isclose(terms["hard"], 0.5 * F.mse_loss(student[:, 0], labels))
    assert torch.isclose(terms["soft"], 0.5 * F.mse_loss(student, teacher))


def test_a_words_vector_is_the_mean_of_its_pieces_in_the_teacher():
    teacher, tokenizer = tiny.bert(), tiny.tokenizer()
    vectors = piece_vectors(["film", "unheard", "the film"], teacher, tokenizer)
    assert set(vectors) == {"film", "the film"}
    table = teacher.get_input_embeddings().weight
    assert torch.equal(vectors["film"], table[tokenizer.vocab["film"]])
    the, film = (table[tokenizer.vocab[word]] for word in ("the", "film"))
    assert torch.allclose(vectors["the film"], (the + film) / 2)


def test_vectors_go_to_their_words_scaled_and_the_other_words_keep_theirs():
    torch.manual_seed(0)
    table = nn.Embedding(6, 4)
    before = table.weight.detach().clone()
    vectors = {"a": torch.randn(4) * 9, "b": torch.randn(4) * 9, "unseen": torch.randn(4)}
    assert start_from(table, {"[PAD]": 0, "a": 3, "b": 5}, vectors) == 2
    assert torch.equal(table.weight[[0, 1, 2, 4]], before[[0, 1, 2, 4]])
    ratio = table.weight[[3, 5]] / torch.stack([vectors["a"], vectors["b"]])
    assert torch.allclose(ratio, ratio[0, 0].expand_as(ratio), rtol=1e-4)
    assert torch.isclose(table.weight[[3, 5]].std(), before[[3, 5]].std())


def test_narrower_vectors_keep_what_their_inner_products_are_made_of():
    torch.manual_seed(0)
    flat = torch.randn(20, 3) @ torch.randn(3, 8)  # 8 wide, of rank 3
    table = nn.Embedding(20, 3)
    start_from(table, {str(i): i for i in range(20)}, {str(i): flat[i] for i in range(20)})
    ratio = (table.weight @ table.weight.T) / (flat @ flat.T)
    assert torch.allclose(ratio, ratio.median().expand_as(ratio), rtol=1e-2)


def test_vectors_that_cannot_be_a_start_are_refused():
    with pytest.raises(InputError, match=r"student.embedding_size \(4\) is more than the word vectors' width \(3\)"):
        start_from(nn.Embedding(2, 4), {"a": 1}, {"a": torch.ones(3)})
    with pytest.raises(InputError, match="know no word of the training texts"):
        start_from(nn.Embedding(2, 4), {"a": 1}, {"b": torch.ones(4)})


def test_labels_are_aligned_like_any_classifiers():
    model = bilstm()
    set_labels(model, ("bad", "fair", "good"))
    before = logits(model, rows(TEXTS))
    align_labels(model, ("good", "bad", "fair"))
    assert torch.equal(logits(model, rows(TEXTS)), before[:, [2, 0, 1]])


@pytest.mark.parametrize("pair", [False, True])
def test_the_exported_graph_gives_the_models_logits(pair, tmp_path):
    model = bilstm(pair=pair)
    export_onnx(model, TOKENIZER, tmp_path / "model.onnx")
    session = open_session(tmp_path / "model.onnx", threads=1)
    data = rows(["", *TEXTS], ["good", *TEXTS[::-1]] if pair else None)
    for batch_size in (1, 7):
        given = predict_onnx(session, data, TOKENIZER, batch_size=batch_size)
        wanted = predict(model, data, TOKENIZER, batch_size=batch_size)
        torch.testing.assert_close(torch.tensor(given), torch.tensor(wanted), atol=1e-5, rtol=0)


@pytest.mark.parametrize("pair", [False, True])
def test_flops_follow_the_formula(pair):
    tokens = 12
    words = 2 * (tokens // 2 - 1) if pair else tokens - 1  # each side's separator is not read
    lstm = 2 * 2 * words * 4 * 5 * (7 + 5)
    dense = 2 * ((40 if pair else 10) * 6 + 6 * 3)
    assert flops(bilstm(pair=pair), tokens, pair) == lstm + dense
    assert longest_input(bilstm()) is None


@pytest.mark.slow
def test_a_fresh_process_loads_the_checkpoint_with_auto_classes_after_import_stillhouse(tmp_path):
    model = bilstm(pair=True)
    save_model(model, TOKENIZER, tmp_path)
    script = """
import sys
import stillhouse
assert "torch" not in sys.modules and "transformers" not in sys.modules, "importing stillhouse takes no time"
from transformers import AutoModelForSequenceClassification, AutoTokenizer
model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1])
tokens = AutoTokenizer.from_pretrained(sys.argv[1])(["the film", "it"], ["is good", "is bad and dull"], padding=True,
                                                    return_tensors="pt")
print(model(**tokens).logits.tolist())
"""
    run = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    expected = logits(model, rows(["the film", "it"], ["is good", "is bad and dull"]))
    printed = torch.tensor(json.loads(run.stdout.splitlines()[-1]))
    assert torch.allclose(printed, expected, atol=1e-6)


def test_a_process_that_imported_transformers_first_knows_it_too(tmp_path):
    save_model(bilstm(), TOKENIZER, tmp_path)
    script = """
import sys
from transformers import AutoConfig
import stillhouse
print(type(AutoConfig.from_pretrained(sys.argv[1])).__name__)
"""
    run = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "BiLstmConfig", run.stderr


def test_it_is_a_checkpoint_with_its_own_tokenizer(tmp_path):
    model = bilstm()
    save_model(model, TOKENIZER, tmp_path)
    back = load_model(tmp_path, AutoModelForSequenceClassification)
    assert all(torch.equal(a, b) for a, b in zip(back.state_dict().values(), model.state_dict().values(), strict=True))
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.get_vocab() == TOKENIZER.get_vocab()
    for name in ("pad_token_id", "unk_token_id", "mask_token_id", "sep_token_id", "model_input_names"):
        assert getattr(tokenizer, name) == getattr(TOKENIZER, name), name
