"""What a served model is asked: held to what the training data were held to, and answered with 400 where it is not."""

import json
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import scoring_server

from flows.registry.versions import register
from stillhouse.onnx.export import export_onnx
from tasks.tracking.store import tracking_uri
from tests import tiny
from tests.flows.conftest import refuse_unstated, registered_project, write_evaluated
from tests.mutations import COUNT, ask_damaged

NAME = "stillhouse-docstrings"


@pytest.fixture(scope="module")
def project(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return registered_project(made, tmp_path_factory.mktemp("requests") / "project")


@pytest.fixture
def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(project)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri())
    return project


def ask(body: Any, version: str = "1", kind: str = "application/json") -> tuple[int, str]:
    """What `mlflow models serve` answers: status and body."""
    client = TestClient(scoring_server.init(mlflow.pyfunc.load_model(f"models:/{NAME}/{version}")))
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = client.post("/invocations", content=content, headers={"Content-Type": kind})
    return reply.status_code, reply.text


@pytest.mark.usefixtures("here")
def test_texts_are_answered_whatever_they_say() -> None:
    texts = ["good film", "🎬 naïve", "مرحبا", "film " * 5000]
    status, body = ask({"dataframe_records": [{"text": text} for text in texts]})
    assert (
        status == 200 and [each["label"] in ("bad", "good") for each in json.loads(body)["predictions"]] == [True] * 4
    )


@pytest.mark.usefixtures("here")
def test_answers_fit_the_schema_that_the_version_states_and_others_do_not() -> None:
    _, body = ask({"dataframe_records": [{"text": "good film"}]})
    (given,) = json.loads(body)["predictions"]
    rows = pd.DataFrame({"text": ["good film"]})
    refuse_unstated(f"models:/{NAME}/1", rows, [given])
    for other in ({"label": "good"}, given | {"label": 1}, given | {"scores": {"good": "much"}}):
        with pytest.raises(MlflowException):
            refuse_unstated(f"models:/{NAME}/1", rows, [other])


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "row 2: column 'text' has no text"),
        (5, "row 2: column 'text' is 5: give text"),
        (["a"], "row 2: column 'text' is ['a']: give text"),
        ({"a": 1}, "row 2: column 'text' is {'a': 1}: give text"),
        ("", "row 2: column 'text' is '': give text"),
        (" \n", "row 2: column 'text' is ' \\\\n': give text"),
        ("half \ud83d", "surrogates not allowed"),
    ],
)
def test_a_row_that_is_no_text_is_named(value: Any, said: str) -> None:
    status, body = ask({"dataframe_records": [{"text": "good film"}, {"text": value}, {"text": "bad"}]})
    assert status == 400 and said in body.replace('\\"', '"') and "Traceback" not in body


@pytest.mark.usefixtures("here")
def test_a_damaged_request_is_answered_or_refused_and_the_server_lives() -> None:
    client = TestClient(scoring_server.init(mlflow.pyfunc.load_model(f"models:/{NAME}/1")))
    ask_damaged(client, [{"text": "good film"}, {"text": "naïve, and dull"}], "request", COUNT * 5)


@pytest.mark.usefixtures("here")
def test_a_table_with_a_gap_is_refused_and_so_is_one_without_the_column() -> None:
    status, body = ask(b"text\ngood film\nNA\n", kind="text/csv")
    assert status == 400 and "row 2: column 'text' has no text" in body
    status, body = ask({"dataframe_records": [{"said": "good film"}]})
    assert status == 400 and "text" in body


@pytest.mark.usefixtures("here")
def test_too_much_at_a_time_is_refused() -> None:
    status, body = ask({"dataframe_split": {"columns": ["text"], "data": [["a"]] * 10_001}})
    assert status == 400 and "10,001 rows: send 10,000 at a time" in body
    status, body = ask({"dataframe_split": {"columns": ["text"], "data": [["a" * 5_000_001]] * 2}})
    assert status == 400 and "more than 10,000,000 characters" in body


def test_a_model_of_scores_gives_numbers_whatever_its_config_says_of_the_problem(here: Path) -> None:
    model = tiny.bert(labels=(), width=16, heads=2)
    assert model.config.num_labels == 1 and model.config.problem_type is None
    folder = here / "models/hinton"
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"id2label": {"0": "LABEL_0"}}))
    export_onnx(model, tiny.tokenizer(), here / "models/exported/hinton/model.onnx")
    model.save_pretrained(folder)
    write_evaluated(here / "reports/evaluated/hinton", served={"kind": "scores"})
    version = register("hinton").version
    status, body = ask({"dataframe_records": [{"text": "good film"}]}, version)
    assert status == 200 and set(json.loads(body)["predictions"][0]) == {"score"}
    refuse_unstated(f"models:/{NAME}/{version}", pd.DataFrame({"text": ["good film"]}), json.loads(body)["predictions"])


def test_a_family_whose_positions_begin_later_is_served_its_longest_text(here: Path) -> None:
    model = tiny.other_family("roberta")
    model.config.pad_token_id = 1
    model.config.id2label = {0: "bad", 1: "good"}
    model.save_pretrained(here / "models/hinton")
    export_onnx(model, tiny.tokenizer(), here / "models/exported/hinton/model.onnx")
    write_evaluated(here / "reports/evaluated/hinton")
    status, body = ask({"dataframe_records": [{"text": "film " * 500}]}, register("hinton").version)
    assert status == 200, body
