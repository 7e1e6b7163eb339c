"""A recipe is run again when what lies behind its data has changed, and only then."""

import json
import os
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from flows.checks.data import changed
from flows.checks.finding import Setup
from flows.dag import sources
from flows.dag.graph import lineage, load_graph
from stillhouse.errors import InputError
from tasks.stage.params import read_yaml
from tests.flows.conftest import Toy
from tests.flows.test_flows import ROOT, own_prefect, run, runs  # noqa: F401 - a fixture

COPY = {"deps": ["params.yaml"], "outs": ["out"], "cmd": "cp params.yaml out"}
STAGES = {"prepare": COPY, "report": {"foreach": ["hinton"], "do": {"cmd": "cat out", "deps": ["out"]}}}


def watching(root: Path, **data: object) -> None:
    """The project's own block `data`, with these values."""
    blocks = read_yaml(root / "params.yaml") if (root / "params.yaml").exists() else {}
    blocks["data"] = read_yaml(ROOT / "params.yaml")["data"] | data
    (root / "params.yaml").write_text(json.dumps(blocks))


def files(root: Path) -> dict[str, object]:
    """A source of two files; what they hold does not matter here."""
    (root / "raw").mkdir()
    for name in ("train.tsv", "dev.tsv"):
        (root / "raw" / name).write_text("text\tlabel\ngood\tyes\n")
    return in_folder("raw")


def in_folder(folder: str) -> dict[str, object]:
    """Files of SST-2's layout in a folder, by their usual names."""
    names = dict.fromkeys(("train", "validation", "test"))
    return {"source": "files", "files": {"folder": folder, "layout": "sst2", **names}}


def look(root: Path) -> list[str]:
    new, remember = sources.changed(root, "hinton")
    remember()
    return new


def test_files_that_are_added_written_or_touched_are_a_change_and_nothing_else_is(toy: Toy) -> None:
    root = toy(STAGES)
    watching(root, **files(root))
    assert look(root) == ["prepare"], "never seen"
    assert look(root) == []
    (root / "raw" / "train.tsv").write_text("text\tlabel\nbad\tno\n")
    assert look(root) == ["prepare"]
    os.utime(root / "raw" / "dev.tsv", (1, 1))
    assert look(root) == ["prepare"]
    (root / "raw" / "more.tsv").touch()
    assert look(root) == ["prepare"]
    assert sources.changed(root, "hinton")[0] == []


def test_a_change_is_news_until_a_run_on_it_has_ended_well(toy: Toy) -> None:
    root = toy(STAGES)
    watching(root, **files(root))
    look(root)
    (root / "raw" / "train.tsv").write_text("other")
    for _ in range(2):
        assert sources.changed(root, "hinton")[0] == ["prepare"]


def test_other_weights_in_the_teachers_folder_run_what_starts_from_it_again(toy: Toy) -> None:
    teacher = {"params": ["teacher"], "deps": ["out"], "outs": ["taught"], "cmd": "cp out taught"}
    report = {"foreach": ["hinton"], "do": {"cmd": "cat taught", "deps": ["taught"]}}
    root = toy({"prepare": COPY, "teacher": teacher, "report": report})
    (root / "mine").mkdir()
    (root / "mine/model.safetensors").write_text("1")
    watching(root, **files(root))
    tree = read_yaml(root / "params.yaml")
    (root / "params.yaml").write_text(json.dumps(tree | {"teacher": {"model": "mine"}}))
    assert look(root) == ["prepare", "teacher"], "never seen"
    stages = lineage(load_graph(root), "report@hinton")
    assert sources.changed_on_disk(root, "hinton", stages)[0] == [], "what was never seen is no change"
    sources.changed_on_disk(root, "hinton", stages)[1]()
    (root / "mine/model.safetensors").write_text("22")
    assert sources.changed_on_disk(root, "hinton", stages)[0] == ["teacher"]
    for recipe in ("hinton", None):
        (line,) = changed(Setup(root, recipe, {}, load_graph(root), stages))
        assert (
            line.level == "warning" and "what teacher reads has changed on disk since hinton was last run" in line.text
        )
    assert look(root) == ["teacher"]
    (root / "params.yaml").write_text(json.dumps(tree | {"teacher": {"model": "builtin"}}))
    assert "teacher" not in sources.changed_on_disk(root, "hinton", stages)[0], "whose weights are pinned"


