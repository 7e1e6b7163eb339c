"""The evaluate program: a teacher, its students, and what does not fit together."""

import csv
import json
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML
from transformers import PreTrainedModel

from stillhouse.encoders.labels import set_labels
from stillhouse.errors import InputError
from stillhouse.onnx.export import export_onnx
from tasks import evaluate
from tasks.data.schema import kind_of
from tasks.evaluation.rows import read_rows
from tests import tiny

PARAMS = {
    "evaluate": {"metric": "accuracy", "batch_sizes": [1, 4], "tokens": 8, "repeats": 4, "threads": 1},
    "train": {
        "precision": "fp32",
        "max_length": 32,
        "eval_batch_size": 16,
        "checkpoint_steps": 10,
        "warmup": 0.0,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "processes": 1,
        "machines": 1,
        "soft_labels": "instead",
    },
    "budget": {"smaller": 1.5, "kept": 0.1},
    "kinds": {"classes": {}, "scores": {}},
}


@pytest.fixture(autouse=True)
def no_tracking(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("STILLHOUSE_TRACKING", "off")
    monkeypatch.setenv("STILLHOUSE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A folder with a task, a teacher and a student, exported."""
    root = tmp_path_factory.mktemp("house")
    tiny.write_task(root / "task", validation=80)
    save(root, "teacher", tiny.bert(layers=2, seed=1))
    save(root, "hinton", tiny.bert(layers=1, seed=2))
    return root


def save(root: Path, name: str, model: PreTrainedModel) -> None:
    tiny.save(model, root / name)
    (root / "onnx" / name).mkdir(parents=True)
    export_onnx(model, tiny.tokenizer(), root / "onnx" / name / "model.onnx")


def run(
    root: Path,
    monkeypatch,
    name: str,
    *,
    recipe: str = "",
    task: str = "task",
    student: bool = False,
    **changes: object,
) -> tuple[dict, dict]:
    """Run the program; give metrics.json and latency.json."""
    recipe = recipe or name
    kind = kind_of(root / task / "train.parquet")
    params = PARAMS | {"evaluate": PARAMS["evaluate"] | changes, "data": {"kind": kind}}
    YAML().dump(params, root / "params.yaml")
    out = root / "reports" / name
    words = [recipe, "--data", root / task, "--model", root / name, "--onnx", root / "onnx" / name, "--out", out]
    words += ["--params", root / "params.yaml"]
    if student:
        words += ["--teacher", root / "reports/teacher", "--teacher-onnx", root / "onnx/teacher"]
    monkeypatch.setattr("sys.argv", ["evaluate", *map(str, words)])
    evaluate.main()
    return json.loads((out / "metrics.json").read_text()), json.loads((out / "latency.json").read_text())


def test_the_teacher_keeps_all_of_itself(house, monkeypatch):
    figures, times = run(house, monkeypatch, "teacher")
    assert list(figures) == [
        *("recipe", "form", "kind", "split"),
        *("task_metric", "value", "kept", "parameters", "nonzero_parameters", "sparsity", "flops", "tokens"),
        *(
            "checkpoint_bytes",
            "onnx_bytes",
            "onnx_max_difference",
            "onnx_rounding",
            "examples",
            "vocabulary",
            "metrics",
        ),
    ]
    assert (figures["recipe"], figures["kept"], figures["examples"]) == ("teacher", 1.0, 80)
    assert set(figures["metrics"]) == {"accuracy", "f1", "macro_f1", "matthews"}
    assert figures["value"] == figures["metrics"]["accuracy"]
    assert figures["onnx_max_difference"] < 1e-5
    assert set(times["batches"]) == {"1", "4"}
    assert times["teacher"] == times["batches"]
    assert times["speedup"] == {"1": 1.0, "4": 1.0}
    assert times["threads"] == 1


def test_a_student_is_measured_against_the_teacher(house, monkeypatch):
    teacher, _ = run(house, monkeypatch, "teacher")
    student, times = run(house, monkeypatch, "hinton", student=True)
    assert student["kept"] == pytest.approx(student["value"] / teacher["value"], abs=1e-6)
    assert student["parameters"] < teacher["parameters"]
    assert student["flops"] < teacher["flops"]
    assert student["onnx_bytes"] < teacher["onnx_bytes"]
    for size in ("1", "4"):
        ratio = times["teacher"][size]["p50_ms"] / times["batches"][size]["p50_ms"]
        assert times["speedup"][size] == pytest.approx(ratio, abs=1e-3)


def test_metrics_and_predictions_are_the_same_each_time(house, monkeypatch):
    files = ("metrics.json", "predictions.csv", "details/rows.csv", "details/served.json")
    run(house, monkeypatch, "teacher")
    first = [(house / "reports/teacher" / name).read_bytes() for name in files]
    run(house, monkeypatch, "teacher")
    assert first == [(house / "reports/teacher" / name).read_bytes() for name in files]


def test_predictions_hold_the_names_of_the_labels(house, monkeypatch):
    figures, _ = run(house, monkeypatch, "teacher")
    with (house / "reports/teacher/predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["actual"] for row in rows} == {"bad", "good"}
    assert sum(row["actual"] == row["predicted"] for row in rows) / len(rows) == pytest.approx(figures["value"])
    # What the gate's bootstrap reads are the same rows, with places for names.
    places = {"bad": 0.0, "good": 1.0}
    kept = read_rows(house / "reports/teacher/details/rows.csv", "evaluate again")
    assert kept["actual"].tolist() == [places[row["actual"]] for row in rows]
    assert kept["predicted"].tolist() == [places[row["predicted"]] for row in rows]
    served = json.loads((house / "reports/teacher/details/served.json").read_text())
    assert served == {
        **{"kind": "classes", "split": "validation", "columns": ["text"], "numbers": {}},
        "judged_by": {"max_length": 32},
    }


def test_the_score_is_of_the_test_split_where_there_is_one_and_validation_stands_beside_it(monkeypatch, tmp_path):
    tiny.write_task(tmp_path / "task", validation=40)
    tiny.write_task(tmp_path / "other", validation=24)
    (tmp_path / "other/validation.parquet").rename(tmp_path / "task/test.parquet")
    save(tmp_path, "teacher", tiny.bert(layers=2, seed=1))
    save(tmp_path, "hinton", tiny.bert(layers=1, seed=2))
    teacher, _ = run(tmp_path, monkeypatch, "teacher")
    assert (teacher["split"], teacher["examples"]) == ("test", 24)
    assert teacher["validation"]["examples"] == 40
    assert teacher["validation"]["value"] == teacher["validation"]["metrics"]["accuracy"]
    student, _ = run(tmp_path, monkeypatch, "hinton", student=True)
    assert student["kept"] == pytest.approx(student["value"] / teacher["value"], abs=1e-6)
    assert len((tmp_path / "reports/hinton/predictions.csv").read_text().splitlines()) == 25
    details = tmp_path / "reports/hinton/details"
    assert [len((details / name).read_text().splitlines()) for name in ("rows.csv", "validation.csv")] == [25, 41]
    (tmp_path / "task/test.parquet").unlink()
    with pytest.raises(InputError, match="the teacher's score is of test, the student's of validation: evaluate the"):
        run(tmp_path, monkeypatch, "hinton", student=True)


def test_a_model_with_its_labels_in_another_order_scores_the_same(house, monkeypatch, tmp_path):
    wanted, _ = run(house, monkeypatch, "teacher")
    model = tiny.bert(layers=2, seed=1)
    with torch.no_grad():
        model.classifier.weight.copy_(model.classifier.weight.flip(0))
        model.classifier.bias.copy_(model.classifier.bias.flip(0))
    set_labels(model, ("good", "bad"))
    save(tmp_path, "teacher", model)
    tiny.write_task(tmp_path / "task", validation=80)
    given, _ = run(tmp_path, monkeypatch, "teacher")
    assert given["metrics"] == wanted["metrics"]
    assert given["onnx_max_difference"] < 1e-5


def test_labels_that_differ_are_refused(house, monkeypatch, tmp_path):
    model = tiny.bert(labels=("negative", "positive"))
    save(tmp_path, "teacher", model)
    tiny.write_task(tmp_path / "task")
    with pytest.raises(InputError, match=r"labels differ: the data has \['bad', 'good'\], the model has \['negative'"):
        run(tmp_path, monkeypatch, "teacher")
    assert not (tmp_path / "reports").exists()


def test_a_regression_has_its_own_metrics(monkeypatch, tmp_path):
    tiny.write_task(tmp_path / "task", regression=True, pair=True)
    save(tmp_path, "teacher", tiny.bert(labels=()))
    figures, _ = run(tmp_path, monkeypatch, "teacher", metric="spearman")
    assert set(figures["metrics"]) == {"pearson", "spearman", "mse"}
    line = (tmp_path / "reports/teacher/predictions.csv").read_text().splitlines()[1]
    assert [float(part) is not None for part in line.split(",")] == [True, True]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "pearson"}, "evaluate.metric = 'pearson' does not fit this task"),
        ({"tokens": 65}, "evaluate.tokens = 65: the model takes 64"),
        ({"batch_sizes": []}, "evaluate.batch_sizes"),
    ],
)
def test_parameters_that_do_not_fit_are_named(changes, message, house, monkeypatch):
    with pytest.raises(InputError, match=message):
        run(house, monkeypatch, "teacher", **changes)


def test_a_teacher_of_another_metric_is_not_compared_with(house, monkeypatch):
    run(house, monkeypatch, "teacher", metric="f1")
    with pytest.raises(InputError, match=r"is of f1, evaluate.metric = 'accuracy': evaluate the teacher again"):
        run(house, monkeypatch, "hinton", student=True)


def test_an_onnx_file_of_another_task_is_refused(house, monkeypatch, tmp_path):
    save(tmp_path, "teacher", tiny.bert(labels=("a", "b", "c")))
    tiny.save(tiny.bert(), tmp_path / "teacher")
    tiny.write_task(tmp_path / "task")
    with pytest.raises(InputError, match=r"gives \(3,\) numbers a row, the model \(2,\): export it again"):
        run(tmp_path, monkeypatch, "teacher")
