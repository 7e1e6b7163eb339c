"""Promotion in earnest: the champion scored on new data, one promotion at a time, and files that are what they were."""

import hashlib
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from dvc.repo import Repo
from transformers import AutoModelForSequenceClassification

from flows import serve
from flows.promotion.champion import folder_md5
from flows.promotion.decision import Verdict, roll_back, try_to_promote
from flows.promotion.lock import promotion_lock, unlock
from flows.registry.code import FORMER as FORMER_CODE
from flows.registry.code import OURS
from flows.registry.files import fetch, folder_digest
from flows.registry.versions import find_version, register, stored_rows
from stillhouse.encoders.checkpoint import load_model, load_tokenizer
from stillhouse.errors import InputError
from tasks.stage.params import read_yaml
from tasks.tracking.store import open_store, tracking_uri
from tests.flows.conftest import WORDS, evaluated, fill_project, lock_data, train_again

NAME = "stillhouse-docstrings"
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def project(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose hinton is version 1, the champion."""
    root = fill_project(made, tmp_path_factory.mktemp("promotion") / "project")
    shutil.copytree(root, root.with_name("as-made"))
    return promoted(root)


def promoted(root: Path) -> Path:
    """The project, once its hinton is registered and champion."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        register("hinton")
        assert try_to_promote("hinton").promoted
    return root


@pytest.fixture(autouse=True)
def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The project; afterwards its files are as they were made, and version 1 is the champion."""
    monkeypatch.chdir(project)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("STILLHOUSE_TRACKING", "off")
    yield project
    client, _ = open_store()
    client.set_registered_model_alias(NAME, "champion", "1")
    client.set_registered_model_tag(NAME, "champions", '["1"]')
    for path in project.with_name("as-made").iterdir():
        if path.is_dir():
            shutil.rmtree(project / path.name)
            shutil.copytree(path, project / path.name)
        else:
            shutil.copy(path, project / path.name)


def champion() -> str:
    client, _ = open_store()
    return str(client.get_model_version_by_alias(NAME, "champion").version)


def new_data(root: Path, rows: int = 49) -> list[str]:
    """Other rows for the task, as DVC would know them; their texts."""
    texts = [f"{one} {other}" for one in WORDS for other in WORDS][:rows]
    features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    task = Dataset.from_dict({"text": texts, "label": [at % 2 for at in range(len(texts))]}, features=features)
    for split in ("train", "validation"):
        task.to_parquet(root / "data" / "task" / f"{split}.parquet")
    lock_data(root, folder_md5(root / "data" / "task"))
    return texts


def test_a_champion_that_never_saw_the_data_is_scored_on_them_here(here: Path) -> None:
    texts = new_data(here)
    model = load_model("models/hinton", AutoModelForSequenceClassification)
    logits = model(**load_tokenizer("models/hinton")(texts, padding=True, return_tensors="pt")).logits
    right = (logits.argmax(1).numpy() == np.arange(len(texts)) % 2).mean()
    train_again(here, "tinybert", 0.5)
    lines = ["actual,predicted", *(("no,no", "yes,yes")[at % 2] for at in range(len(texts)))]
    (here / "reports/evaluated/tinybert/predictions.csv").write_text("\n".join(lines) + "\n")
    register("tinybert")
    decision = try_to_promote("tinybert")
    assert decision.promoted and right < 0.9
    assert f"accuracy 1.0000, champion (version 1, hinton) {right:.4f}" in decision.checks[-1]
    client, _ = open_store()
    mine = client.get_model_version(NAME, decision.version)
    incumbent = client.get_model_version(NAME, "1")
    kept = stored_rows(client, str(incumbent.run_id), mine.tags["evaluation"])
    assert kept is not None and len(kept["actual"]) == len(texts), "so that it is scored once"
    assert incumbent.tags["data_md5"] == "abc.dir", "what it was registered with stays"


def test_where_the_data_are_not_the_candidates_the_champion_is_not_scored(here: Path) -> None:
    new_data(here)
    lock_data(here, "0123.dir")
    train_again(here, "tinybert", 0.95)
    register("tinybert")
    with pytest.raises(InputError, match=r"'data/task' \(md5 .*\.dir\) and params.yaml here are not what") as error:
        try_to_promote("tinybert")
    assert "\n" not in str(error.value) and champion() == "1"
    lock_data(here, "abc.dir")


def test_numbers_that_decide_the_score_are_part_of_what_is_compared(here: Path) -> None:
    client, _ = open_store()
    before = client.get_model_version(NAME, "1").tags["evaluation"]
    tree = json.loads(Path("params.yaml").read_text())
    Path("params.yaml").write_text(json.dumps(tree | {"train": tree["train"] | {"max_length": 8}}))
    register("hinton")
    assert client.get_model_version(NAME, "1").tags["evaluation"] != before
    Path("params.yaml").write_text(json.dumps(tree))
    register("hinton")
    assert client.get_model_version(NAME, "1").tags["evaluation"] == before


def test_dvc_gives_a_folder_the_same_hash(tmp_path: Path) -> None:
    (tmp_path / "data" / "sub").mkdir(parents=True)
    for name in ("b.txt", "a.txt", "sub/é.txt"):
        (tmp_path / "data" / name).write_text(name)
    Repo.init(str(tmp_path), no_scm=True).add(str(tmp_path / "data"))
    assert read_yaml(tmp_path / "data.dvc")["outs"][0]["md5"] == folder_md5(tmp_path / "data")


def test_a_version_that_passes_waits_for_a_person_where_params_say_so(here: Path) -> None:
    tree = json.loads(Path("params.yaml").read_text())
    asking = tree["promote"] | {"approval": {"required": True, "hours": 1.0}}
    Path("params.yaml").write_text(json.dumps(tree | {"promote": asking}))
    train_again(here, "tinybert", 0.95)
    version = register("tinybert").version
    client, _ = open_store()
    waits = try_to_promote("tinybert")
    assert waits.waiting and not waits.promoted and not waits.failures and champion() == "1"
    assert client.get_model_version(NAME, version).tags["gate"] == "waiting"
    no = try_to_promote("tinybert", version, Verdict(False, "ada", "too large for the phone"))
    assert no.failures == ("ada says no: too large for the phone",) and champion() == "1"
    yes = try_to_promote("tinybert", version, Verdict(True, "ada", "measured on the phone"))
    assert yes.promoted and yes.checks[-1] == "ada says yes: measured on the phone" and champion() == version
    record = json.loads(client.get_model_version(NAME, version).tags["decision"])
    assert record["approval"] == {"approved": True, "by": "ada", "reason": "measured on the phone"}
    Path("params.yaml").write_text(json.dumps(tree))


def test_a_yes_opens_no_gate_that_is_shut(here: Path) -> None:
    train_again(here, "tinybert", 0.5)
    register("tinybert")
    decision = try_to_promote("tinybert", verdict=Verdict(True, "ada", "I like it"))
    assert not decision.promoted and champion() == "1"


def test_a_version_that_is_not_the_recipes_is_named() -> None:
    with pytest.raises(InputError, match=r"version = '77' is none of recipe 'hinton' of stillhouse-docstrings"):
        try_to_promote("hinton", version="77")


def test_a_promotion_that_died_between_its_two_writes_left_one_champion_and_can_be_rolled_back(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_again(here, "tinybert", 0.97)
    version = register("tinybert").version
    client, _ = open_store()

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mlflow.tracking.MlflowClient.set_registered_model_tag", dies)
        with pytest.raises(KeyboardInterrupt):
            try_to_promote("tinybert")
    assert champion() == version
    assert "version 1 is the champion again" in roll_back() and champion() == "1"
    with monkeypatch.context() as patch:
        patch.setattr("mlflow.tracking.MlflowClient.set_registered_model_alias", dies)
        with pytest.raises(KeyboardInterrupt):
            try_to_promote("tinybert")
    assert champion() == "1" and try_to_promote("tinybert").promoted
    assert not unlock(client, NAME), "no lock stays"


def test_a_champion_whose_alias_was_deleted_is_out_of_service() -> None:
    client, _ = open_store()
    client.delete_registered_model_alias(NAME, "champion")
    assert "there is no champion yet" in try_to_promote("hinton").checks
    assert champion() == "1"


def test_a_lock_of_a_dead_process_of_this_machine_is_taken_over_and_one_of_another_machine_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client, _ = open_store()
    lock = f"{NAME}.promotion-lock"
    with promotion_lock(client, NAME):
        tags = client.get_registered_model(lock).tags
    client.create_registered_model(lock, tags=tags)  # as if killed
    with promotion_lock(client, NAME):
        assert json.loads(client.get_registered_model(lock).tags["holder"])["pid"] == os.getpid()
    client.create_registered_model(lock, tags={"holder": json.dumps({"place": "x", "host": "gpu-7", "pid": 12})})
    monkeypatch.setattr("flows.promotion.lock.PATIENCE", 0.0)
    with pytest.raises(InputError, match=r"is held by process 12 on gpu-7: wait for it, or"):
        try_to_promote("hinton")
    assert unlock(client, NAME) and try_to_promote("hinton").promoted


# Whoever judges first waits until the other one stands at the lock, or, were there none, judges as well.
PROMOTES = """
import sys, time
from pathlib import Path
import flows.promotion.lock as lock
import flows.promotion.decision as promote
mine, other = sys.argv[1:]
judged, waits = promote.judge, lock._wait
def slowly(*given):
    Path(mine + ".there").touch()
    deadline = time.monotonic() + 180
    while not Path(other + ".there").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return judged(*given)
def seen(*given, **more):
    Path(mine + ".there").touch()
    waits(*given, **more)
promote.judge, lock._wait = slowly, seen
print(promote.try_to_promote(mine).promoted)
"""


@pytest.mark.slow
def test_two_promotions_at_once_are_one_after_the_other_and_leave_one_champion(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A project of its own: hinton gets a second version, where the other tests expect one.
    here = promoted(fill_project(made, tmp_path / "project"))
    monkeypatch.chdir(here)
    for recipe, value in (("hinton", 0.94), ("tinybert", 0.96)):
        train_again(here, recipe, value)
        register(recipe)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    both = [
        subprocess.Popen([sys.executable, "-c", PROMOTES, *pair], env=environment, stdout=subprocess.PIPE, text=True)
        for pair in (("hinton", "tinybert"), ("tinybert", "hinton"))
    ]
    shown = [process.communicate(timeout=240)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    client, _ = open_store()
    model = client.get_registered_model(NAME)
    history = json.loads(model.tags["champions"])
    records = {version: json.loads(client.get_model_version(NAME, version).tags["decision"]) for version in history[1:]}
    # Each was compared with the champion that the other one left.
    for before, version in itertools.pairwise(history):
        assert records[version]["champion_before"]["version"] == before
    passed = [text.splitlines()[-1] == "True" for text in shown]
    assert passed[1] and str(model.aliases["champion"]) == history[-1]
    assert len(history) == 1 + sum(passed)
    assert any("another process of this machine promotes or rolls back: waiting" in text for text in shown)


def version_folder(version: str) -> Path:
    client, _ = open_store()
    run_id = client.get_model_version(NAME, version).run_id
    return Path("mlruns/artifacts") / str(run_id) / "artifacts" / "model"


@pytest.fixture
def tampered(here: Path) -> Iterator[Path]:
    """The folder of version 1, put back afterwards."""
    folder = version_folder("1")
    shutil.copytree(folder, here / "as-it-was")
    yield folder
    shutil.rmtree(folder)
    shutil.move(here / "as-it-was", folder)


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def test_a_fetched_version_is_what_was_registered(tmp_path: Path) -> None:
    client, _ = open_store()
    folder = fetch(client, client.get_model_version(NAME, "1"), tmp_path)
    weights = (folder / "artifacts/checkpoint/model.safetensors").read_bytes()
    assert weights == (version_folder("1") / "artifacts/checkpoint/model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("artifacts/checkpoint/model.safetensors", r"version 1: its weights have sha256 .*…, registered was .*…: "),
        ("artifacts/onnx/model.onnx", r"version 1: its files have sha256 .*…, registered was .*…: "),
        ("MLmodel", r"version 1: its files have sha256"),
    ],
)
def test_a_version_whose_files_were_changed_is_refused(tampered: Path, tmp_path: Path, file: str, reason: str) -> None:
    flip(tampered / file)
    client, _ = open_store()
    with pytest.raises(InputError, match=reason) as error:
        fetch(client, client.get_model_version(NAME, "1"), tmp_path)
    assert "\n" not in str(error.value)


def test_a_changed_champion_is_not_scored(tampered: Path, here: Path) -> None:
    new_data(here, rows=20)
    evaluated(here, "tinybert", 0.95)
    register("tinybert")
    flip(tampered / "artifacts/onnx/model.onnx")
    with pytest.raises(InputError, match="version 1: its files have sha256"):
        try_to_promote("tinybert")
    lock_data(here, "abc.dir")


def test_a_version_of_this_projects_code_is_served_and_one_of_other_code_is_not(
    tampered: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["serve", f"models:/{NAME}@champion", "--check"])
    serve.main()
    assert "version 1: weights sha256" in capsys.readouterr().out
    # With digests that agree: whoever can write to the registry could have made them.
    code = tampered / "labels.py"
    code.write_text(code.read_text() + "\n")
    client, _ = open_store()
    before = client.get_model_version(NAME, "1").tags["files_sha256"]
    client.set_model_version_tag(NAME, "1", "files_sha256", folder_digest(tampered))
    with pytest.raises(InputError, match=r"'labels.py' of the version is not this project's"):
        serve.main()
    client.set_model_version_tag(NAME, "1", "files_sha256", before)


FORMER = Path(__file__).parents[1] / "registry" / "former"


@pytest.fixture
def former_code(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A version of tinybert that was registered before the files in `flows/serving` had their names."""
    file = tmp_path / "serving_model.py"
    shutil.copy(FORMER / "serving_model.txt", file)
    train_again(here, "tinybert", 0.95)
    with monkeypatch.context() as patch:
        patch.setitem(OURS, "labels.py", file)
        return register("tinybert").version


def test_the_digests_of_the_former_code_are_those_of_its_files() -> None:
    files = {file.with_suffix(".py").name: file.read_bytes() for file in FORMER.iterdir()}
    assert {name: hashlib.sha256(text).hexdigest() for name, text in files.items()} == FORMER_CODE


def test_a_version_with_the_former_code_is_checked_loaded_promoted_and_rolled_back(
    here: Path,
    former_code: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert (version_folder(former_code) / "serving_model.py").is_file()
    monkeypatch.setattr(sys, "argv", ["serve", f"models:/{NAME}/{former_code}", "--check"])
    serve.main()
    assert f"version {former_code}: weights sha256" in capsys.readouterr().out
    client, _ = open_store()
    (tmp_path / "fetched").mkdir()
    folder = fetch(client, client.get_model_version(NAME, former_code), tmp_path / "fetched")
    loaded = mlflow.pyfunc.load_model(str(folder))
    assert loaded.predict(pd.DataFrame({"text": ["good film"]}))[0]["label"] in ("no", "yes")
    assert try_to_promote("tinybert").promoted and champion() == former_code
    train_again(here, "tinybert", 0.97)
    register("tinybert")
    assert try_to_promote("tinybert").checks[-1].startswith("accuracy 0.9700, champion (version " + former_code)
    assert f"version {former_code} is the champion again" in roll_back() and champion() == former_code


def test_former_code_that_was_changed_is_refused(former_code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = version_folder(former_code)
    code = folder / "serving_model.py"
    code.write_text(code.read_text() + "\n")
    client, _ = open_store()
    client.set_model_version_tag(NAME, former_code, "files_sha256", folder_digest(folder))
    monkeypatch.setattr(sys, "argv", ["serve", f"models:/{NAME}/{former_code}", "--check"])
    with pytest.raises(InputError, match=r"'serving_model.py' of the version is not this project's code"):
        serve.main()


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("stillhouse-docstrings", "give models:/NAME@champion"),
        ("models:/../x@champion", "give models:/NAME@champion"),
        (f"models:/{NAME}@nobody", "is not in the registry at sqlite:///"),
        (f"models:/{NAME}/99", "is not in the registry"),
    ],
)
def test_a_model_that_is_not_there_is_named(model: str, reason: str) -> None:
    client, _ = open_store()
    with pytest.raises(InputError, match=f"model = '{model}'.*{reason}"):
        find_version(client, model)


def test_what_was_changed_goes_into_service_neither_forward_nor_back(tampered: Path, here: Path) -> None:
    client, _ = open_store()
    train_again(here, "tinybert", 0.9)
    register("tinybert")
    assert try_to_promote("tinybert").promoted
    flip(tampered / "artifacts/onnx/model.onnx")
    now = champion()
    for into_service in (roll_back, lambda: try_to_promote("hinton", version="1")):
        with pytest.raises(InputError, match="version 1: its files have sha256"):
            into_service()
        assert champion() == now and not unlock(client, NAME)


@pytest.mark.parametrize("file", ["artifacts/checkpoint/model.safetensors", "artifacts/onnx/model.onnx"])
def test_a_served_model_whose_weights_were_changed_does_not_load(
    tampered: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri())
    assert mlflow.pyfunc.load_model(f"models:/{NAME}/1").predict(pd.DataFrame({"text": ["good film"]}))
    flip(tampered / file)
    with pytest.raises(ValueError, match=r"has sha256 .*…, registered was .*…: do not use it"):
        mlflow.pyfunc.load_model(f"models:/{NAME}/1")


def test_both_kinds_of_served_model_check_their_files_alike() -> None:
    texts = [(ROOT / "flows" / "serving" / name).read_text() for name in ("labels.py", "answers.py")]
    checks = [text[text.index("def _refuse_changed") : text.index("\n\n\nset_model")] for text in texts]
    assert checks[0] == checks[1] and all("_refuse_changed(context.artifacts" in text for text in texts)
