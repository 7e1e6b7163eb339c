"""The stage of other formats at a tiny size: what it writes, what it leaves out and why, and what the report shows."""

import json
from pathlib import Path

import pytest
import torch

from stillhouse.encoders.checkpoint import save_model
from stillhouse.models.configuration_bilstm import BiLstmConfig
from stillhouse.models.modeling_bilstm import BiLstmForSequenceClassification
from stillhouse.onnx.formats import FORMATS
from stillhouse.onnx.runtimes import RUNTIMES
from tasks import code, evaluate, export, formats, report
from tests import tiny
from tests.tasks import project
from tests.tasks.project import refused, run

TASK = ("--data", "data/task")
TEACHER = ("--teacher", "reports/evaluated/teacher", "--teacher-onnx", "models/onnx/teacher")
CALIBRATION = {"rows": 16, "momentum": None, "max_length": 16, "seed": 1}


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an evaluated teacher, a student, and a params.yaml that asks for the student's other formats."""
    project.enter(tmp_path, monkeypatch)
    tiny.save(tiny.bert(layers=2, seed=2), tmp_path / "models/hinton")
    for name in ("teacher", "hinton"):
        run(export, "--kind", "classes", "--model", f"models/{name}", "--out", f"models/onnx/{name}")
    run(evaluate, "teacher", *TASK, *of("teacher"), "--out", "reports/evaluated/teacher")
    run(evaluate, "hinton", *TASK, *of("hinton"), *TEACHER, "--out", "reports/evaluated/hinton")
    project.params(tmp_path, **{"export.of": {"hinton": {}}, "export.calibration": CALIBRATION})
    return tmp_path


def of(name: str) -> tuple[str, ...]:
    return ("--model", f"models/{name}", "--onnx", f"models/onnx/{name}")


def words(recipe: str = "hinton") -> tuple:
    out = ("--out", f"models/formats/{recipe}", "--report", f"reports/evaluated/{recipe}")
    return (recipe, *TASK, "--model", f"models/{recipe}", *TEACHER, *out)


def told(recipe: str = "hinton") -> dict:
    return json.loads(Path(f"reports/evaluated/{recipe}/formats.json").read_text())


def test_each_format_is_scored_and_timed_in_each_runtime_that_is_here(clone, capsys):
    run(formats, *words())
    found = told()
    assert {name: set(made["runtimes"]) for name, made in found["formats"].items()} == {
        "fp32": {"onnxruntime", "openvino"},
        "fp16": set(),
        "int8-dynamic": {"onnxruntime"},
        "int8-qdq": {"openvino"},
    }
    assert found["split"] == "validation" and found["refused"] == {}
    assert set(found["missing"]) == {"onnxruntime-cuda", "tensorrt"}
    evaluated = json.loads(Path("reports/evaluated/hinton/metrics.json").read_text())
    for name, made in found["formats"].items():
        file = Path("models/formats/hinton") / f"{name}.onnx"
        assert made["bytes"] == file.stat().st_size
        for place, row in made["runtimes"].items():
            assert row["described"] == RUNTIMES[place].described()
            assert set(row["batches"]) == set(row["teacher"]) == set(row["speedup"])
            assert row["kept"] == pytest.approx(row["value"] / teacher_value(), abs=1e-5)
    fp32 = found["formats"]["fp32"]["runtimes"]
    assert {row["value"] for row in fp32.values()} == {evaluated["value"]}
    assert max(row["max_difference"] for row in fp32.values()) < 1e-5
    assert Path("models/formats/hinton/fp32.onnx").read_bytes() == Path("models/onnx/hinton/model.onnx").read_bytes()
    assert "int8-qdq in OpenVINO" in capsys.readouterr().out


def teacher_value() -> float:
    return json.loads(Path("reports/evaluated/teacher/metrics.json").read_text())["value"]


