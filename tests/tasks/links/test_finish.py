"""A recipe's last links at a tiny size: what each does to a student, what is left out and why, and what stays equal."""

import json
import re
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from datasets import Dataset

from stillhouse.encoders.checkpoint import load_tokenizer, save_model
from stillhouse.models.quantized_modules import LARGEST
from stillhouse.models.shape import Shape
from stillhouse.surgery import dequantize, factorize_embedding, slice_heads, trim
from stillhouse.surgery.factorizing import svd
from stillhouse.surgery.quantizing import quantized
from stillhouse.text.trimming import first_pieces
from tasks import code, evaluate, export, finish
from tasks.kinds.find import load_task
from tests import pieces, tiny
from tests.pieces import TRAIN
from tests.tasks import project
from tests.tasks.project import loaded, refused, run
from tests.tasks.recipes.test_kinds import TINY, commands

TRIM, FACTORIZE = {"floor": 1, "first": 0}, {"energy": 0.8}
DYNAMIC = {"embeddings": True, "reduce_range": False, "calibration": None}
STATIC = {**DYNAMIC, "calibration": {"rows": 8, "momentum": None, "max_length": 16, "seed": 1}}
ALL = {"trim": TRIM, "factorize": FACTORIZE, "int8": DYNAMIC}
NONE = dict.fromkeys(ALL)


def finished(recipe: str, links: dict | None = None, corpus: str = "data/task", **own: dict | None) -> None:
    """Run the stage, with these links of all recipes, and these of its own."""
    changes = {f"finish.{name}": numbers for name, numbers in (links or {}).items()}
    tree = json.loads(Path("params.yaml").read_text())
    for key, value in changes.items():
        tree["finish"][key.removeprefix("finish.")] = value
    tree["finish"]["of"][recipe] = own
    Path("params.yaml").write_text(json.dumps(tree))
    words = ("--data", "data/task", "--model", f"models/{recipe}", "--corpus", corpus)
    run(finish, recipe, *words, "--out", f"models/finished/{recipe}")


def evaluated(recipe: str, kind: str) -> dict:
    """metrics.json of the finished student, as dvc.yaml makes it."""
    for name in ("teacher", f"finished/{recipe}"):
        run(export, "--kind", kind, "--model", f"models/{name}", "--out", f"models/onnx/{name}")
    task = ("--data", "data/task")
    run(evaluate, "teacher", *task, "--model", "models/teacher", "--onnx", "models/onnx/teacher", "--out", "teacher")
    run(
        *(evaluate, recipe, "--finished", *task, "--model", f"models/finished/{recipe}"),
        *("--onnx", f"models/onnx/finished/{recipe}", "--teacher", "teacher", "--teacher-onnx", "models/onnx/teacher"),
        *("--out", "finished"),
    )
    return json.loads(Path("finished/metrics.json").read_text())


@pytest.fixture
def student(clone: Path) -> Path:
    """A task of made-up words, a teacher that cuts them into pieces, and its student with heads of three sizes."""
    pieces.write_task(clone, "WordPiece")
    project.params(clone)
    model = slice_heads(loaded("models/teacher"), [[0], [0, 1]])
    save_model(model, load_tokenizer(Path("models/teacher")), clone / "models/structured")
    return clone


@torch.no_grad()
def logits(folder: str, text: str) -> torch.Tensor:
    return pieces.aligned(loaded(folder))(**load_tokenizer(Path(folder))(text, return_tensors="pt")).logits


# ----------------------------------------------------------------------------- the two students that fight it most


@pytest.mark.parametrize("int8", [DYNAMIC, pytest.param(STATIC, marks=pytest.mark.slow)], ids=["dynamic", "static"])
def test_a_bilstm_of_tokens_is_rounded_exported_and_scored_and_its_words_stay(clone, capsys, int8):
    project.write_task(clone, train=32, tags=True)
    tokens = {"max_length": 24, "overlap": 4}
    project.params(clone, **TINY, **{"evaluate.metric": "micro_f1", "kinds.tokens": tokens})
    tiny.save(tiny.tagger(layers=4, seed=3), clone / "models/teacher")
    for module, *words in commands("bilstm", json.loads((clone / "params.yaml").read_text())):
        run(__import__(module, fromlist=["main"]), *words)
    capsys.readouterr()
    finished("bilstm", {**ALL, "int8": int8})
    said = capsys.readouterr().out
    assert "trim is left out: the pieces of a WordLevel tokenizer cannot be trimmed\n" in said
    assert "factorize is left out: model family 'stillhouse-bilstm' is not one of" in said and "\nint8: " in said
    kind = load_task(Path("data/task")).kind
    plain, ours = (kind.load(Path(folder)) for folder in ("models/bilstm", "models/finished/bilstm"))
    assert quantized(ours) == "int8" and type(ours) is type(plain)
    figures = evaluated("bilstm", "tokens")
    assert figures["form"] == "finished" and figures["recipe"] == "bilstm"
    assert figures["onnx_max_difference"] <= max(1e-4, figures["onnx_rounding"])


