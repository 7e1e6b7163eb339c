"""A model of question answering in the registry: a task of its own, served with the pipeline's own answers."""

import json
import shutil
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from transformers import AutoModelForQuestionAnswering

from flows.promotion.bootstrap import value
from flows.promotion.decision import roll_back, try_to_promote
from flows.registry.names import task_name
from flows.registry.reports import table
from flows.registry.versions import Registered, gather_facts, register, stored_rows
from stillhouse.answers.spans import OUTPUTS
from stillhouse.encoders.checkpoint import load_model, load_tokenizer
from stillhouse.errors import InputError
from stillhouse.onnx.export import export_onnx
from tasks.data.questions import load_questions
from tasks.evaluation.answer_scoring import answer_all
from tasks.evaluation.judge import judge_of
from tasks.stage import params
from tasks.tracking.store import open_store, tracking_uri
from tests import tiny
from tests.flows.conftest import METRICS
from tests.tasks import project

NAME = "stillhouse-docstrings-qa"
WINDOWS = {"max_length": 16, "overlap": 4, "question_length": 5}


@pytest.fixture(scope="module")
def registered(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the recipes `structured-qa`, of questions, and `hinton`, of classes; both champions."""
    root = tmp_path_factory.mktemp("answers")
    project.params(root, **{"windows": WINDOWS, "evaluate-qa.null_threshold": -3.78, "promote.min_kept": 0.5})
    tiny.write_questions(root / "data/qa")
    shutil.copytree(made / "task", root / "data/task")
    shutil.copytree(made / "model", root / "models/hinton")
    shutil.copytree(made / "onnx", root / "models/onnx/hinton")
    model = tiny.answerer(seed=4)
    tiny.save(model, root / "models/structured-qa")
    (root / "models/onnx/structured-qa").mkdir()
    file = root / "models/onnx/structured-qa/model.onnx"
    export_onnx(model, tiny.tokenizer(), file, outputs=OUTPUTS, per_token=True)
    for name in ("hinton", "structured-qa", "teacher", "teacher-qa"):
        folder = root / "reports" / ("evaluated-qa" if "qa" in name else "evaluated") / name
        folder.mkdir(parents=True)
        shutil.copy(made / "latency.json", folder)
        figures = METRICS | {"recipe": name} | ({"task_metric": "f1", "value": 0.7} if name != "hinton" else {})
        (folder / "metrics.json").write_text(json.dumps(figures))
    shutil.copy(made / "predictions.csv", root / "reports/evaluated/hinton")
    outs = [{"path": "data/task", "md5": "abc.dir"}, {"path": "data/qa", "md5": "def.dir"}]
    (root / "dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": {"prepare": {"cmd": "x", "outs": outs}}}))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        paths = [Path(part) for part in ("data/qa", "models/structured-qa", "models/onnx/structured-qa")]
        judge_of(paths[1], params.PARAMS).score(*paths).write(Path("reports/evaluated-qa/structured-qa"))
        for recipe in ("hinton", "structured-qa"):
            register(recipe)
            try_to_promote(recipe)
    return root


@pytest.fixture
def here(registered: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(registered)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("STILLHOUSE_TRACKING", "off")
    return registered


@pytest.mark.usefixtures("here")
def test_questions_are_a_task_of_their_own_with_its_own_champion() -> None:
    assert task_name(block="qa") == "docstrings-qa" and task_name() == "docstrings"
    client, _ = open_store()
    for name, recipe, data in ((NAME, "structured-qa", "def.dir"), ("stillhouse-docstrings", "hinton", "abc.dir")):
        version = client.get_model_version_by_alias(name, "champion")
        assert (version.tags["recipe"], version.tags["data_md5"]) == (recipe, data)
    assert register("structured-qa") == Registered(NAME, "1", new=False)
    with pytest.raises(InputError, match=f"{NAME} has no previous champion"):
        roll_back("structured-qa")
    with pytest.raises(InputError, match="stillhouse-docstrings has no previous champion"):
        roll_back()


@pytest.mark.usefixtures("here")
def test_what_it_did_on_each_question_is_kept_and_gives_its_score() -> None:
    client, _ = open_store()
    version = client.get_model_version(NAME, "1")
    rows = stored_rows(client, str(version.run_id), version.tags["evaluation"])
    assert rows is not None and len(rows["f1"]) == 18
    figures = params.load("evaluate-qa", params.EvaluateQaParams), params.load("windows", params.WindowParams)
    model = load_model("models/structured-qa", AutoModelForQuestionAnswering)
    questions = load_questions(Path("data/qa")).validation
    found = answer_all(model, load_tokenizer("models/structured-qa"), questions, figures[1], figures[0], batch_size=8)
    for name in ("exact", "f1", "best_exact", "best_f1"):
        assert value(name, rows) == pytest.approx(found.scores[name])


@pytest.mark.usefixtures("here")
def test_the_table_shows_the_teacher_of_the_recipes_own_task() -> None:
    for recipe, teacher in (("structured-qa", "teacher-qa"), ("hinton", "teacher")):
        lines = table(recipe).splitlines()
        assert [lines[row].split("|")[1].strip() for row in (2, 3)] == [teacher, recipe]


@pytest.mark.usefixtures("here")
def test_a_missing_model_is_named() -> None:
    shutil.copytree("reports/evaluated-qa/structured-qa", "reports/evaluated-qa/other")
    with pytest.raises(InputError, match=r"'models/other/config.json' is missing: run python -m flows.compress other"):
        gather_facts("other")


@pytest.mark.usefixtures("here")
def test_it_answers_as_the_pipeline_does_windows_threshold_and_all(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = load_questions(Path("data/qa")).validation
    numbers = params.load("evaluate-qa", params.EvaluateQaParams)
    windows = params.load("windows", params.WindowParams)
    model = load_model("models/structured-qa", AutoModelForQuestionAnswering)
    wanted = answer_all(model, load_tokenizer("models/structured-qa"), rows, windows, numbers, batch_size=8)
    assert len(wanted.windows) > len(rows), "some contexts take several windows"
    texts = [
        answer.text(context, numbers.null_threshold)
        for answer, context in zip(wanted.answers, rows["context"], strict=True)
    ]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri())
    served = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    table = pd.DataFrame({"question": rows["question"][:], "context": rows["context"][:]})
    given = served.predict(table)
    assert [each["answer"] for each in given] == texts
    assert 0 < sum(map(bool, texts)) < len(texts)
    odds = np.array([answer.null_odds for answer in wanted.answers])
    np.testing.assert_allclose([each["score"] for each in given], -odds, atol=1e-4)
    with pytest.raises(Exception, match="context"):
        served.predict(table[["question"]])