def test_what_else_a_stage_reads_from_outside_runs_it_again(toy: Toy) -> None:
    vectors = {"params": ["augment"], "deps": ["out"], "outs": ["more"], "cmd": "cp out more"}
    student = {"params": ["hinton.distill"], "deps": ["more"], "outs": ["student"], "cmd": "cp more student"}
    report = {"foreach": ["hinton"], "do": {"cmd": "cat student", "deps": ["student"]}}
    root = toy({"prepare": COPY | {"params": ["data"]}, "augment": vectors, "hinton": student, "report": report})
    places = {"prepare": "raw/labels.txt", "augment": "glove.txt", "hinton": "start/model.safetensors"}
    source = files(root)
    for place in places.values():
        (root / place).parent.mkdir(exist_ok=True)
        (root / place).write_text("1")
    source["files"] |= {"train": "train.tsv", "validation": "dev.tsv"}
    watching(root, **source, labels="labels.txt")
    tree = read_yaml(root / "params.yaml")
    more = {"augment": {"word_vectors": "glove.txt"}, "hinton": {"distill": {"student": {"from": "start"}}}}
    (root / "params.yaml").write_text(json.dumps(tree | more))
    assert sorted(look(root)) == sorted(places) and look(root) == []
    for stage, place in places.items():
        (root / place).write_text("22")
        assert look(root) == [stage]


def test_another_version_of_a_library_is_a_change(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    root = toy(STAGES)
    watching(root)
    look(root)
    assert look(root) == []
    monkeypatch.setattr(sources, "version", lambda name: "0.0" if name == "pandas" else version(name))
    assert look(root) == ["prepare"]


def test_another_commit_of_a_hub_dataset_is_a_change(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    root = toy(STAGES)
    splits = {"train_split": "a", "validation_split": "b", "test_split": None}
    hub = {"name": "nyu-mll/glue", "config": "sst2", "revision": None, **splits}
    watching(root, source="hub", hub=hub)
    commits = ["aaa", "aaa", "bbb"]
    monkeypatch.setattr(sources, "_commit", lambda *_: commits.pop(0))
    assert [look(root) for _ in range(3)] == [["prepare"], [], ["prepare"]]


def test_a_hub_that_is_away_is_told_from_a_dataset_that_is_not_there(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    root = toy(STAGES)
    # HfApi was given the hub's address when it was imported.
    monkeypatch.setattr("huggingface_hub.HfApi", partial(HfApi, endpoint="http://127.0.0.1:9"))
    with pytest.raises(ConnectionError, match="dataset 'nyu-mll/glue': ConnectError"):
        sources._commit("data.hub", "nyu-mll/glue", None, "dataset")
    with pytest.raises(InputError, match=r"teacher.model: no model './gone' with the revision main"):
        sources._commit("teacher.model", "./gone", None, "model")
    watching(root, **in_folder("gone"))
    assert sources.changed_on_disk(root, "hinton", load_graph(root))[0] == [], "what is away is no change"
    with pytest.raises(InputError, match="gone': no such folder"):
        sources.changed(root, "hinton")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_changed_files_retrain_the_recipe_and_files_that_say_the_same_do_not(recipe_project: Path) -> None:
    tree = json.loads((recipe_project / "dvc.yaml").read_text())
    for name, more in {
        "prepare": "cp raw/train.tsv data/task",
        "teacher": "cp data/task/train.tsv models/teacher",
        "hinton": "echo x >> trained",
    }.items():
        tree["stages"][name]["cmd"] += f" && {more}"
    (recipe_project / "dvc.yaml").write_text(json.dumps(tree))
    watching(recipe_project, **files(recipe_project))
    code, shown = run("flows.watch", "hinton")
    assert code == 0 and "candidate: stillhouse-sst2 version 1" in shown, shown
    trained = recipe_project / "trained"
    assert trained.read_text() == "x\n"
    code, shown = run("flows.watch", "hinton")
    assert code == 0 and shown == f"{sources.nothing_new('hinton')}\n"
    (recipe_project / "raw" / "train.tsv").touch()
    code, shown = run("flows.watch", "hinton")
    assert code == 0 and "[prepare] done" in shown and "[teacher] done" not in shown, shown
    (recipe_project / "raw" / "train.tsv").write_text("text\tlabel\nbad\tno\n")
    code, shown = run("flows.watch", "hinton")
    assert code == 0 and "[teacher] done" in shown and trained.read_text() == "x\nx\n", shown
    assert len(runs()) == 3
