"""trim's stage at a tiny size: what it says and keeps, and that what comes after takes the checkpoint's own pieces."""

import json
import re
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from datasets import Dataset
from tokenizers import Tokenizer

from stillhouse.encoders.checkpoint import load_tokenizer, save_model
from stillhouse.encoders.measure import parameters
from stillhouse.models.configuration_bilstm import BiLstmConfig
from stillhouse.models.modeling_bilstm import BiLstmForSequenceClassification
from stillhouse.surgery import factorize_embedding, quantize
from stillhouse.text.word_tokenizer import word_tokenizer
from tasks import evaluate, export, task_phase, trim
from tasks.links.trimming import texts_of
from tests import pieces
from tests.pieces import TRAIN, VALIDATION
from tests.tasks import project
from tests.tasks.project import loaded, on_task, refused, run


def words(model: str = "models/teacher", corpus: str = "data/task") -> tuple:
    return (trim, "trim", "--data", "data/task", "--model", model, "--corpus", corpus, "--out", "models/trim")


@pytest.fixture(params=["WordPiece"])
def clone(clone: Path, request: pytest.FixtureRequest) -> Path:
    """A task of made-up words, and a teacher that cuts them into pieces."""
    pieces.write_task(clone, request.param)
    project.params(clone, **{"trim.trim.floor": 1})
    return clone


@torch.no_grad()
def logits(folder: str, text: str) -> torch.Tensor:
    return pieces.aligned(loaded(folder))(**load_tokenizer(Path(folder))(text, return_tensors="pt")).logits


@pytest.mark.parametrize("clone", pieces.KINDS, indirect=True)
def test_the_training_texts_are_read_as_before_and_the_stage_says_what_is_cut_differently(clone, capsys):
    run(*words())
    said = capsys.readouterr().out
    before, after = load_tokenizer(Path("models/teacher")), load_tokenizer(Path("models/trim"))
    pattern = rf"of {len(before)} pieces stand 1 times or more in 64 texts; {len(after)} stay"
    assert re.search(pattern, said) and len(after) < len(before) - 80
    for text in TRAIN[::8]:
        assert torch.equal(logits("models/trim", text), logits("models/teacher", text))
    differ = [text for text in VALIDATION if before.tokenize(text) != after.tokenize(text)]
    assert f"validation: {len(differ) / len(VALIDATION):.1%} of the rows and " in said and differ
    assert f"{parameters(loaded('models/trim')):,} of {parameters(loaded('models/teacher')):,} parameters" in said


@pytest.mark.parametrize("clone", pieces.KINDS, indirect=True)
def test_it_is_exported_evaluated_and_read_without_transformers(clone):
    run(*words())
    for name in ("teacher", "trim"):
        run(export, "--kind", "classes", "--model", f"models/{name}", "--out", f"models/onnx/{name}")
    reports = ("--teacher", "reports/teacher", "--teacher-onnx", "models/onnx/teacher")
    for name, beside in (("teacher", ()), ("trim", reports)):
        folders = ("--model", f"models/{name}", "--onnx", f"models/onnx/{name}", "--out", f"reports/{name}")
        run(evaluate, name, "--data", "data/task", *folders, *beside)
    figures = json.loads(Path("reports/trim/metrics.json").read_text(encoding="utf-8"))
    assert figures["vocabulary"] == loaded("models/trim").config.vocab_size
    assert figures["onnx_max_difference"] < 1e-3 and figures["kept"] > 0
    core = Tokenizer.from_file("models/trim/tokenizer.json")
    core.no_padding(), core.no_truncation()
    session = onnxruntime.InferenceSession("models/onnx/trim/model.onnx")
    ids = np.array([core.encode(VALIDATION[0]).ids])
    given = {entry.name: ids if entry.name == "input_ids" else np.ones_like(ids) for entry in session.get_inputs()}
    given |= {"token_type_ids": np.zeros_like(ids)} if "token_type_ids" in given else {}
    assert np.allclose(session.run(None, given)[0], logits("models/trim", VALIDATION[0]), atol=1e-3)


