"""A folder like a clone's: params.yaml at a tiny size, and the inputs that a stage wants."""

import copy
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests import tiny

ROOT = Path(__file__).parents[2]


def params(folder: Path, **changes: Any) -> Path:
    """params.yaml with the smoke profile laid over it, and `changes` over that, as {"teacher.floor": 0.9}."""
    yaml = YAML(typ="safe", pure=True)
    tree = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    overlay(tree, yaml.load((ROOT / "profiles" / "smoke.yaml").read_text(encoding="utf-8")))
    for block in ("hinton", "tinybert", "distilbert"):
        tree[block]["student"]["layers"] = 2
    tree["teacher"]["model"] = "start"
    for key, value in changes.items():
        *path, last = key.split(".")
        place = tree
        for part in path:
            place = place[part]
        place[last] = copy.deepcopy(value)
    file = folder / "params.yaml"
    with file.open("w", encoding="utf-8") as stream:
        yaml.dump(tree, stream)
    return file


def overlay(tree: dict, changes: dict) -> None:
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(tree.get(key), dict):
            overlay(tree[key], value)
        else:
            tree[key] = value


def fill(folder: Path) -> None:
    """A task, a corpus, a model to start from, and a teacher of four layers."""
    tiny.write_task(folder / "data" / "task")
    tiny.write_corpus(folder / "data" / "corpus")
    tiny.save(tiny.bert(layers=4).bert, folder / "start")
    tiny.save(tiny.bert(layers=4, seed=3), folder / "models" / "teacher")
