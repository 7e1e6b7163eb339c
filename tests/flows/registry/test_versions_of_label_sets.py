"""A model of several labels in the registry: served with the thresholds that its evaluation chose."""

import json
import sys
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from mlflow.pyfunc import scoring_server

from flows.promotion.decision import try_to_promote
from flows.registry.versions import register
from stillhouse.encoders.checkpoint import load_tokenizer
from stillhouse.training.predict import predict
from tasks import evaluate, export
from tasks.data.dataset import load_split, tokenize
from tasks.kinds.multi_label import shares
from tasks.stage import program
from tasks.tracking.store import tracking_uri
from tests import tiny
from tests.flows.conftest import PROMOTE, copy_store, lock_data, refuse_unstated
from tests.mutations import COUNT, ask_damaged
from tests.tasks import project


@pytest.mark.parametrize("threshold", ["one", "each", 0.5])
def test_it_gives_the_labels_that_evaluate_gave(
    threshold: str | float, empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.enter(tmp_path, monkeypatch)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    data = project.write_task(tmp_path, several=True, train=32, validation=24)
    project.params(
        tmp_path, **{"kinds.multi-label.threshold": threshold, "evaluate.metric": "micro_f1", "promote": PROMOTE}
    )
    model = tiny.several_labels(seed=3)
    for name in ("teacher", "hinton"):
        tiny.save(model, tmp_path / "models" / name)
        run(export, "--kind", "multi-label", "--model", f"models/{name}", "--out", f"models/onnx/{name}")
    run(evaluate, "teacher", *words("teacher"))
    run(
        evaluate,
        "hinton",
        *words("hinton"),
        "--teacher",
        "reports/evaluated/teacher",
        "--teacher-onnx",
        "models/onnx/teacher",
    )
    lock_data(tmp_path, "abc.dir")
    copy_store(empty_store, tmp_path)
    register("hinton")
    assert try_to_promote("hinton").promoted

    rows = load_split(data / "validation.parquet")
    chosen = json.loads(Path("reports/evaluated/hinton/details/served.json").read_text())["numbers"]["thresholds"]
    assert len(set(chosen)) == (2 if threshold == "each" else 1)
    tokenizer = load_tokenizer("models/hinton")
    probable = shares(predict(model, tokenize(rows, tokenizer, 16), tokenizer, batch_size=8))
    wanted = [
        [name for name, share, cut in zip(("good", "long"), row, chosen, strict=True) if share >= cut]
        for row in probable
    ]
    assert {len(labels) for labels in wanted} > {1}, "rows with none, one or two labels"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri())
    served = mlflow.pyfunc.load_model("models:/stillhouse-docstrings-multi-label@champion")
    given = served.predict(pd.DataFrame({"text": rows["text"][:]}))
    assert [each["labels"] for each in given] == wanted
    refuse_unstated(
        "models:/stillhouse-docstrings-multi-label@champion", pd.DataFrame({"text": rows["text"][:]}), given
    )
    np.testing.assert_allclose([list(each["scores"].values()) for each in given], probable, atol=1e-5)
    client = TestClient(scoring_server.init(served))
    ask_damaged(client, [{"text": "a good film"}, {"text": "naïve, and long"}], f"label sets, {threshold}", COUNT * 5)
    for bad, said in ((None, "has no text"), (5, "is 5: give text"), (["a"], "is ['a']: give text"), (" ", "is ' ': ")):
        rows = [{"text": "good"}, {"text": bad}]
        reply = client.post("/invocations", json={"dataframe_records": rows})
        assert reply.status_code == 400 and f"row 2: column 'text' {said}" in reply.text, reply.text


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
