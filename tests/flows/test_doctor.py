"""`python -m flows.doctor`: all is well in a tiny project, and each thing that is broken has its line."""

import json
import shutil
import sys
import threading
from collections import namedtuple
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo
from sqlalchemy import create_engine, text

from flows import doctor
from flows.checks import data, durations, machine, project, servers, storage, teacher
from flows.checks.finding import Finding, Setup, within
from tasks.stage import program
from tasks.stage.params import read_yaml
from tasks.tracking.store import open_store
from tests import tiny
from tests.flows.conftest import copy_store
from tests.tasks import project as clone

ROOT = Path(__file__).parents[2]
SECRET = "pw-19c0ffee"
DEAD = "127.0.0.1:9"  # nothing listens there
Usage = namedtuple("Usage", "total used free")
QUESTION = {"id": "1", "question": "What is it?", "answers": [{"text": "good", "answer_start": 0}]}
PARAGRAPH = {"context": "good film", "qas": [QUESTION]}


@pytest.fixture
def tiny_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with a tiny teacher, prepared data, and a remote in a local folder."""
    root = tmp_path / "clone"
    root.mkdir()
    for name in ("flows", "tasks", "stillhouse"):
        (root / name).symlink_to(ROOT / name)
    for name in ("dvc.yaml", "prefect.yaml", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, root)
    Repo.init(str(root), no_scm=True).close()
    clone.enter(root, monkeypatch)
    (tmp_path / "remote").mkdir()
    set_remote(root, str(tmp_path / "remote"))
    for name in ("STILLHOUSE_TRACKING", "MLFLOW_TRACKING_URI", "PREFECT_API_URL", "PREFECT_API_AUTH_STRING"):
        # Set before it is removed: what the program itself sets is then undone too.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "PREFECT_API_KEY"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("PREFECT_HOME", str(root / ".prefect"))
    monkeypatch.setattr("os.getloadavg", lambda: (0.5, 0.0, 0.0))
    return root


def set_remote(root: Path, url: str) -> None:
    lines = ["[core]", "no_scm = true", "remote = shared", "['remote \"shared\"']", f"url = {url}"]
    (root / ".dvc" / "config").write_text("\n".join(lines))


@pytest.fixture
def prefect_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Answers as a Prefect server does, to the paths in this mapping; PREFECT_API_URL names it."""
    names = [each["name"] for each in read_yaml(ROOT / "prefect.yaml")["deployments"]]
    answers: dict[str, Any] = {
        "/api/health": True,
        "/api/admin/version": metadata.version("prefect"),
        "/api/work_pools/stillhouse/workers/filter": [{"name": "one", "status": "ONLINE"}],
        "/api/deployments/filter": [{"name": name} for name in names],
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = json.dumps(answers.get(self.path)).encode()
            self.send_response(200 if self.path in answers else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.server_port}/api")
        yield answers
        server.shutdown()


def examined(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[str]]:
    """The program's exit code and lines."""
    sys.argv = ["doctor", *words]
    code = 0
    try:
        program.run(doctor.main)
    except SystemExit as left:
        code = int(left.code or 0)
    shown = capsys.readouterr()
    assert shown.err == ""
    return code, shown.out.splitlines()


def found(check: Callable[[Setup], Iterator[Finding]], root: Path, **setup: Any) -> list[str]:
    """What one check says of a project whose params.yaml is as it lies there."""
    return [str(each) for each in check(Setup(root, None, read_yaml(root / "params.yaml"), **setup))]


def starts(line: str, level: str, check: str) -> bool:
    return line.split()[:2] == [level, check]


def test_a_set_up_in_order_has_no_line_that_is_not_ok(
    tiny_project: Path, prefect_server: dict, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {file for file in tiny_project.parent.rglob("*") if ".dvc" not in file.parts}
    code, lines = examined(capsys, "hinton")
    assert code == 0
    assert [line for line in lines[:-2] if not line.startswith("ok ")] == []
    assert lines[-1] == "0 faults, 0 warnings"
    more = {"worker", "deployments", "outbox"}
    assert {line.split()[1] for line in lines[:-2]} == {name for name, *_ in doctor.CHECKS} | more
    (line,) = [line for line in lines if starts(line, "ok", "durations")]
    assert "not run yet: code, prepare, teacher, " in line and "evaluate@hinton" in line
    assert {file for file in tiny_project.parent.rglob("*") if ".dvc" not in file.parts} == before


def test_each_of_many_faults_has_its_line_and_the_exit_code_is_2(
    tiny_project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny.save(tiny.bert(labels=("no", "yes")), tiny_project / "other")
    changes: dict[str, Any] = {"teacher.model": "other", "hinton.distill.temperature": "hot"}
    changes |= {"data.source": "files", "data.files.folder": "nowhere", "data.files.layout": "sst2"}
    clone.params(tiny_project, **changes, **{"teacher.flor": 0.5})
    (tiny_project / "file").touch()
    set_remote(tiny_project, str(tiny_project / "file" / "remote"))
    constraints = (tiny_project / "constraints.txt").read_text().splitlines()
    doctored = ["torch==1.0.0" if line.startswith("torch==") else line for line in constraints]
    (tiny_project / "constraints.txt").write_text("\n".join(doctored))
    monkeypatch.setenv("PREFECT_API_URL", f"http://ada:{SECRET}@{DEAD}/api")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ada:{SECRET}@{DEAD}")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9 - 1000, 1000))
    code, lines = examined(capsys)
    faults = [line for line in lines if line.startswith("fault ")]
    wanted = [
        ("versions", "constraints.txt pins ==1.0.0: pip install"),
        ("disk", "0.0 MB free at "),
        ("remote", "'shared' (…/file/remote) cannot be made (NotADirectoryError".replace("…", str(tiny_project))),
        ("prefect", f"http://{DEAD}/api cannot be reached (ConnectError"),
        ("mlflow", f"http://{DEAD} cannot be reached (ConnectError"),
        ("params", "params.yaml: teacher.flor = 0.5 is not a known key"),
        ("params", "params.yaml: hinton.distill.temperature = 'hot'"),
        ("data", "data.files.folder = 'nowhere': no such folder"),
        ("labels", "the data has ['bad', 'good'], the model has ['no', 'yes']"),
    ]
    assert [line.split()[1] for line in faults] == [check for check, _ in wanted]
    for line, (_, says) in zip(faults, wanted, strict=True):
        assert says in line, line
    assert code == program.EXIT_INPUT and lines[-1].startswith("9 faults, ")
    assert SECRET not in "\n".join(lines)


def test_an_unknown_recipe_is_refused_in_one_line(
    tiny_project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tiny_project / "dvc.yaml").write_text("stages: {report: {foreach: [hinton], do: {cmd: 'true'}}}")
    monkeypatch.setattr(sys, "argv", ["doctor", "hintn"])
    with pytest.raises(SystemExit) as left:
        program.run(doctor.main)
    assert left.value.code == program.EXIT_INPUT
    assert capsys.readouterr().err == "error: recipe = 'hintn' is unknown: choose one of hinton\n"


def test_a_check_that_breaks_is_a_fault_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "CHECKS", (("versions", "machine", "versions"), ("params", "project", "params")))
    first, second = map(str, doctor.examine(Setup(tmp_path, None)))
    assert first.startswith("fault    versions    this could not be checked (FileNotFoundError: ")
    assert second.startswith("fault    params      params.yaml: no such file")


def test_a_dvc_yaml_that_dvc_refuses_or_whose_program_is_gone_is_a_fault(tiny_project: Path) -> None:
    whole = (tiny_project / "dvc.yaml").read_text()
    (tiny_project / "dvc.yaml").write_text(whole.replace("python -m tasks.export ", "python -m tasks.exprot "))
    setup = doctor.set_up(tiny_project, "hinton")
    lines = [str(each) for each in project.pipeline(setup)]
    assert [line.partition(", which")[0] for line in lines] == [
        f"fault    dvc.yaml    stage '{stage}' runs 'tasks.exprot'" for stage in ("export", "export-finished")
    ]
    (tiny_project / "dvc.yaml").write_text("stages: {a: {cmd: true, outs: [x]}, b: {cmd: true, outs: [x]}}")
    broken = doctor.set_up(tiny_project, "hinton")
    assert broken.graph == ()
    (line,) = map(str, durations.durations(broken))
    assert line.startswith("warning  durations   without a valid dvc.yaml")


def test_a_remote_that_does_not_answer_is_a_fault_and_none_is_a_warning(tiny_project: Path) -> None:
    set_remote(tiny_project, f"http://ada:{SECRET}@{DEAD}/store")
    (line,) = found(storage.remote, tiny_project)
    assert line.startswith(f"fault    remote      'shared' (http://…@{DEAD}/store) cannot be written and read ")
    assert SECRET not in line
    set_remote(tiny_project, "azure://store")
    (line,) = found(storage.remote, tiny_project)
    assert line.startswith("fault    remote      'shared': azure is supported, but requires 'dvc-azure'")
    set_remote(tiny_project, str(tiny_project / "unmounted"))
    (line,) = found(storage.remote, tiny_project)
    assert starts(line, "warning", "remote") and "is not there: mount it" in line
    (tiny_project / ".dvc" / "config").write_text("[core]\n    no_scm = true\n")
    (line,) = found(storage.remote, tiny_project)
    assert starts(line, "warning", "remote") and "dvc remote add -d" in line


def test_what_a_prefect_server_lacks_is_a_warning_each(tiny_project: Path, prefect_server: dict) -> None:
    prefect_server["/api/admin/version"] = "2.0.0"
    prefect_server["/api/work_pools/stillhouse/workers/filter"] = [{"name": "one", "status": "OFFLINE"}]
    prefect_server["/api/deployments/filter"].pop(0)
    version, worker, deployments = found(servers.prefect, tiny_project)
    assert starts(version, "warning", "prefect") and "the server is 2.0.0" in version
    assert starts(worker, "warning", "worker") and "no worker of pool 'stillhouse' is online" in worker
    assert starts(deployments, "warning", "deployments") and "lacks hinton of" in deployments
    del prefect_server["/api/work_pools/stillhouse/workers/filter"]
    assert "there is no work pool 'stillhouse'" in found(servers.prefect, tiny_project)[1]
    prefect_server.clear()
    (line,) = found(servers.prefect, tiny_project)
    assert starts(line, "fault", "prefect") and "answers 404 to /api/health" in line


def test_a_store_that_cannot_be_written_and_runs_that_wait_are_named(
    tiny_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = create_engine("sqlite:///store.db")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE experiments (name TEXT)"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///store.db")
    assert starts(found(servers.mlflow, tiny_project)[0], "ok", "mlflow")
    with engine.connect() as connection:
        connection.execute(text("BEGIN EXCLUSIVE"))
        monkeypatch.setattr(servers, "PATIENCE", 0.1)
        line = found(servers.mlflow, tiny_project)[0]
        assert starts(line, "fault", "mlflow") and "database is locked" in line
    Path("store.db").write_bytes(b"no database at all, and long enough not to be taken for an empty one" * 20)
    assert "file is not a database" in found(servers.mlflow, tiny_project)[0]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "mlruns")
    assert "is no store" in found(servers.mlflow, tiny_project)[0]
    outbox = Path("mlruns/outbox")
    outbox.mkdir(parents=True)
    (outbox / "a.jsonl").write_text(json.dumps({"op": "start", "pid": 2**22 + 1}) + "\n")
    (outbox / "b.refused").touch()
    refused, waiting = found(servers.mlflow, tiny_project)[1:]
    assert starts(refused, "warning", "outbox") and "MLflow refused 1 runs" in refused
    assert starts(waiting, "warning", "outbox") and waiting.endswith("send them: python -m tasks.tracking.sender --all")


def test_a_tokenizer_with_more_tokens_than_embeddings_and_texts_too_long_are_faults(tiny_project: Path) -> None:
    file = tiny_project / "start" / "config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps(config | {"vocab_size": 20}))
    lines = found(teacher.teachers, tiny_project)
    assert any("its tokenizer knows 33 tokens, its embeddings have 20 rows" in line for line in lines)
    file.write_text(json.dumps(config | {"max_position_embeddings": 16}))
    lines = found(teacher.teachers, tiny_project)
    assert any("train.max_length = 24, but it reads 16 tokens at most" in line for line in lines)
    file.write_text(json.dumps(config | {"model_type": "gpt2"}))
    assert any("model family 'gpt2' is not one of bert" in line for line in found(teacher.teachers, tiny_project))


def test_a_pickled_teacher_is_a_fault(tiny_project: Path) -> None:
    (tiny_project / "start" / "model.safetensors").rename(tiny_project / "start" / "pytorch_model.bin")
    (line,) = found(teacher.teachers, tiny_project)
    assert starts(line, "fault", "teacher") and "pytorch_model.bin is a pickle, which can run code when loaded" in line


def test_what_a_teacher_must_be_depends_on_the_kind_of_task(tiny_project: Path) -> None:
    tiny.save(tiny.answerer(), tiny_project / "reader")
    clone.params(tiny_project, **{"teacher.model": "reader"})
    (line,) = found(data.labels, tiny_project)
    assert starts(line, "fault", "labels")
    assert "is a BertForQuestionAnswering, the task wants a model …ForSequenceClassification" in line
    tiny.write_questions(tiny_project / "data" / "task")
    changes = {"data.kind": "answers", "kinds.answers.max_length": 65, "teacher.model": "reader"}
    clone.params(tiny_project, **changes)
    (line,) = found(data.labels, tiny_project)
    assert starts(line, "ok", "labels") and "answers have no labels" in line
    (line,) = found(teacher.teachers, tiny_project)
    assert "kinds.answers.max_length = 65, but it reads 64 tokens at most: lower kinds" in line
    clone.params(tiny_project, **{"data.kind": "songs"})
    assert found(data.labels, tiny_project) == [], "the check of params.yaml says it"


def test_labels_in_another_order_are_fine_and_another_number_is_not(tiny_project: Path) -> None:
    tiny.save(tiny.bert(labels=("good", "bad")), tiny_project / "other")
    clone.params(tiny_project, **{"teacher.model": "other"})
    (line,) = found(data.labels, tiny_project)
    assert starts(line, "ok", "labels") and "in another order: reordered" in line
    tiny.save(tiny.bert(labels=("LABEL_0", "LABEL_1", "LABEL_2")), tiny_project / "other")
    (line,) = found(data.labels, tiny_project)
    assert starts(line, "fault", "labels") and "the data has 2, the model has 3" in line


def test_a_column_that_a_file_lacks_is_a_fault(tiny_project: Path) -> None:
    (tiny_project / "raw").mkdir()
    for name in ("train.tsv", "dev.tsv"):
        (tiny_project / "raw" / name).write_text("text\tlabel\ngood film\t1\n")
    changes: dict[str, Any] = {"data.source": "files", "data.files.folder": "raw", "data.files.layout": "sst2"}
    clone.params(tiny_project, **changes)
    assert starts(found(data.sources, tiny_project)[0], "ok", "data")
    squad = changes | {"data.kind": "answers", "data.files.layout": "squad"}
    clone.params(tiny_project, **squad)
    assert "train.json" in found(data.sources, tiny_project)[0]
    for name in ("train.json", "dev.json"):
        (tiny_project / "raw" / name).write_text(json.dumps({"data": [{"paragraphs": [PARAGRAPH]}]}))
    (line, *_) = found(data.sources, tiny_project)
    assert starts(line, "ok", "data") and line.endswith("with id, question, context, answers")
    clone.params(tiny_project, **changes | {"data.files.layout": "cola"})
    assert "2 fields where 4 are expected" in found(data.sources, tiny_project)[0]
    table = {"data.files.layout": "table", "data.files.train": "train.tsv", "data.files.validation": "dev.tsv"}
    table |= {"data.columns": {"text": "sentence", "text_pair": None, "label": "label", "probabilities": None}}
    clone.params(tiny_project, **changes | table)
    assert "no column 'sentence': it has text, label" in found(data.sources, tiny_project)[0]


def test_a_hub_that_cannot_be_asked_is_a_fault_unless_the_data_is_prepared(
    tiny_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    clone.params(tiny_project, **{"data.source": "hub", "data.hub.name": "no/such", "teacher.model": "no/such"})
    assert starts(found(data.sources, tiny_project)[0], "warning", "data")
    line = found(teacher.teachers, tiny_project)[0]
    assert starts(line, "fault", "teacher") and "is not here, and the hub cannot be reached (OfflineMode" in line
    shutil.rmtree(tiny_project / "data" / "task")
    line = found(data.sources, tiny_project)[0]
    assert starts(line, "fault", "data") and "the hub cannot be reached (OfflineMode" in line


@pytest.mark.usefixtures("hub_away")
def test_a_hub_that_does_not_answer_is_a_fault(tiny_project: Path) -> None:
    clone.params(tiny_project, **{"data.source": "hub", "data.hub.name": "no/such", "teacher.model": "no/such"})
    shutil.rmtree(tiny_project / "data" / "task")
    for check, block in ((data.sources, "data"), (teacher.teachers, "teacher")):
        line = found(check, tiny_project)[0]
        assert starts(line, "fault", block) and "the hub cannot be reached (ConnectError" in line


def test_a_busy_machine_is_a_warning(tiny_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    for load, busy in ((1.9, False), (2.1, True)):
        monkeypatch.setattr("os.getloadavg", lambda load=load: (load, 0.0, 0.0))
        lines = [line for line in found(machine.devices, tiny_project) if "this machine is busy" in line]
        assert len(lines) == busy and all(starts(line, "warning", "devices") for line in lines)
    (line,) = lines
    assert "`top`" in line and "`dvc repro -s -f evaluate@RECIPE`" in line, "it says what to do"


def test_a_precision_that_the_machine_cannot_do_is_a_fault(tiny_project: Path) -> None:
    clone.params(tiny_project, **{"train.precision": "fp8"})
    lines = found(machine.devices, tiny_project)
    assert any(starts(line, "fault", "devices") and "train.precision = 'fp8' is not one of" in line for line in lines)


def test_the_newest_finished_run_of_a_stage_says_how_long_it_took(tiny_project: Path, empty_store: Path) -> None:
    copy_store(empty_store, tiny_project)
    client, experiment = open_store()
    day = 86_400_000  # milliseconds
    for stage, start, seconds, status in (
        ("teacher", 1 * day, 60, "FINISHED"),
        ("teacher", 3 * day, 600, "FINISHED"),
        ("teacher", 2 * day, 70, "FINISHED"),
        ("teacher", 4 * day, 5, "FAILED"),
        ("hinton", 4 * day, 5, "KILLED"),
        ("evaluate@hinton", 5 * day, 12, "FINISHED"),
        ("evaluate@pkd", 5 * day, 12, "FINISHED"),
    ):
        run = client.create_run(experiment, start_time=start, tags={"stage": stage})
        client.set_terminated(run.info.run_id, status, start + 1000 * seconds)
    teacher_line, evaluated, new = map(str, durations.durations(doctor.set_up(tiny_project, "hinton")))
    assert teacher_line == "ok       durations   teacher: 10 min on 1970-01-04"
    assert evaluated == "ok       durations   evaluate@hinton: 12 s on 1970-01-06"
    assert new.startswith("ok       durations   not run yet: code, prepare, ") and "hinton" in new


def test_with_mlflow_away_one_line_says_that_durations_are_not_known(
    tiny_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ada:{SECRET}@{DEAD}")
    (line,) = map(str, durations.durations(doctor.set_up(tiny_project, "hinton")))
    assert starts(line, "warning", "durations") and "how long they took is not known (ConnectionError" in line
    assert SECRET not in line


def test_a_call_that_takes_too_long_is_left_alone() -> None:
    never = threading.Event()
    with pytest.raises(TimeoutError):
        within(0.01, never.wait)
    never.set()
    assert within(5, lambda: 3) == 3
