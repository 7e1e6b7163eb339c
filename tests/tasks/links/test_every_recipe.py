"""The last links after every recipe, kind of task and family, as dvc.yaml runs them: what is left out is said.

The task's texts use few of a tokenizer's pieces, so that there is something to trim.
"""

import importlib
import json
from pathlib import Path

import pytest
from datasets import Dataset

from stillhouse.encoders.checkpoint import load_tokenizer, save_model
from stillhouse.families.find import FAMILIES
from stillhouse.models.shape import Shape
from stillhouse.surgery.quantizing import quantized
from tasks import finish
from tasks.kinds.find import kind_names, load_task
from tests import families, tiny
from tests.tasks import project
from tests.tasks.links.test_finish import evaluated
from tests.tasks.project import run
from tests.tasks.recipes.test_families import HEADS
from tests.tasks.recipes.test_kinds import METRICS, ROWS, TINY, commands, recipes

pytestmark = pytest.mark.slow

LINKS = {
    "trim": {"floor": 1, "first": 0},
    "factorize": {"energy": 0.4},
    "int8": {"embeddings": True, "reduce_range": False, "calibration": None},
}
UNUSED = ["##a", *("a" * length for length in range(2, 42))]  # of letters that are pieces themselves
THIN = "factorize is left out: the word vectors are factorized already"
ROUNDED = ("factorize is left out: the model is quantized", "int8 is left out: the weights are in int8 already")
WHOLE_WORDS = "trim is left out: the pieces of a WordLevel tokenizer cannot be trimmed"
NO_SHAPES = "model family 'electra' is not one of bert, roberta"
# What of a recipe's or a family's student a link leaves as it is; all else is trimmed, factorized and rounded.
LEFT_OUT: dict[str, tuple[str, ...]] = {
    "trim": ("trim is left out: all pieces stay",),
    "int8": ROUNDED,
    "smallest": ROUNDED,
    "albert": (THIN,),
    "lowrank": (THIN,),
    "bilstm": (WHOLE_WORDS, "factorize is left out: model family 'stillhouse-bilstm'"),
}
OF_FAMILY: dict[str, tuple[str, ...]] = {
    "electra": (f"factorize is left out: {NO_SHAPES}", f"int8 is left out: {NO_SHAPES}"),
    "albert": ("factorize is left out: model family 'albert': its word vectors are factorized",),
}


def fill(clone: Path, family: str, kind: str) -> None:
    """A task of a kind, and models of a family to start from, with pieces that no text has."""
    project.write_task(clone, train=32, **({} if kind == "classes" else ROWS[kind]))
    project.params(clone, **TINY, **{"evaluate.metric": METRICS[kind]})
    file = clone / "params.yaml"
    tree = json.loads(file.read_text())
    tree["finish"] |= LINKS
    tree["subword"]["general"]["vocabulary"] = 90
    file.write_text(json.dumps(tree))
    texts = tiny.sentences(48, seed=3)[0]
    (clone / "data/corpus-pairs").mkdir()
    pairs = Dataset.from_dict({"text": texts[:24], "text_pair": texts[24:]})
    pairs.to_parquet(clone / "data/corpus-pairs/corpus.parquet")
    head, labels = HEADS.get(kind, ("ForSequenceClassification", {0: "bad", 1: "good"}))
    names = {"id2label": labels, "label2id": {label: place for place, label in labels.items()}}
    problem = {"multi-label": "multi_label_classification", "scores": "regression"}.get(kind)
    tokenizer = families.tokenizer(family, UNUSED)
    for end, folders in (
        ("Model", ["start"]),
        ("ForMaskedLM", ["models/mlm"]),
        (head, ["models/teacher", "models/teacher-route/01", "models/teacher-route/02"]),
    ):
        stated = {"problem_type": problem} if problem and end == head else {}
        model = families.model(family, end, layers=4, vocab_size=len(tokenizer), **names, **stated)
        for folder in folders:
            save_model(model, tokenizer, clone / folder)


def check(slug: str, kind: str, left_out: tuple[str, ...], capsys: pytest.CaptureFixture) -> None:
    """Make the recipe's student and finish it; it says what is left out, and nothing else is."""
    for module, *words in commands(slug, json.loads(Path("params.yaml").read_text())):
        run(importlib.import_module(module), *words)
    capsys.readouterr()
    out = f"models/finished/{slug}"
    run(finish, slug, "--data", "data/task", "--model", f"models/{slug}", "--corpus", "data/task", "--out", out)
    said = [line for line in capsys.readouterr().out.splitlines() if " is left out: " in line]
    assert len(said) == len(left_out) and all(map(str.startswith, said, left_out)), said
    of = load_task(Path("data/task")).kind
    plain, ours = of.load(Path(f"models/{slug}")), of.load(Path(out))
    done = {name for name in LINKS if not any(line.startswith(name) for line in said)}
    tokenizers = [load_tokenizer(Path(folder)) for folder in (f"models/{slug}", out)]
    assert (len(tokenizers[1]) < len(tokenizers[0])) == ("trim" in done)
    assert ours.get_input_embeddings().num_embeddings >= len(tokenizers[1])
    if "factorize" in done:
        assert Shape.of(ours.config).embedding_size < Shape.of(plain.config).embedding_size
    assert "int8" not in done or quantized(ours) == "int8"
    figures = evaluated(slug, kind)
    assert figures["form"] == "finished"
    # As `export` holds it: both runtimes may round away so much.
    assert figures["onnx_max_difference"] <= max(1e-3, 2 * figures["onnx_rounding"])


@pytest.mark.parametrize("slug", recipes())
def test_every_recipes_student_is_finished(clone: Path, slug: str, capsys: pytest.CaptureFixture) -> None:
    fill(clone, "bert", "classes")
    check(slug, "classes", LEFT_OUT.get(slug, ()), capsys)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_student_of_every_family_is_finished(clone: Path, family: str, capsys: pytest.CaptureFixture) -> None:
    fill(clone, family, "classes")
    check("hinton", "classes", OF_FAMILY.get(family, ()), capsys)


@pytest.mark.parametrize("kind", kind_names())
def test_a_student_of_every_kind_of_task_is_finished(clone: Path, kind: str, capsys: pytest.CaptureFixture) -> None:
    fill(clone, "bert", kind)
    check("hinton", kind, (), capsys)


def test_the_tables_name_what_there_is() -> None:
    assert (len(recipes()), len(FAMILIES), len(kind_names())) == (21, 10, 5), "a new one? then a number is another"
    assert set(LEFT_OUT) <= set(recipes()) and set(OF_FAMILY) <= set(FAMILIES)
