"""A folder like a clone's: params.yaml at a tiny size, and the inputs that a stage wants."""

import copy
import json
import shutil
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from ruamel.yaml import YAML
from transformers import AutoModelForSequenceClassification, BertForMaskedLM, PreTrainedModel, Trainer

from stillhouse.encoders.checkpoint import load_model
from tasks import corpus_phase
from tasks.data.schema import kind_of
from tasks.stage import program
from tests import tiny

ROOT = Path(__file__).parents[2]


def params(folder: Path, **changes: Any) -> Path:
    """params.yaml with the smoke profile laid over it, and `changes` over that, as {"teacher.floor": 0.9}."""
    tree = json.loads(_smoke())
    for block, phase in (("hinton", "distill"), ("tinybert", "general"), ("distilbert", "general")):
        tree[block][phase]["student"]["layers"] = 2
    tree["teacher"]["model"] = "start"
    task = folder / "data/task/train.parquet"
    tree["data"]["kind"] = kind_of(task) if task.exists() else "classes"
    for key, value in changes.items():
        *path, last = key.split(".")
        place = tree
        for part in path:
            place = place[part]
        place[last] = copy.deepcopy(value)
    file = folder / "params.yaml"
    file.write_text(json.dumps(tree), encoding="utf-8")  # which is YAML, and faster to write
    return file


def write_task(folder: Path, **kind: Any) -> Path:
    """Another task in the folder, as `tiny.write_task` takes it, or `answers=True`; its params.yaml names its kind."""
    data = folder / "data/task"
    if kind.pop("answers", False):
        tiny.write_questions(data)
    else:
        tiny.write_task(data, **kind)
    file = folder / "params.yaml"
    tree = json.loads(file.read_text(encoding="utf-8"))
    tree["data"]["kind"] = kind_of(data / "train.parquet")
    file.write_text(json.dumps(tree), encoding="utf-8")
    return data


@cache
def _smoke() -> str:
    """The tree as JSON: what is made of it anew is nobody else's, and sooner than a deep copy."""
    yaml = YAML(typ="safe", pure=True)
    tree = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    tree = json.loads(json.dumps(tree))  # what is merged in several places is one object, and changed in one of them
    overlay(tree, yaml.load((ROOT / "profiles" / "smoke.yaml").read_text(encoding="utf-8")))
    return json.dumps(tree)


def overlay(tree: dict, changes: dict) -> None:
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(tree.get(key), dict):
            overlay(tree[key], value)
        else:
            tree[key] = value


def fill(folder: Path) -> None:
    """A task, a corpus, a model to start from, a teacher of four layers, and a masked LM of as many."""
    shutil.copytree(_filled().name, folder, dirs_exist_ok=True)


@cache
def _filled() -> TemporaryDirectory:
    """What `fill` copies: made once a process, gone with it."""
    kept = TemporaryDirectory(prefix="stillhouse-filled-")
    folder = Path(kept.name)
    tiny.write_task(folder / "data" / "task")
    tiny.write_corpus(folder / "data" / "corpus")
    tiny.save(tiny.bert(layers=4).bert, folder / "start")
    tiny.save(tiny.bert(layers=4, seed=3), folder / "models" / "teacher")
    tiny.save(BertForMaskedLM(tiny.bert(layers=4).config), folder / "models" / "mlm")
    return kept


def enter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go to a folder that is filled, with its params.yaml, and track nothing."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("STILLHOUSE_TRACKING", "off")
    params(folder)
    fill(folder)


def on_task(module: Any, recipe: str, *words: str, out: str, teacher: str = "models/teacher") -> tuple:
    """What `run` takes for a recipe's program on the task: `on_task(prune, "magnitude", out="magnitude")`."""
    return (module, recipe, *words, "--data", "data/task", "--teacher", teacher, "--out", f"models/{out}")


def on_corpus(recipe: str, corpus: str = "data/corpus") -> tuple:
    """What `run` takes for a recipe's corpus phase; the student is `models/general`."""
    return (corpus_phase, recipe, "--corpus", corpus, "--mlm", "models/mlm", "--out", "models/general")


def loaded(folder: str) -> PreTrainedModel:
    """The classifier in a folder."""
    return load_model(folder, AutoModelForSequenceClassification)


def run(module: Any, *words: object) -> None:
    """A stage's program, in this process; the models that it writes are cleared first, as DVC does."""
    for option in {"--out", "--route"}.intersection(words):
        if (out := Path(words[words.index(option) + 1])).parts[0] == "models":
            shutil.rmtree(out, ignore_errors=True)
    sys.argv = ["program", *map(str, words)]
    module.main()


def refused(capsys: pytest.CaptureFixture, module: Any, *words: object) -> str:
    """The one line of a program that leaves with the exit code for bad input."""
    sys.argv = ["program", *map(str, words)]
    with pytest.raises(SystemExit) as left:
        program.run(module.main)
    assert left.value.code == program.EXIT_INPUT
    line = capsys.readouterr().err
    assert line.startswith("error: ") and line.count("\n") == 1
    return line


def interrupted_and_resumed_is_the_same(monkeypatch: pytest.MonkeyPatch, words: tuple, step: int) -> bool:
    """Whether a program that dies after `step` steps, and runs again, writes the model of one that did not."""
    weights = Path(words[words.index("--out") + 1]) / "model.safetensors"
    run(*words)
    whole = weights.read_bytes()

    trains = Trainer.training_step

    def dies(self: Any, *batch: Any) -> Any:
        if self.state.global_step == step:
            raise KeyboardInterrupt
        return trains(self, *batch)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "training_step", dies)
        with pytest.raises(KeyboardInterrupt):
            run(*words)
    assert list(Path(".cache/unfinished").rglob("complete")), "nothing to resume from"
    run(*words)
    return weights.read_bytes() == whole