def test_a_structured_student_takes_all_links(student, capsys):
    finished("structured", ALL)
    said = capsys.readouterr().out
    assert [re.search(rf"^{name}: [\d,]+ of", said, re.M) is not None for name in ALL] == [True] * 3
    plain, ours = loaded("models/structured"), loaded("models/finished/structured")
    before, after = Shape.of(plain.config), Shape.of(ours.config)
    assert len(set(before.heads)) > 1 and after.heads == before.heads
    assert after.embedding_size < before.embedding_size and quantized(ours) == "int8"
    assert ours.config.vocab_size == len(load_tokenizer(Path("models/finished/structured"))) < plain.config.vocab_size
    figures = evaluated("structured", "classes")
    assert figures["onnx_max_difference"] <= max(1e-4, figures["onnx_rounding"])
    file = Path("models/onnx/finished/structured/model.onnx")
    session = onnxruntime.InferenceSession(str(file))
    for text in TRAIN[:4]:
        tokens = load_tokenizer(file.parents[2].parent / "finished/structured")(text, return_tensors="np")
        given = session.run(["logits"], {name: tokens[name] for name in (each.name for each in session.get_inputs())})
        wanted = ours(**{name: torch.from_numpy(ids) for name, ids in tokens.items()}).logits.detach().numpy()
        assert np.abs(given[0] - wanted).max() <= max(1e-4, figures["onnx_rounding"])


# ------------------------------------------------------------------------------------------------- what stays equal


def test_without_links_the_finished_student_is_the_plain_one_to_the_byte(student, capsys):
    finished("structured", NONE)
    assert "no link is left for structured: its student is copied as it is" in capsys.readouterr().out
    plain, ours = Path("models/structured"), Path("models/finished/structured")
    assert {file.name: file.read_bytes() for file in plain.iterdir()} == {
        file.name: file.read_bytes() for file in ours.iterdir()
    }


@pytest.mark.parametrize("kind", pieces.KINDS)
def test_trimmed_alone_it_says_the_same_to_the_bit_of_texts_whose_pieces_stay(clone, kind):
    pieces.write_task(clone, kind)
    project.params(clone)
    finished("teacher", {**NONE, "trim": TRIM})
    before, after = (load_tokenizer(Path(folder)) for folder in ("models/teacher", "models/finished/teacher"))
    assert len(after) < len(before) - 80
    for text in TRAIN[::8]:
        assert before.tokenize(text) == after.tokenize(text)
        assert torch.equal(logits("models/finished/teacher", text), logits("models/teacher", text))


def test_trimmed_then_factorized_then_rounded_each_word_vector_is_what_the_three_make_of_it(student):
    finished("structured", ALL)
    plain, ours = loaded("models/structured"), loaded("models/finished/structured")
    tokenizer, small = (load_tokenizer(Path(f"models/{name}")) for name in ("structured", "finished/structured"))
    names = tokenizer.get_vocab()
    rows = [names[piece] for piece in small.convert_ids_to_tokens(range(len(small)))]
    words = plain.get_input_embeddings().weight.detach()[rows]  # (V, d), those that stay
    rank = Shape.of(ours.config).embedding_size
    energy = torch.linalg.svdvals(words.double()).square().cumsum(0)
    assert energy[rank - 1] >= 0.8 * energy[-1] > energy[rank - 2]
    table, project_back = svd(words, rank)  # (V, r), (r, d)
    made = ours.get_input_embeddings()
    for matrix, part in ((table, made.table), (project_back.T, made.project)):
        scale = matrix.abs().amax(1) / LARGEST
        assert torch.allclose(part.scale, scale, rtol=1e-6)
        assert torch.equal(part.weight, (matrix / scale[:, None]).round().to(torch.int8))
    # In one step by the surgery itself.
    model, _ = trim(plain, tokenizer, rows)
    whole, exact = dequantize(ours).state_dict(), factorize_embedding(model, rank).state_dict()
    assert set(whole) == set(exact)
    for name, weight in exact.items():
        step = (
            weight.abs().amax(-1, keepdim=True) / LARGEST if weight.dim() == 2 and "embeddings.pos" not in name else 0
        )
        assert ((whole[name] - weight).abs() <= step + 1e-6).all(), name


# ------------------------------------------------------------------------------------------------- what is left out


def test_a_link_that_the_recipe_has_is_left_out_and_the_others_are_not(student, capsys):
    finished("structured", ALL)
    Path("models/finished/structured").rename("models/smallest")
    capsys.readouterr()
    finished("smallest", ALL)
    said = capsys.readouterr().out
    assert "trim is left out: all pieces stay\n" in said
    assert "factorize is left out: the model is quantized (int8)" in said
    assert "int8 is left out: the weights are in int8 already\n" in said
    assert "no link is left for smallest" in said
    again, before = (
        Path(f"models/{name}/model.safetensors").read_bytes() for name in ("finished/smallest", "smallest")
    )
    assert again == before


