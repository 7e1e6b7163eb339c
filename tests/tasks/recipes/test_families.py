"""Every recipe on every family of encoder, as dvc.yaml runs it: what comes out is scored, or a line says why not.

A third of the cells, with every recipe and every family among them, and all that are refused; all of them with
STILLHOUSE_FAMILIES=all. Every method on every family is in tests/guards/test_families.py, every kind on every family in
tests/tasks/kinds/test_families.py.
"""

import importlib
import json
import math
import os
from pathlib import Path

import pytest
from datasets import Dataset

from stillhouse.encoders.checkpoint import load_tokenizer, save_model
from stillhouse.families.find import FAMILIES
from tasks.kinds.find import load_task
from tasks.kinds.judging import Scorer
from tests import families, tiny
from tests.tasks import project
from tests.tasks.project import refused, run
from tests.tasks.recipes.test_kinds import METRICS, ROWS, TINY, commands, recipes

pytestmark = pytest.mark.slow

NO_SHAPES = "model family 'electra' is not one of bert, roberta"
ONE_LAYER = "model family 'albert': it computes one layer's weights again and again"
BERT_ONLY = "subword's teacher is a"
# What a recipe cannot do with a family, and how its line begins.
REFUSED = {
    **{(slug, "electra"): NO_SHAPES for slug in ("structured", "structured-distil", "albert", "lowrank", "int8")},
    **{(slug, "electra"): NO_SHAPES for slug in ("layerdrop", "smallest")},
    **{(slug, "albert"): ONE_LAYER for slug in ("theseus", "layerdrop", "rocket", "albert")},
    **{(slug, "albert"): "the model's layers share weights" for slug in ("structured", "structured-distil")},
    **{(slug, "albert"): "model family 'albert': its word vectors are factorized" for slug in ("lowrank", "smallest")},
    **{("subword", name): BERT_ONLY for name in FAMILIES if name != "bert"},
}
CELLS = [(slug, name) for slug in recipes() for name in FAMILIES]
CHOSEN = [
    (slug, name)
    for slug, name in CELLS
    if os.environ.get("STILLHOUSE_FAMILIES") == "all"
    or (slug, name) in REFUSED
    or (recipes().index(slug) + list(FAMILIES).index(name)) % 3 == 0
]
LEFT = "a third of whole recipes × families runs, with STILLHOUSE_FAMILIES=all all of them"
# Kinds of task do not know families either: a few cells of that plane.
HEADS: dict[str, tuple[str, dict]] = {
    "tokens": ("ForTokenClassification", dict(enumerate(tiny.TAGS))),
    "answers": ("ForQuestionAnswering", {0: "start", 1: "end"}),
    "multi-label": ("ForSequenceClassification", {0: "good", 1: "long"}),
    "scores": ("ForSequenceClassification", {0: "LABEL_0"}),
}
CROSS = [
    ("hinton", "deberta-v2", "tokens"),
    ("tinybert", "modernbert", "tokens"),
    ("structured", "mpnet", "answers"),
    ("int8", "distilbert", "multi-label"),
    ("pkd", "albert", "scores"),
    ("smallest", "deberta-v2", "answers"),
    ("minilm", "electra", "multi-label"),
]


def save(name: str, head: str, folder: str, **changes: object) -> None:
    place = Path(folder)
    save_model(families.model(name, head, layers=4, **changes), families.tokenizer(name), place)


@pytest.fixture
def params(clone: Path, request: pytest.FixtureRequest) -> dict:
    name = request.param
    project.params(clone, **TINY)
    texts = tiny.sentences(48, seed=3)[0]
    (clone / "data/corpus-pairs").mkdir()
    pairs = Dataset.from_dict({"text": texts[:24], "text_pair": texts[24:]})
    pairs.to_parquet(clone / "data/corpus-pairs/corpus.parquet")
    save(name, "Model", "start")
    save(name, "ForMaskedLM", "models/mlm")
    for folder in ("teacher", "teacher-route/01", "teacher-route/02"):
        save(name, "ForSequenceClassification", f"models/{folder}")
    return json.loads((clone / "params.yaml").read_text())


@pytest.mark.parametrize(("slug", "params"), CHOSEN, indirect=["params"])
def test_a_recipe_does_a_family_or_says_why_not(slug: str, params: dict, request, capsys, cell) -> None:
    name = request.node.callspec.params["params"]
    cell(recipe=slug, kind="classes", family=name)
    stages = commands(slug, params)
    if (slug, name) in REFUSED:
        for module, *words in stages[:-1]:
            try:
                run(importlib.import_module(module), *words)
            except ValueError as error:  # an InputError, of a stage before the last
                assert str(error).startswith(REFUSED[slug, name]), error
                cell(recipe=slug, kind="classes", family=name, refused=str(error))
                return
        module, *words = stages[-1]
        line = refused(capsys, importlib.import_module(module), *words)
        assert REFUSED[slug, name] in line
        cell(recipe=slug, kind="classes", family=name, refused=line)
        return
    for module, *words in stages:
        run(importlib.import_module(module), *words)
    task, folder = load_task(Path("data/task")), Path("models") / slug
    scorer = Scorer(task.kind, task.validation, load_tokenizer(folder), "accuracy", batch_size=16)
    assert all(math.isfinite(score) for score in scorer(task.kind.load(folder)))


@pytest.mark.parametrize(("slug", "name", "kind"), CROSS)
def test_a_recipe_does_a_kind_of_task_with_a_family(clone: Path, slug: str, name: str, kind: str, cell) -> None:
    cell(recipe=slug, kind=kind, family=name)
    project.write_task(clone, train=32, **ROWS[kind])
    project.params(clone, **TINY, **{"evaluate.metric": METRICS[kind]})
    head, labels = HEADS[kind]
    names = {"id2label": labels, "label2id": {label: place for place, label in labels.items()}}
    problem = {"multi-label": "multi_label_classification", "scores": "regression"}.get(kind)
    save(name, "Model", "start")
    save(name, "ForMaskedLM", "models/mlm")
    save(name, head, "models/teacher", **names, **({"problem_type": problem} if problem else {}))
    for module, *words in commands(slug, json.loads((clone / "params.yaml").read_text())):
        run(importlib.import_module(module), *words)
    task, folder = load_task(Path("data/task")), Path("models") / slug
    scorer = Scorer(task.kind, task.validation, load_tokenizer(folder), METRICS[kind], batch_size=16)
    assert all(math.isfinite(score) for score in scorer(task.kind.load(folder)))


def test_the_table_counts_its_cells(cell) -> None:
    for slug, name in set(CELLS) - set(CHOSEN):
        cell(recipe=slug, kind="classes", family=name, left=LEFT)
    assert len(CELLS) == 21 * 10, "a new recipe or family? then this number is another"
    assert {slug for slug, _ in CHOSEN} == set(recipes()) and {name for _, name in CHOSEN} == set(FAMILIES)
    assert all(slug in recipes() and name in FAMILIES for slug, name in REFUSED)