def test_the_test_split_is_not_read(clone):
    tiny.write_task(clone / "elsewhere", validation=24)
    (clone / "elsewhere/validation.parquet").rename(clone / "data/task/test.parquet")
    run(evaluate, "teacher", *TASK, *of("teacher"), "--out", "reports/evaluated/teacher")
    (clone / "data/task/test.parquet").unlink()
    run(formats, *words())
    figures = json.loads(Path("reports/evaluated/teacher/metrics.json").read_text())
    row = told()["formats"]["fp32"]["runtimes"]["onnxruntime"]
    assert figures["split"] == "test"
    assert row["kept"] == pytest.approx(row["value"] / figures["validation"]["value"], abs=1e-5)


def test_a_recipe_may_have_formats_of_its_own(clone):
    project.params(clone, **{"export.of": {"hinton": {"formats": ["fp16"]}}, "export.calibration": CALIBRATION})
    run(formats, *words())
    assert [file.name for file in Path("models/formats/hinton").iterdir()] == ["fp16.onnx"]
    assert list(told()["formats"]) == ["fp16"]


def test_what_has_no_such_form_is_left_out_with_the_reason(clone, capsys):
    torch.manual_seed(0)
    shape = BiLstmConfig(vocab_size=len(tiny.tokenizer()), embedding_size=8, hidden_size=8, dense_size=8, num_labels=2)
    save_model(BiLstmForSequenceClassification(shape).eval(), tiny.tokenizer(), clone / "models/bilstm")
    chosen = {"bilstm": {"formats": ["fp32", "int8-qdq"]}}
    project.params(clone, **{"export.of": chosen, "export.calibration": CALIBRATION})
    run(formats, *words("bilstm"))
    assert set(told("bilstm")["formats"]) == {"fp32"}
    assert "is an LSTM, which has no symmetric int8 form" in told("bilstm")["refused"]["int8-qdq"]
    assert "int8-qdq is left out: " in capsys.readouterr().out


def test_the_report_names_format_and_runtime_of_every_time(clone):
    run(formats, *words())
    run(report, "reports/evaluated/teacher", "reports/evaluated/hinton", "--out", "reports/hinton")
    page = Path("reports/hinton/report.md").read_text()
    section = page.partition("## Other formats, each in the runtime that it is for")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| hinton")]
    assert [row.split(" | ")[1] for row in rows] == ["fp32", "fp32", "int8-dynamic", "int8-qdq"]
    assert sum("ONNX Runtime" in row for row in rows) == sum("OpenVINO" in row for row in rows) == 2
    assert "Nothing was run in **tensorrt**" in section
    # Who is named no more is shown no more, though the file is still there.
    project.params(clone)
    run(report, "reports/evaluated/teacher", "reports/evaluated/hinton", "--out", "reports/hinton")
    assert "## Other formats" not in Path("reports/hinton/report.md").read_text()


def test_params_are_refused_in_a_line(clone, capsys):
    for block, said in (
        ({"formats": ["int4"]}, "there is no format 'int4'"),
        ({"formats": []}, "names no format"),
        ({"formats": ["fp32", "fp32"]}, "names a format twice"),
        ({"of": {"hinton": {"formats": ["onnx"]}}}, "there is no format 'onnx'"),
        ({"of": {"tinybert": {}}}, "export.of does not name 'hinton'"),
    ):
        project.params(clone, **{f"export.{key}": value for key, value in block.items()})
        assert said in refused(capsys, formats, *words())
    assert not Path("models/formats").exists()


def test_another_form_of_what_is_no_recipe_is_refused_first_of_all(clone, capsys, monkeypatch):
    (clone / "tasks/recipes").mkdir(parents=True)
    (clone / "tasks/recipes/hinton.py").write_text("")
    project.params(clone, **{"finish.of": {}, "export.of": {"hintn": {}}})
    said = refused(capsys, code, "--out", "code")
    assert said == "error: export.of.hintn: there is no recipe 'hintn': name one of hinton\n"


def test_the_numbers_of_every_format_are_in_the_comment_of_params():
    line = next(
        each for each in (project.ROOT / "params.yaml").read_text().splitlines() if each.startswith("  formats:")
    )
    assert all(name in line for name in FORMATS)
