"""Every kind of task with real parts: compressed and promoted by deployments, and served by MLflow's own server.

One Prefect server, one MLflow server, one worker and one clone; the kinds take turns. The stages are the pipeline's own
at the smoke profile's size; the teacher has the tokenizer of the built-in one and a tenth of its width. Of one kind the
worker runs every stage. Of the others this process has run them before, as importing torch for each of them is most of
what they cost; the flow sees by DVC that nothing is stale, and registers.
"""

import importlib
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from flows.dag.graph import lineage, load_graph
from flows.promotion.decision import try_to_promote
from tasks.kinds.find import kind_names
from tests.clones import ROOT, clone, environment, free_port, run
from tests.served import wait_for
from tests.tasks import project

TEXTS = [
    "👍🏽 axis : int, optional 😂 the axis of the array",
    "שלום — axis : مصفوفة من الأعداد, default 0",
    "x : {array-like, sparse matrix} of shape (n,)  👩‍👩‍👧 naïve",
]
PROFILES = {"answers": "docstring-questions", "multi-label": "docstring-parameters", "tokens": "docstring-sections"}
# Of numbers nothing is built in: how alike two texts are.
SCORES = {
    "source": "files",
    "files": {"folder": "pairs", "train": "train.tsv", "validation": "dev.tsv", "test": None, "layout": "table"},
    "columns": {"text": "text", "text_pair": "text_pair", "label": "label", "probabilities": None},
}
METRICS = {"classes": "accuracy", "scores": "pearson", "multi-label": "micro_f1", "tokens": "micro_f1", "answers": "f1"}
NAMES = {"classes": "docstrings", "scores": "pairs", **{kind: f"docstrings-{kind}" for kind in PROFILES}}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_kind_is_deployed_promoted_and_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = clone(tmp_path / "clone", epochs=1, narrow=True)
    pairs(folder / "pairs")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("STILLHOUSE_TRACKING", "off")
    for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "STILLHOUSE_CACHE", "STILLHOUSE_RECIPE"):
        monkeypatch.delenv(name, raising=False)
    served = []
    with servers(folder) as variables:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", variables["MLFLOW_TRACKING_URI"])
        for kind in sorted(kind_names(), key=lambda name: name != FIRST):
            state(folder, kind)
            if kind == FIRST:
                deployed(folder, "compress/hinton", variables)
                deployed(folder, "promote/promote --param recipe=hinton", variables)
                ran = stages_of_the_worker(folder)
                assert len(ran) == 11, ran
            else:
                make(folder)
                deployed(folder, "compress/hinton", variables)
                assert try_to_promote("hinton").promoted, kind
                assert stages_of_the_worker(folder) == ran, f"{kind}: what was made here is not what the flow wanted"
            rows = asked(kind)
            answers = ask(folder, f"stillhouse-{NAMES[kind]}", rows, variables)
            assert len(answers) == len(rows), kind
            CHECKS[kind](answers)
            served.append(kind)
    assert sorted(served) == kind_names() == sorted(CHECKS) and len(served) == 5


def labels_and_shares(answers: list[dict]) -> None:
    for answer in answers:
        assert answer["label"] in ("numpy", "scipy") and set(answer["scores"]) == {"numpy", "scipy"}
        assert sum(answer["scores"].values()) == pytest.approx(1, abs=1e-6)


def several_labels(answers: list[dict]) -> None:
    for answer in answers:
        assert "axis" in answer["scores"] and set(answer["labels"]) <= set(answer["scores"])
        assert all(0 < share < 1 for share in answer["scores"].values())


def numbers(answers: list[dict]) -> None:
    assert all(set(answer) == {"score"} and abs(answer["score"]) < 1e3 for answer in answers)


def parts_of_the_text(answers: list[dict]) -> None:
    """Each answer is a part of its context, letter by letter."""
    assert all(answer["answer"] and answer["answer"] in text for answer, text in zip(answers, TEXTS, strict=True))


def entities_at_their_places(answers: list[dict]) -> None:
    """Places count the characters of what was sent, whatever letters those are."""
    found = [(text, each) for answer, text in zip(answers, TEXTS, strict=True) for each in answer["entities"]]
    assert len(found) >= len(TEXTS)
    for text, entity in found:
        assert entity["type"] in ("name", "type", "default")
        assert text[entity["start"] : entity["end"]] == entity["text"] == entity["text"].strip() != ""


FIRST = "tokens"
CHECKS = {
    "classes": labels_and_shares,
    "multi-label": several_labels,
    "scores": numbers,
    "answers": parts_of_the_text,
    "tokens": entities_at_their_places,
}


def asked(kind: str) -> list[dict[str, str]]:
    """The rows of a request."""
    if kind == "answers":
        return [{"question": "What is the type of axis? 🤔", "context": text} for text in TEXTS]
    if kind == "scores":
        return [{"text": text, "text_pair": "מה זה 🎬"} for text in TEXTS]
    return [{"text": text} for text in TEXTS]


