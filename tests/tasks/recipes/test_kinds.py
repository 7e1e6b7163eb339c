"""Every recipe on every kind of task at the smallest size: what dvc.yaml runs for it, or the reason why it does not."""

import importlib
import json
import math
import re
from functools import cache
from pathlib import Path

import pytest
from datasets import Dataset
from ruamel.yaml import YAML

from stillhouse.encoders.checkpoint import load_tokenizer
from tasks.kinds.find import kind_class, kind_names, load_task
from tasks.kinds.judging import Scorer
from tasks.phases.recipe import load_recipe
from tests import tiny
from tests.tasks import project
from tests.tasks.project import ROOT, refused, run

METRICS = {"classes": "accuracy", "scores": "pearson", "answers": "f1", "multi-label": "micro_f1", "tokens": "micro_f1"}
# Every other cell runs. A recipe that cannot do a kind says why in one line.
REFUSED: dict[tuple[str, str], str] = {}
# Classes of pairs: single texts are what each recipe's own tests have.
ROWS = {"classes": {"pair": True}, "scores": {"regression": True}, "answers": {"answers": True}}
ROWS |= {"multi-label": {"several": True}, "tokens": {"tags": True}}
WINDOWS = {"max_length": 24, "overlap": 4, "question_length": 6}
TINY = {
    "albert.general.embedding_size": 8,
    "kinds.answers": {**WINDOWS, "null_threshold": 0.0, "n_best": 3, "max_answer_length": 6},
    "subword.general.vocabulary": 60,
    "theseus.replace.layers": 2,
    "smallest.factorize.ranks": {"layers": 8, "embedding": 8},
    "smallest.student.student": {
        **{"layers": 2, "hidden_size": None, "heads": None, "intermediate_size": None},
        **{"init": "teacher", "source_layers": None, "from": None},
    },
}
# So that the ways that a recipe has to choose, measure and round are tried on another kind than their own tests have.
VARIANTS = {
    "classes": {},
    "scores": {
        "rco.distill.anchors": "greedy",
        "structured.gates.choose": "gain",
        "magnitude.prune.when": "before",
        "layerdrop.prune.choose": "search",
        "hinton.distill.loss": "logits",
    },
    "multi-label": {
        "kinds.multi-label.threshold": "each",
        "structured.gates.choose": "gain",
        "rco.distill.anchors": "greedy",
        "hinton.distill.loss": "logits",
        "layerdrop.prune.choose": "search",
    },
    "tokens": {
        "kinds.tokens": {"max_length": 8, "overlap": 2},
        "structured.gates.choose": "gain",
        "layerdrop.prune.choose": "search",
        "int8.quantize.activations": "static",
        "magnitude.prune.when": "before",
    },
    "answers": {
        "rco.distill.anchors": "greedy",
        "layerdrop.prune.choose": "data-driven",
        "int8.quantize.activations": "static",
        "hinton.distill.loss": "logits",
        "magnitude.prune.when": "before",
    },
}


@cache
def dvc() -> dict:
    return YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


def recipes() -> list[str]:
    return list(dvc()["report"]["foreach"])


def filled(text: str, params: dict) -> str:
    def value(hole: re.Match) -> str:
        tree = params
        for part in hole[1].split("."):
            tree = tree[part]
        return str(tree)

    return re.sub(r"\$\{([^}]+)\}", value, text)


def commands(slug: str, params: dict) -> list[list[str]]:
    """What `dvc repro SLUG` would run, in order, but for what lies there already."""
    stages = {name: stage for name, stage in dvc().items() if "cmd" in stage}
    makers = {filled(out, params): name for name in stages for out in stages[name].get("outs", []) if type(out) is str}
    order: list[str] = []

    def visit(name: str) -> None:
        for dep in stages[name]["deps"]:
            path = filled(dep, params)
            maker = makers.get(path) or makers.get(str(Path(path).parent))
            if maker and maker not in order and not Path(path).exists():
                visit(maker)
        order.append(name)

    visit(slug)
    return [filled(stages[name]["cmd"], params).split()[2:] for name in order]


@pytest.fixture
def params(clone, request) -> dict:
    kind = request.param
    project.write_task(clone, train=32, **ROWS[kind])
    project.params(clone, **TINY, **VARIANTS[kind], **{"evaluate.metric": METRICS[kind]})
    save = {"classes": tiny.bert, "scores": lambda **shape: tiny.bert(labels=(), **shape), "answers": tiny.answerer}
    save |= {"multi-label": tiny.several_labels, "tokens": tiny.tagger}
    for seed, folder in ((3, "teacher"), (4, "teacher-route/01"), (5, "teacher-route/02")):
        tiny.save(save[kind](layers=4, seed=seed), clone / "models" / folder)
    texts = tiny.sentences(48, seed=3)[0]
    (clone / "data/corpus-pairs").mkdir()
    pairs = Dataset.from_dict({"text": texts[:24], "text_pair": texts[24:]})
    pairs.to_parquet(clone / "data/corpus-pairs/corpus.parquet")
    return json.loads((clone / "params.yaml").read_text())


@pytest.mark.parametrize("params", kind_names(), indirect=True)
@pytest.mark.parametrize("slug", recipes())
def test_a_recipe_does_a_kind_of_task_or_says_why_not(slug, params, capsys, cell):
    kind = params["data"]["kind"]
    cell(recipe=slug, kind=kind, family="bert")
    if (slug, kind) in REFUSED:
        module, *words = commands(slug, params)[0]
        line = refused(capsys, importlib.import_module(module), *words)
        assert line.startswith(f"error: recipe '{slug}' does not do data.kind = '{kind}': {REFUSED[slug, kind]}")
        cell(recipe=slug, kind=kind, family="bert", refused=line)
        return
    for module, *words in commands(slug, params):
        run(importlib.import_module(module), *words)
    task, folder = load_task(Path("data/task")), Path("models") / slug
    task.kind.start(Path("models/teacher"), None)  # the teacher is one of this kind
    model = task.kind.load(folder)
    scorer = Scorer(task.kind, task.validation, load_tokenizer(folder), METRICS[kind], batch_size=16)
    assert all(math.isfinite(score) for score in scorer(model))


def test_the_table_has_a_reason_for_each_cell_that_is_refused():
    table = {}
    for slug in recipes():
        recipe = load_recipe(slug)
        for name in kind_names():
            table[slug, name] = getattr(recipe, "refuses", lambda kind: None)(kind_class(name))
    assert len(table) == 21 * 5, "a new recipe or kind? then this number is another"
    assert {cell: reason for cell, reason in table.items() if reason} == REFUSED
