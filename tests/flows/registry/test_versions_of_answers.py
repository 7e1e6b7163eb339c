"""A model of answers in the registry: a task of its own, served with the pipeline's own answers."""

import json
import shutil
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from datasets import Dataset
from fastapi.testclient import TestClient
from mlflow.pyfunc import scoring_server
from transformers import AutoModelForQuestionAnswering

from flows.promotion.decision import roll_back, try_to_promote
from flows.registry.reports import table
from flows.registry.versions import Registered, gather_facts, register, stored_rows
from stillhouse.answers.spans import OUTPUTS, find_answers, span_logits
from stillhouse.answers.windows import cut_windows
from stillhouse.encoders.checkpoint import load_model, load_tokenizer
from stillhouse.errors import InputError
from stillhouse.onnx.export import export_onnx
from tasks.evaluation.row_metrics import metric_of
from tasks.tracking.store import open_store, tracking_uri
from tests import tiny
from tests.flows.conftest import PARAMS, PROMOTE, copy_store, refuse_unstated, write_evaluated, write_exported

NAME = "stillhouse-docstrings-answers"
WINDOWS = {"max_length": 16, "overlap": 4, "question_length": 5}
NUMBERS = WINDOWS | {"null_threshold": -3.78, "max_answer_length": 6}
ROWS = {
    "answerable": np.array([1.0, 1.0, 0.0, 1.0]),
    "exact": np.array([1.0, 0.0, 1.0, 0.0]),
    "f1": np.array([1.0, 0.5, 1.0, 0.3]),
    "best_exact": np.array([1.0, 0.0, 0.0, 0.0]),
    "best_f1": np.array([1.0, 0.5, 0.0, 0.3]),
    "best_given": np.array([1.0, 1.0, 1.0, 1.0]),
    "null_odds": np.array([-3.0, -2.0, 4.0, 1.0]),
}


@pytest.fixture(scope="module")
def registered(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose hinton is a champion that was trained on questions."""
    root = tmp_path_factory.mktemp("answers")
    data = {"source": "docstrings", "kind": "answers"}
    (root / "params.yaml").write_text(json.dumps(PARAMS | {"data": data, "promote": PROMOTE}))
    model = tiny.answerer(seed=4)
    tiny.save(model, root / "models/hinton")
    (root / "models/onnx/hinton").mkdir(parents=True)
    file = root / "models/onnx/hinton/model.onnx"
    export_onnx(model, tiny.tokenizer(), file, outputs=OUTPUTS, per_token=True)
    exported = root / "models/exported/hinton"
    write_exported(root / "models/hinton", file.parent, exported, kind="answers", columns=["question", "context"])
    served = {"kind": "answers", "columns": ["question", "context"], "numbers": NUMBERS, "judged_by": NUMBERS}
    for name in ("teacher", "hinton"):
        write_evaluated(root / "reports/evaluated" / name, 0.7, ROWS, served, task_metric="f1")
    outs = [{"path": "data/task", "md5": "def.dir"}]
    (root / "dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": {"prepare": {"cmd": "x", "outs": outs}}}))
    copy_store(empty_store, root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        register("hinton")
        assert try_to_promote("hinton").promoted
    return root


@pytest.fixture(autouse=True)
def here(registered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(registered)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("STILLHOUSE_TRACKING", "off")


def test_answers_are_a_task_of_their_own_with_its_own_champion() -> None:
    client, _ = open_store()
    tags = client.get_model_version_by_alias(NAME, "champion").tags
    assert (tags["recipe"], tags["data_md5"], tags["kind"], tags["task_metric"]) == (
        "hinton",
        "def.dir",
        "answers",
        "f1",
    )
    assert register("hinton") == Registered(NAME, "1", new=False)
    with pytest.raises(InputError, match=f"{NAME} has no previous champion"):
        roll_back()


def test_what_it_did_on_each_question_is_kept() -> None:
    client, _ = open_store()
    version = client.get_model_version(NAME, "1")
    rows = stored_rows(client, str(version.run_id), version.tags["evaluation"])
    assert rows is not None and rows.keys() == ROWS.keys()
    assert all(np.array_equal(rows[name], column) for name, column in ROWS.items())
    assert metric_of("f1", rows)(rows) == pytest.approx(0.7)


def test_the_table_shows_its_metric() -> None:
    lines = table("hinton").splitlines()
    assert "f1 (validation)" in lines[0]
    assert [lines[row].split("|")[1].strip() for row in (2, 3)] == ["teacher", "hinton"]


def test_a_missing_model_is_named() -> None:
    shutil.copytree("reports/evaluated/hinton", "reports/evaluated/other")
    with pytest.raises(
        InputError, match=r"'models/other' holds no model.safetensors: run python -m flows.compress other"
    ):
        gather_facts("other")


def test_it_answers_as_the_pipeline_does_windows_threshold_and_all(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = tiny.questions(18, seed=2)
    questions, contexts = ([row[name] for row in rows] for name in ("question", "context"))
    tokenizer = load_tokenizer("models/hinton")
    windows = cut_windows(questions, contexts, tokenizer, **WINDOWS)
    assert len(windows["example"]) > len(rows), "some contexts take several windows"
    model = load_model("models/hinton", AutoModelForQuestionAnswering)
    logits = span_logits(model, Dataset.from_dict(windows), tokenizer, batch_size=8)
    longest = NUMBERS["max_answer_length"]
    wanted = find_answers(windows, logits, len(rows), n_best=1, max_answer_length=longest)
    pairs = zip(wanted, contexts, strict=True)
    texts = [answer.text(context, NUMBERS["null_threshold"]) for answer, context in pairs]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri())
    served = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    table = pd.DataFrame({"question": questions, "context": contexts})
    given = served.predict(table)
    assert [each["answer"] for each in given] == texts
    refuse_unstated(f"models:/{NAME}@champion", table, given)
    assert 0 < sum(map(bool, texts)) < len(texts)
    odds = np.array([answer.null_odds for answer in wanted])
    np.testing.assert_allclose([each["score"] for each in given], -odds, atol=1e-4)
    with pytest.raises(Exception, match="context"):
        served.predict(table[["question"]])


@pytest.mark.parametrize("context", ["\u200b", "\u200b \u2060"])
def test_a_context_of_nothing_that_is_read_is_named_and_no_number_that_json_lacks_is_given(
    context: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri())
    client = TestClient(scoring_server.init(mlflow.pyfunc.load_model(f"models:/{NAME}/1")))
    rows = [{"question": "what", "context": each} for each in ("the film is good", context)]
    for asked, status, said in (
        (rows, 400, "row 2: column 'context' has nothing that the model reads"),
        (rows[:1], 200, "answer"),
    ):
        reply = client.post("/invocations", json={"dataframe_records": asked})
        assert reply.status_code == status and said in reply.text and "Infinity" not in reply.text
