import json
import sys
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from flows import promote
from flows.dag.graph import known_recipe
from flows.promotion.decision import roll_back, try_to_promote
from flows.registry.files import weights_digest
from flows.registry.reports import numbers, table
from flows.registry.versions import Registered, is_registered, register, stored_card, versions
from stillhouse.errors import InputError
from tasks.stage import program
from tasks.tracking.store import open_store
from tests.flows.conftest import fill_project, train_again
from tests.flows.promotion.conftest import NAME, promoted


def aliases() -> dict[str, str]:
    client, _ = open_store()
    return {alias: str(version) for alias, version in client.get_registered_model(NAME).aliases.items()}


@pytest.fixture(scope="module")
def registered(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose hinton is version 1, the champion, and whose tinybert is not registered."""
    return promoted(fill_project(made, tmp_path_factory.mktemp("registered")))


@pytest.fixture
def here(registered: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(registered)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return registered


@pytest.mark.usefixtures("here")
def test_a_version_says_where_it_came_from_and_what_it_can_do() -> None:
    client, _ = open_store()
    tags = client.get_model_version(NAME, "1").tags
    assert tags["recipe"] == "hinton" and tags["data_md5"] == "abc.dir"
    assert tags["weights_sha256"] == weights_digest(Path("models/hinton"))
    assert float(tags["value"]) == 0.9 and float(tags["latency_p50_ms"]) == 1.5
    assert tags["kind"] == "classes" and tags["split"] == "validation"


@pytest.mark.usefixtures("here")
def test_a_versions_description_is_its_card_and_its_run_has_the_metadata_too() -> None:
    client, _ = open_store()
    version = client.get_model_version(NAME, "1")
    whole = ModelCard(stored_card(client, version))
    assert version.description is not None and whole.text.strip() == version.description.strip()
    assert len(version.description) < 5000
    for said in ("on the 400 rows of the validation split", "| accuracy | 0.9000 |", "99.0% of its teacher's accuracy"):
        assert said.lower() in version.description.lower()
    for said in ("a toy", "2026-11-28", "`abc.dir`", version.tags["weights_sha256"], "recipe `hinton`"):
        assert said in version.description
    metadata = whole.data.to_dict()
    assert (metadata["license"], metadata["library_name"]) == ("apache-2.0", "transformers")
    assert metadata["base_model"] == ["sentence-transformers/all-MiniLM-L6-v2"]
    (model,) = metadata["model-index"]
    assert model["name"] == NAME
    (result,) = model["results"]
    assert result["dataset"]["split"] == "validation" and result["metrics"][0]["value"] == 0.9
    assert len([file for file in Path("mlruns/artifacts").rglob("README.md") if "evaluation" in file.parts]) == 1


@pytest.mark.usefixtures("here")
def test_a_versions_run_says_that_it_made_the_model_and_once_however_often_it_is_registered() -> None:
    register("hinton")
    client, experiment = open_store()
    run = client.get_run(client.get_model_version(NAME, "1").run_id or "")
    (model,) = client.search_logged_models([experiment], f"source_run_id = '{run.info.run_id}'")
    assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]
    assert model.name == "hinton" and model.params["kind"] == "classes"
    assert json.loads(model.tags["mlflow.modelVersions"]) == [{"name": NAME, "version": "1"}]
    assert {each.key: each.value for each in model.metrics}["value"] == 0.9


@pytest.mark.usefixtures("here")
def test_the_same_weights_make_no_new_version() -> None:
    assert is_registered("hinton") and not is_registered("tinybert")
    assert register("hinton") == Registered(NAME, "1", new=False)


@pytest.mark.usefixtures("here")
def test_a_version_holds_safetensors_onnx_and_code_but_no_pickle() -> None:
    client, _ = open_store()
    run_id = client.get_model_version(NAME, "1").run_id
    stored = Path("mlruns/artifacts") / str(run_id) / "artifacts" / "model"
    names = {str(file.relative_to(stored)) for file in stored.rglob("*") if file.is_file()}
    assert {"labels.py", "artifacts/checkpoint/model.safetensors", "artifacts/onnx/model.onnx"} <= names
    assert "artifacts/checkpoint/tokenizer.json" in names
    for file in stored.rglob("*"):
        # The first byte of every pickle since protocol 2, and the zip that torch wraps them in.
        assert file.is_dir() or file.read_bytes()[:2] not in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK")
    requirements = (stored / "requirements.txt").read_text()
    assert "onnxruntime==" in requirements and "torch" not in requirements


@pytest.mark.usefixtures("here")
def test_what_was_not_evaluated_or_cannot_be_served_is_refused_in_one_line() -> None:
    file = Path("reports/evaluated/tinybert/details/served.json")
    good = file.read_text()
    for bad, reason in (
        (
            good.replace("classes", "songs"),
            "kind = 'songs' has no served model, classes, multi-label, scores, answers, tokens have",
        ),
        (
            good.replace('"split"', '"spilt"'),
            "served.json' is damaged .*'spilt'.*: run python -m flows.compress tinybert",
        ),
        ("{", "served.json' is damaged .*: run python -m flows.compress tinybert"),
    ):
        file.write_text(bad)
        with pytest.raises(InputError, match=reason) as error:
            register("tinybert")
        assert "\n" not in str(error.value)
    file.write_text(good)
    rows = file.with_name("rows.csv").rename("rows.csv")
    with pytest.raises(InputError, match=r"rows.csv' is missing: run python -m flows.compress tinybert"):
        register("tinybert")
    rows.rename(file.with_name("rows.csv"))
    assert not is_registered("tinybert")


@pytest.mark.usefixtures("here")
def test_a_pickle_among_the_weights_is_refused_by_name() -> None:
    pickled = Path("models/tinybert/training_args.bin")
    pickled.touch()
    with pytest.raises(InputError, match=r"training_args\.bin' may be a pickle"):
        register("tinybert")
    pickled.unlink()
    assert not is_registered("tinybert")


def test_promotion_moves_the_aliases_a_shut_gate_moves_none_and_rollback_goes_back(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A project of its own: it trains hinton again, whose weights the other tests know.
    monkeypatch.chdir(promoted(fill_project(made, tmp_path / "project")))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    client, _ = open_store()
    assert aliases()["champion"] == "1"
    train_again(Path(), "tinybert", value=0.93)
    assert register("tinybert") == Registered(NAME, "2", new=True)
    assert aliases() == {"champion": "1", "candidate": "2"}
    decision = try_to_promote("tinybert")
    assert decision.promoted and aliases() == {"champion": "2"}

    train_again(Path(), "hinton", value=0.5)
    register("hinton")
    before = aliases()
    decision = try_to_promote("hinton")
    assert not decision.promoted and aliases() == before
    (reason,) = decision.failures
    assert reason.startswith("accuracy (validation) 0.5000, champion (version 2, tinybert) 0.9300, allowed 0.0")
    tags = client.get_model_version(NAME, "3").tags
    assert tags["gate"] == "failed" and tags["gate_reasons"] == decision.failures[0]
    run_id = str(client.get_model_version(NAME, "3").run_id)
    (written,) = client.list_artifacts(run_id, "promotion")
    record = json.loads((Path("mlruns/artifacts") / run_id / "artifacts" / written.path).read_text())
    assert record["failed"] == list(decision.failures) and record["champion_before"]["version"] == "2"
    assert json.loads(tags["decision"]).items() <= record.items()

    assert roll_back() == f"rolled back: {NAME} version 1 is the champion again (version 2 was)"
    assert aliases()["champion"] == "1"
    assert "to version 1" in client.get_model_version(NAME, "2").tags["rolled_back"]
    with pytest.raises(InputError, match="there is nothing to roll back to"):
        roll_back()
    assert [each.version for each in versions(client, NAME)] in (["3", "2", "1"], [3, 2, 1])


@pytest.mark.usefixtures("here")
def test_a_recipe_without_a_version_is_refused_with_those_that_have_one() -> None:
    with pytest.raises(InputError, match=r"recipe 'pkd' has no version of stillhouse-docstrings \(.*hinton"):
        try_to_promote("pkd")


@pytest.mark.usefixtures("here")
def test_with_mlflow_away_one_line_says_so_without_the_password(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")  # what the program sets is then undone too
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    monkeypatch.setattr(sys, "argv", ["promote", "hinton"])
    with pytest.raises(SystemExit) as left:
        program.run(promote.main)
    shown = capfd.readouterr().err
    assert left.value.code == 75 and "secret" not in shown
    assert shown.startswith("error: network: MLflow at http://127.0.0.1:9 cannot be reached") and shown.count("\n") == 1


@pytest.mark.usefixtures("here")
def test_the_table_shows_teacher_and_student() -> None:
    lines = table("hinton").splitlines()
    assert [cell.strip() for cell in lines[0].strip("|").split("|")] == [
        *["", "accuracy (validation)", "kept", "parameters", "on disk", "FLOPs", "p50 ms", "p99 ms"]
    ]
    assert lines[2].split("|")[1].strip() == "teacher" and lines[3].split("|")[1].strip() == "hinton"
    assert len({len(line) for line in lines[:4]}) == 1, "columns are aligned"


def test_numbers_of_a_report_are_flat() -> None:
    assert numbers({"a": 1, "b": {"c": 2.5, "d": "text", "e": True}}) == {"a": 1, "b.c": 2.5}


def test_an_unknown_recipe_is_named_with_those_there_are() -> None:
    with pytest.raises(InputError, match="recipe = 'x' is unknown: choose one of hinton, tinybert"):
        known_recipe("x", ["hinton", "tinybert"])