def test_a_corpus_keeps_its_pieces_and_a_floor_takes_more(clone):
    Dataset.from_dict({"text": VALIDATION[:20]}).to_parquet(clone / "data/corpus/corpus.parquet")
    kept = {}
    for name, corpus, floor in (("task", "data/task", 1), ("corpus", "data/corpus", 1), ("floor", "data/task", 5)):
        project.params(clone, **{"trim.trim.floor": floor})
        run(*words(corpus=corpus))
        kept[name] = set(load_tokenizer(Path("models/trim")).get_vocab())
    assert kept["floor"] < kept["task"] < kept["corpus"]
    before = load_tokenizer(Path("models/teacher"))
    assert {piece for text in VALIDATION[:20] for piece in before.tokenize(text)} <= kept["corpus"]


def test_both_texts_of_a_pair_are_read(clone):
    pieces.write_task(clone, "WordPiece", pair=True)
    run(*words())
    vocabulary = load_tokenizer(Path("models/trim")).get_vocab()
    before = load_tokenizer(Path("models/teacher"))
    assert all(piece in vocabulary for text in pieces.texts(64, seed=3, words=90) for piece in before.tokenize(text))


def test_a_row_of_words_has_a_text_a_word():
    rows = Dataset.from_dict({"words": [["a", "dull", "plot"], []], "text": ["one", "two"]})
    assert texts_of(rows, ["words", "text"]) == [["a", "dull", "plot", "one"], ["two"]]


@pytest.mark.parametrize("what", ["factorized", "int8", "both"])
def test_other_compressed_checkpoints_are_trimmed(clone, what):
    model = loaded("models/teacher")
    model = factorize_embedding(model, 8) if what != "int8" else model
    model = quantize(model) if what != "factorized" else model
    save_model(model, load_tokenizer(Path("models/teacher")), clone / "models/thin")
    run(*words("models/thin"))
    assert loaded("models/trim").config.model_type == "compact-bert"
    assert torch.equal(logits("models/trim", TRAIN[0]), logits("models/thin", TRAIN[0]))
    run(export, "--kind", "classes", "--model", "models/trim", "--out", "models/onnx/trim")


def test_a_trimmed_model_is_trained_with_the_rounding_on_the_whole_teachers_logits(clone):
    run(*words())
    quantized = on_task(task_phase, "int8", "--phase", "quantize", "--student", "models/trim", out="int8")
    assert json.loads(Path("params.yaml").read_text())["int8"]["quantize"]["activations"] == "trained"
    run(*quantized)
    assert load_tokenizer(Path("models/int8")).get_vocab() == load_tokenizer(Path("models/trim")).get_vocab()
    assert loaded("models/int8").config.vocab_size == loaded("models/trim").config.vocab_size
    assert loaded("models/int8").config.quantization["embeddings"]


def test_the_same_inputs_give_the_same_bytes(clone):
    found = []
    for _ in range(2):
        run(*words())
        found.append({file.name: file.read_bytes() for file in Path("models/trim").iterdir()})
    assert found[0] == found[1] and "model.safetensors" in found[0]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"trim.trim.floor": 0}, "trim.trim.floor = 0: Input should be greater than 0"),
        ({"trim.trim.min_count": 2}, "trim.trim.min_count = 2 is not a known key"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(clone, capsys, changes, line):
    project.params(clone, **changes)
    assert line in refused(capsys, *words())
    assert not Path("models/trim").exists()


def test_a_corpus_that_is_not_there_and_a_bilstm_are_refused_in_one_line(clone, capsys):
    assert "'nowhere/corpus.parquet' is missing" in refused(capsys, *words(corpus="nowhere"))
    shape = {"embedding_size": 8, "hidden_size": 8, "dense_size": 8, "pair": False, "dropout": 0.0}
    config = BiLstmConfig(vocab_size=30, pad_token_id=0, num_labels=2, **shape)
    model = BiLstmForSequenceClassification(config)
    model.config.id2label, model.config.label2id = {0: "bad", 1: "good"}, {"bad": 0, "good": 1}
    save_model(model, word_tokenizer(TRAIN, size=30, least=1, mask="[MASK]"), clone / "models/bilstm")
    assert "has a WordLevel tokenizer: its pieces cannot be trimmed" in refused(capsys, *words("models/bilstm"))
    assert not Path("models/trim").exists()
