"""The champion on the rows of a candidate: kept in the registry, or scored here on data that it never saw."""

import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from dvc.repo import Repo
from transformers import AutoModelForSequenceClassification

from flows.promotion.champion import folder_md5
from flows.promotion.decision import try_to_promote
from flows.registry.versions import evaluation_key, register, stored_rows
from stillhouse.encoders.checkpoint import load_model, load_tokenizer
from stillhouse.errors import InputError
from tasks.stage.params import read_yaml
from tasks.tracking.store import open_store
from tests import tiny
from tests.flows.conftest import SERVED, evaluate_again, lock_data, rows_of_accuracy, train_again
from tests.flows.promotion.conftest import NAME, champion, flip


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What is found of whatever is scored here."""
    found = SimpleNamespace(rows=rows_of_accuracy(0.8), served=SERVED)
    module = ModuleType("tasks.kinds.judging")
    module.judge_checkpoint = lambda *_: found  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return found


def new_data(root: Path) -> None:
    """Data that no version was ever scored on, as DVC would know them."""
    (root / "data" / "task" / "new").write_text(uuid.uuid4().hex)
    lock_data(root, folder_md5(root / "data" / "task"))


def test_a_champion_that_never_saw_the_data_is_scored_on_them_here(here: Path, judged: SimpleNamespace) -> None:
    new_data(here)
    train_again(here, "tinybert", 0.95)
    register("tinybert")
    decision = try_to_promote("tinybert")
    assert decision.promoted
    assert "accuracy (validation) 0.9500, champion (version 1, hinton) 0.8000" in decision.checks[-1]
    client, _ = open_store()
    mine = client.get_model_version(NAME, decision.version)
    incumbent = client.get_model_version(NAME, "1")
    kept = stored_rows(client, str(incumbent.run_id), mine.tags["evaluation"])
    assert kept is not None and np.array_equal(kept["predicted"], judged.rows["predicted"]), "so that it is scored once"
    assert incumbent.tags["data_md5"] == "abc.dir", "what it was registered with stays"


def test_what_scores_it_is_what_evaluates(here: Path) -> None:
    tiny.write_task(here / "data" / "task", validation=40)
    new_data(here)
    texts, labels = tiny.sentences(40, seed=2)
    model = load_model("models/hinton", AutoModelForSequenceClassification)
    logits = model(**load_tokenizer("models/hinton")(texts, padding=True, return_tensors="pt")).logits
    right = (logits.argmax(1).numpy() == np.array(labels)).mean()
    rows = {"actual": np.array(labels, dtype=float), "predicted": np.array(labels, dtype=float)}
    train_again(here, "tinybert", 1.0, rows=rows)
    register("tinybert")
    assert f"1.0000, champion (version 1, hinton) {right:.4f}" in try_to_promote("tinybert").checks[-1]


@pytest.mark.usefixtures("judged")
def test_where_the_data_are_not_the_candidates_the_champion_is_not_scored(here: Path) -> None:
    new_data(here)
    lock_data(here, "0123.dir")
    evaluate_again(here, "tinybert", 0.95)
    register("tinybert")
    with pytest.raises(InputError, match=r"'data/task' \(md5 .*\.dir\) here is not what .* \(md5 0123.dir\)") as error:
        try_to_promote("tinybert")
    assert "\n" not in str(error.value) and champion() == "1"


@pytest.mark.usefixtures("judged")
def test_where_params_are_not_the_candidates_nothing_is_kept_of_the_champion(here: Path) -> None:
    new_data(here)
    evaluate_again(here, "tinybert", 0.95, served={"judged_by": {"max_length": 8}})
    register("tinybert")
    message = r"params.yaml here \(max_length = 16\) is not what the candidate was evaluated with"
    for _ in range(2):
        with pytest.raises(InputError, match=message) as error:
            try_to_promote("tinybert")
    assert "\n" not in str(error.value) and champion() == "1"


def test_a_champion_of_another_kind_is_refused(here: Path) -> None:
    new_data(here)
    evaluate_again(here, "tinybert", 0.95, served={"kind": "scores"})
    register("tinybert")
    with pytest.raises(InputError, match="version 1 is a model of classes, the candidate one of scores") as error:
        try_to_promote("tinybert")
    assert "\n" not in str(error.value) and champion() == "1"


@pytest.fixture
def untagged(here: Path) -> Iterator[None]:
    """Version 1 as versions were before they said their kind and their split."""
    client, _ = open_store()
    tags = {name: client.get_model_version(NAME, "1").tags[name] for name in ("kind", "split")}
    for name in tags:
        client.delete_model_version_tag(NAME, "1", name)
    yield
    for name, value in tags.items():
        client.set_model_version_tag(NAME, "1", name, value)


@pytest.mark.usefixtures("judged", "untagged")
def test_a_champion_from_before_versions_said_their_kind_and_split_is_compared(here: Path) -> None:
    assert "on validation (" in try_to_promote("hinton", version="1").checks[0]
    new_data(here)
    evaluate_again(here, "tinybert", 0.95, served={"split": "test"})
    register("tinybert")
    decision = try_to_promote("tinybert")
    assert decision.promoted and "on test (" in decision.checks[0]
    assert "accuracy (test) 0.9500, champion (version 1, hinton) 0.8000" in decision.checks[-1]


def test_a_changed_champion_is_not_scored(tampered: Path, here: Path) -> None:
    new_data(here)
    evaluate_again(here, "tinybert", 0.95)
    register("tinybert")
    flip(tampered / "artifacts/onnx/model.onnx")
    with pytest.raises(InputError, match="version 1: its files have sha256"):
        try_to_promote("tinybert")


def test_numbers_that_decide_the_score_are_part_of_what_is_compared(here: Path) -> None:
    client, _ = open_store()
    before = client.get_model_version(NAME, "1").tags["evaluation"]
    evaluate_again(here, "hinton", 0.9, served={"judged_by": {"max_length": 8}})
    register("hinton")
    assert client.get_model_version(NAME, "1").tags["evaluation"] != before
    evaluate_again(here, "hinton", 0.9)
    register("hinton")
    assert client.get_model_version(NAME, "1").tags["evaluation"] == before


def test_evaluations_have_the_keys_that_they_always_had() -> None:
    assert evaluation_key({"max_length": 64}, "abc.dir") == "ad73a7e19fffc742"
    answers = {"max_length": 128, "overlap": 32, "question_length": 24, "null_threshold": 0.0, "max_answer_length": 40}
    assert evaluation_key(answers, "abc.dir") == "2cc93bc5231f5437"


def test_dvc_gives_a_folder_the_same_hash(tmp_path: Path) -> None:
    (tmp_path / "data" / "sub").mkdir(parents=True)
    for name in ("b.txt", "a.txt", "sub/é.txt"):
        (tmp_path / "data" / name).write_text(name)
    Repo.init(str(tmp_path), no_scm=True).add(str(tmp_path / "data"))
    assert read_yaml(tmp_path / "data.dvc")["outs"][0]["md5"] == folder_md5(tmp_path / "data")
