"""A tagger in the registry: its entities, at the caller's own characters, are those that the pipeline finds."""

import json
import re
import sys
from pathlib import Path

import mlflow.pyfunc
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import scoring_server

from flows.promotion.decision import try_to_promote
from flows.registry.versions import register
from stillhouse.encoders.checkpoint import load_tokenizer
from stillhouse.tagging.words import split_words
from tasks import evaluate, export
from tasks.kinds.find import load_task
from tasks.stage import program
from tasks.tracking.store import tracking_uri
from tests import tiny
from tests.flows.conftest import PROMOTE, copy_store, lock_data, refuse_unstated
from tests.mutations import COUNT, ask_damaged
from tests.tasks import project

REFUSED: list[tuple[dict, str]] = [
    ({"text": ["fine", " "]}, "row 2: column 'text' is ' ': give text, or a list of words in 'words'"),
    ({"words": [["a"], []]}, "row 2: has no words"),
    ({"words": [["a b"]]}, "row 1: has 'a b' among its words: give text without white space"),
    ({"words": [["a"], ["b", ""]]}, "row 2: has '' among its words: give text without white space"),
    ({"words": [["a"], None, ["b"]]}, "row 2: column 'text' is missing: give text, or a list of words in 'words'"),
    ({"text": ["fine", None]}, "row 2: column 'text' is missing: give text, or a list of words in 'words'"),
]
NUMBERS = {"max_length": 8, "overlap": 2}


@pytest.fixture
def champion(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> mlflow.pyfunc.PyFuncModel:
    project.enter(tmp_path, monkeypatch)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    project.write_task(tmp_path, tags=True, train=32, validation=24)
    project.params(tmp_path, **{"kinds.tokens": NUMBERS, "evaluate.metric": "micro_f1", "promote": PROMOTE})
    for name in ("teacher", "hinton"):
        tiny.save(tiny.tagger(seed=3), tmp_path / "models" / name)
        run(export, "--kind", "tokens", "--model", f"models/{name}", "--out", f"models/onnx/{name}")
    run(evaluate, "teacher", *words("teacher"))
    more = ("--teacher", "reports/evaluated/teacher", "--teacher-onnx", "models/onnx/teacher")
    run(evaluate, "hinton", *words("hinton"), *more)
    lock_data(tmp_path, "abc.dir")
    copy_store(empty_store, tmp_path)
    register("hinton")
    assert try_to_promote("hinton").promoted
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri())
    return mlflow.pyfunc.load_model("models:/stillhouse-docstrings-tokens@champion")


def test_it_finds_what_evaluate_found(champion: mlflow.pyfunc.PyFuncModel) -> None:
    task = load_task(Path("data/task"))
    kind, model = task.kind, task.kind.load(Path("models/hinton"))
    examples = kind.examples(task.validation, load_tokenizer("models/hinton"))
    assert len(examples.encoded) > len(task.validation), "some sentences are longer than a window"
    predictions = kind.predict(model, examples.encoded, load_tokenizer("models/hinton"), 8)
    labels = kind._given(predictions, examples)
    texts = task.validation["text"][:]
    wanted = []
    for text, row in zip(texts, labels, strict=True):
        places = split_words(text)
        wanted.append(
            [
                (each.type, places[each.first][0], places[each.end - 1][1], each.first, each.end - 1)
                for each in kind.scheme.found(row)
            ]
        )
    assert sum(map(len, wanted)) > 30
    given = champion.predict(pd.DataFrame({"text": texts}))
    assert [[(e["type"], e["start"], e["end"]) for e in row["entities"]] for row in given] == [
        [each[:3] for each in row] for row in wanted
    ]
    assert all(
        e["text"] == text[e["start"] : e["end"]]
        for text, row in zip(texts, given, strict=True)
        for e in row["entities"]
    )
    assert all(0 < e["score"] <= 1 for row in given for e in row["entities"])
    cut = champion.predict(pd.DataFrame({"words": [text.split(" ") for text in texts]}))
    assert [
        [(e["type"], e["start"], e["end"], e["first"], e["last"]) for e in row["entities"]] for row in cut
    ] == wanted
    for rows, answered in (({"text": texts}, given), ({"words": [text.split(" ") for text in texts]}, cut)):
        refuse_unstated("models:/stillhouse-docstrings-tokens@champion", pd.DataFrame(rows), answered)
    figures = json.loads(Path("reports/evaluated/hinton/metrics.json").read_text())
    assert figures["value"] == pytest.approx(kind.metrics(predictions, examples)["micro_f1"], abs=1e-6)
    types = json.loads(Path("reports/evaluated/hinton/details/types.json").read_text())
    assert set(types) == {"blame", "praise", "thing"} and types["thing"]["there"] > 0


def test_offsets_are_the_callers_own_and_what_is_no_text_is_refused(champion: mlflow.pyfunc.PyFuncModel) -> None:
    texts = ["😂 the film,  was\u00a0GOOD!👍🏽", "שָׁלוֹם the plot — תל־אביב good", "good\n\tfilm"]
    for text, row in zip(texts, champion.predict(pd.DataFrame({"text": texts})), strict=True):
        assert row["entities"], "the tiny model finds something in everything"
        for entity in row["entities"]:
            assert text[entity["start"] : entity["end"]] == entity["text"] == entity["text"].strip() != ""
    client = TestClient(scoring_server.init(champion))
    records = [{"text": text} for text in texts]
    cut = [{"words": text.split()} for text in texts]
    for rows, whole in ((records, texts), (cut, [" ".join(text.split()) for text in texts])):
        reply = client.post("/invocations", json={"dataframe_records": rows})
        assert reply.status_code == 200, reply.text
        for text, row in zip(whole, reply.json()["predictions"], strict=True):
            assert row["entities"]
            assert all(text[each["start"] : each["end"]] == each["text"] for each in row["entities"])
    for name, rows in (("tokens", records), ("tokens, cut", cut)):
        ask_damaged(client, rows, name, COUNT * 5)
    for table, said in REFUSED:
        with pytest.raises(MlflowException, match=re.escape(said)) as refused:
            champion.predict(pd.DataFrame(table))
        assert refused.value.get_http_status_code() == 400
        records = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
        reply = client.post("/invocations", json={"dataframe_records": records})
        assert reply.status_code == 400 and said.partition(":")[0] in reply.text and "Traceback" not in reply.text


def words(name: str) -> tuple[str, ...]:
    return (
        *("--data", "data/task", "--model", f"models/{name}"),
        *("--onnx", f"models/onnx/{name}", "--out", f"reports/evaluated/{name}"),
        *("--exported", f"models/exported/{name}"),
    )


def run(stage, *given: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["stage", *given])
        program.run(stage.main)