def pairs(folder: Path) -> None:
    """A table of pairs of sentences and how alike they are."""
    folder.mkdir()
    words = ["array", "axis", "matrix", "shape", "plot", "figure", "value", "index"]
    for file, count in (("train.tsv", 48), ("dev.tsv", 24)):
        lines = ["text\ttext_pair\tlabel"]
        for number in range(count):
            one, other = words[number % 8], words[number * (3 if file == "train.tsv" else 5) // 2 % 8]
            lines.append(f"the {one} of row {file[0]}{number}\tan {other} {number}\t{float(one == other)}")
        (folder / file).write_text("\n".join(lines) + "\n", encoding="utf-8")


def state(folder: Path, kind: str) -> None:
    """Say in params.yaml that the task is of this kind, and commit that."""
    yaml = YAML(typ="safe", pure=True)
    tree = json.loads(json.dumps(yaml.load(ROOT / "params.yaml")))  # what is merged in several places is one object
    for profile in ("docstrings", *([PROFILES[kind]] if kind in PROFILES else []), "smoke"):
        project.overlay(tree, yaml.load(ROOT / "profiles" / f"{profile}.yaml"))
    tree["data"] |= {"kind": kind, **(SCORES if kind == "scores" else {})}
    tree["teacher"] |= {"model": "start", "floor": -1.0}
    tree["evaluate"]["metric"] = METRICS[kind]
    tree["kinds"]["answers"]["null_threshold"] = 1e6  # a model that has learnt nothing is to answer all the same
    # What came out at this size may be anything: the gate lets it through.
    tree["promote"] |= {"min_kept": 1e-9, "margin": 1e9, "max_onnx_difference": 1e9}
    (folder / "params.yaml").write_text(json.dumps(tree, indent=1), encoding="utf-8")  # which is YAML
    commit = ("-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-q", "-m", kind)
    run(folder, "git", "add", "-A")
    run(folder, "git", *commit)


def deployed(folder: Path, deployment: str, variables: dict[str, str]) -> None:
    """Have the worker run a deployment, and wait until it has."""
    words = f"prefect deployment run {deployment} --watch --watch-interval 1"
    run(folder, sys.executable, "-m", *words.split(), **variables)


def make(folder: Path) -> None:
    """What `dvc repro report@hinton` would make, by the same commands, in this process."""
    with Repo(str(folder)) as repo:
        commands = {stage.name: stage.cmd.split() for stage in repo.index.stages}
    for stage in lineage(load_graph(folder), "report@hinton"):
        _, _, module, *words = commands[stage.name]
        project.run(importlib.import_module(module), *words)
    with Repo(str(folder)) as repo:
        repo.commit("report@hinton", with_deps=True, force=True)


def stages_of_the_worker(folder: Path) -> list[str]:
    """The commands that flows have run."""
    log = (folder / ".servers/logs/worker.log").read_text(encoding="utf-8")
    return [line for line in log.splitlines() if "] > python -m tasks." in line]


@contextmanager
def servers(folder: Path) -> Iterator[dict[str, str]]:
    """Both servers and a worker of a clone; the variables that make a client use them."""
    prefect, mlflow = free_port(), free_port()
    ports = ("--prefect-port", str(prefect), "--mlflow-port", str(mlflow))
    # The worker looks for runs each second, not each ten.
    variables = {"PYTHONPATH": str(folder), "PREFECT_WORKER_QUERY_SECONDS": "1"}
    run(folder, sys.executable, "-m", "flows.servers", "up", *ports, **variables)
    at = {"PREFECT_API_URL": f"http://127.0.0.1:{prefect}/api", "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{mlflow}"}
    try:
        yield variables | at | {"PREFECT_HOME": str(folder / ".servers/prefect")}
    finally:
        run(folder, sys.executable, "-m", "flows.servers", "down", **variables)


def ask(folder: Path, name: str, rows: list[dict], variables: dict[str, str]) -> Any:
    """What MLflow's own server, started on the champion, answers to a request; it knows nothing of this project."""
    port = free_port()
    words = ["models", "serve", "-m", f"models:/{name}@champion", "--env-manager", "local", "--port", str(port)]
    away = {key: value for key, value in environment().items() if key != "PYTHONPATH"}
    log = folder / "serve.log"
    with log.open("w") as stream:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words],
            cwd=folder.parent,
            env=away | {"MLFLOW_TRACKING_URI": variables["MLFLOW_TRACKING_URI"]},
            stdout=stream,
            stderr=stream,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/ping", server, log)
        body = json.dumps({"dataframe_records": rows}).encode()
        request = urllib.request.Request(f"{url}/invocations", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.loads(reply.read())["predictions"]
    finally:
        family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
        for process in family:
            process.terminate()
        for process in psutil.wait_procs(family, timeout=20)[1]:
            process.kill()
