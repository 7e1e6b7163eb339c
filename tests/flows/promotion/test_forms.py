"""Which form of a recipe's model is registered, and that what comes after knows it."""

import json
from pathlib import Path

import pytest

from flows.promotion.decision import try_to_promote
from flows.promotion.forms import Choice, choose
from flows.registry.files import fetch, weights_digest
from flows.registry.names import registered_model
from flows.registry.reports import table
from flows.registry.versions import CANDIDATE, is_registered, reach_store, register
from stillhouse.errors import InputError
from tasks.evaluation.rows import write_rows
from tests.flows.conftest import evaluate_again, fill_project, finish, rows_of_accuracy


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Hinton and tinybert, with plain forms alone, of accuracy 0.9; in a folder that is the current one."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root = fill_project(made, tmp_path / "project")
    monkeypatch.chdir(root)
    return root


def limit(root: Path, **limits: object) -> None:
    tree = json.loads((root / "params.yaml").read_text())
    tree["promote"] |= limits
    (root / "params.yaml").write_text(json.dumps(tree))


def test_a_recipe_without_a_finished_form_registers_its_plain_one(project):
    finish(project, "hinton", 0.9)
    assert choose("tinybert") == Choice(finished=False)
    assert table("tinybert").count("tinybert") == 1


@pytest.mark.parametrize(
    ("value", "limits", "wins"),
    [
        (0.9, {}, True),
        (0.89, {"margin": 0.02}, True),
        (0.87, {"margin": 0.02}, False),
        (0.899, {"margin": None}, True),  # 0.4 rows of 400, within the noise
        (0.85, {"margin": None}, False),
    ],
)
def test_the_finished_one_wins_unless_it_is_worse_than_the_gate_allows(project, value, limits, wins):
    finish(project, "hinton", value)
    limit(project, **limits)
    choice = choose("hinton")
    assert choice.finished is wins
    start = "finished" if wins else "plain"
    assert choice.why.startswith(f"{start}: accuracy (validation) ") and "0.01 MB for 0.06 MB" in choice.why


def test_a_limit_that_one_form_alone_keeps_decides(project):
    finish(project, "hinton", 0.9, onnx_max_difference=0.5)
    assert choose("hinton") == Choice(
        False, "plain: the finished one ONNX differs by 0.5 (promote.max_onnx_difference: 0.001)"
    )
    finish(project, "hinton", 0.8, checkpoint_bytes=900)
    limit(project, margin=0.01, max_bytes=1_000)
    assert choose("hinton").finished, "no other could be promoted"
    assert "the plain one 50,000 bytes on disk (promote.max_bytes: 1,000)" in choose("hinton").why


def test_the_choice_is_made_on_validation_where_scores_are_of_test(project):
    told = {"split": "test"}
    figures = {"value": 0.9, "examples": 400, "metrics": {"accuracy": 0.9}}
    for name in ("hinton", "teacher"):
        evaluate_again(project, name, 0.9, served=told, validation=figures)
    finish(project, "hinton", 0.5, served=told, validation=figures)
    folder = project / "reports/evaluated/hinton"
    for each in (folder, folder / "finished"):
        write_rows(rows_of_accuracy(0.9), each / "details/validation.csv")
    assert choose("hinton").finished, "test says otherwise, and is not asked"
    write_rows(rows_of_accuracy(0.5), folder / "finished/details/validation.csv")
    assert not choose("hinton").finished
    (folder / "finished/details/validation.csv").unlink()
    with pytest.raises(InputError, match=r"validation\.csv' is missing: run python -m flows\.compress hinton"):
        choose("hinton")


def test_a_finished_form_that_is_the_plain_one_is_not_registered_twice(project):
    finish(project, "hinton", 0.9)
    weights = "model.safetensors"
    (project / "models/finished/hinton" / weights).write_bytes((project / "models/hinton" / weights).read_bytes())
    assert choose("hinton") == Choice(False, "plain: its last links leave it as it is")


def test_what_is_registered_is_the_form_that_won_and_both_compete_for_champion(project, tmp_path):
    finish(project, "hinton", 0.9)
    assert register("hinton", finished=choose("hinton").finished).version == "1"
    assert is_registered("hinton", True) and not is_registered("hinton", False)
    client, _ = reach_store()
    version = client.get_model_version_by_alias(registered_model(), CANDIDATE)
    assert (version.tags["recipe"], version.tags["form"], version.tags["onnx_bytes"]) == ("hinton", "finished", "6000")
    assert f"# {registered_model()}: hinton finished\n" in version.description
    (tmp_path / "fetched").mkdir()
    folder = fetch(client, version, tmp_path / "fetched")
    assert weights_digest(folder / "artifacts/checkpoint") == weights_digest(Path("models/finished/hinton"))
    decision = try_to_promote("hinton")
    assert decision.promoted and decision.shown == "hinton finished"
    # Another time the plain one wins, is judged against it, and stays below.
    finish(project, "hinton", 0.7)
    evaluate_again(project, "hinton", 0.8)
    limit(project, min_kept=0.5, margin=0.01)
    register("hinton", finished=choose("hinton").finished)
    decision = try_to_promote("hinton")
    assert not decision.promoted and decision.shown == "hinton"


def test_the_table_shows_the_teacher_and_both_forms(project):
    finish(project, "hinton", 0.87)
    rows = [line.split("|")[1].strip() for line in table("hinton").splitlines() if line.startswith("|")]
    assert [row for row in rows if row and "-" not in row] == ["teacher", "hinton", "hinton finished"]