def test_the_first_pieces_of_the_tokenizer_stay_though_the_training_rows_have_none_of_them(student, capsys):
    finished("structured", {**NONE, "trim": TRIM})
    few = load_tokenizer(Path("models/finished/structured")).get_vocab()
    finished("structured", {**NONE, "trim": {**TRIM, "first": 100}})
    more = load_tokenizer(Path("models/finished/structured")).get_vocab()
    assert ", and the first 100\n" in capsys.readouterr().out
    whole = load_tokenizer(Path("models/structured"))
    first = set(whole.convert_ids_to_tokens(first_pieces(whole, 100)))
    assert set(more) == {*few, *first} > set(few)


def test_the_pieces_of_a_corpus_stay_too(student, capsys):
    finished("structured", {**NONE, "trim": TRIM})
    few = load_tokenizer(Path("models/finished/structured"))
    text = pieces.texts(200, seed=5)
    (student / "data/more").mkdir()
    Dataset.from_dict({"text": text}).to_parquet(student / "data/more/corpus.parquet")
    finished("structured", {**NONE, "trim": TRIM}, corpus="data/more")
    whole, more = (load_tokenizer(Path(f"models/{name}")) for name in ("structured", "finished/structured"))
    assert "in 264 texts" in capsys.readouterr().out and set(few.get_vocab()) < set(more.get_vocab())
    assert all(more.tokenize(row) == whole.tokenize(row) for row in text)
    assert any(few.tokenize(row) != whole.tokenize(row) for row in text)


def test_a_recipe_says_its_own_links_and_has_the_others_as_all_do(student, capsys):
    finished("structured", ALL, int8=None, trim={"floor": 3, "first": 0})
    said = capsys.readouterr().out
    assert "pieces stand 3 times or more" in said and "\nint8: " not in said and "\nfactorize: " in said
    assert quantized(loaded("models/finished/structured")) is None


@pytest.mark.parametrize(
    ("links", "own", "line"),
    [
        ({"trim": {"floor": 0, "first": 0}}, {}, "finish.trim.floor = 0: Input should be greater than 0"),
        ({"trim": {"floor": 1, "first": -1}}, {}, "finish.trim.first = -1: Input should be greater than or equal to 0"),
        ({}, {"int8": {"embeddings": True}}, "finish.of.structured.int8.reduce_range is missing"),
        ({}, {"prune": None}, "finish.of.structured.prune = None is not a known key"),
        ({"factorize": {"energy": 1.0}}, {}, "finish.factorize.energy = 1.0: Input should be less than 1"),
        (
            {"int8": {**STATIC, "calibration": {**STATIC["calibration"], "max_length": 9000}}},
            {},
            "calibration.max_length = 9000, but the model reads 80 tokens at most",
        ),
    ],
    ids=["floor", "first", "missing", "unknown", "energy", "length"],
)
def test_numbers_that_do_not_fit_are_refused_in_one_line(student, capsys, links, own, line):
    tree = json.loads(Path("params.yaml").read_text())
    tree["finish"] |= links
    tree["finish"]["of"]["structured"] = own
    Path("params.yaml").write_text(json.dumps(tree))
    out = ("--corpus", "data/task", "--out", "models/finished/structured")
    assert line in refused(capsys, finish, "structured", "--data", "data/task", "--model", "models/structured", *out)
    assert not Path("models/finished").exists()


def test_the_first_stage_refuses_a_finished_form_of_what_is_no_recipe(clone, capsys):
    (clone / "tasks/recipes").mkdir(parents=True)
    for name in ("hinton", "prune_recover"):
        (clone / f"tasks/recipes/{name}.py").write_text("Params = None\n")
    tree = json.loads(Path("params.yaml").read_text())
    tree["finish"]["of"] = {"prune-recover": {}, "hintn": {}}
    Path("params.yaml").write_text(json.dumps(tree))
    line = refused(capsys, code, "--out", "code")
    assert line == "error: finish.of.hintn: there is no recipe 'hintn': name one of hinton, prune-recover\n"
    assert not Path("code").exists()


def test_a_recipe_without_a_line_has_no_finished_form(student, capsys):
    tree = json.loads(Path("params.yaml").read_text())
    del tree["finish"]["of"]["structured"]
    Path("params.yaml").write_text(json.dumps(tree))
    words = ("structured", "--data", "data/task", "--model", "models/structured", "--corpus", "data/task")
    words = (*words, "--out", "models/finished/structured")
    assert "finish.of does not name 'structured': it has no finished form" in refused(capsys, finish, *words)
