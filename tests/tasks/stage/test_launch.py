"""A stage in two processes, started by `accelerate launch` with gloo on the CPU."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from stillhouse.errors import InputError
from stillhouse.training import processes
from tasks.finetune import Route
from tasks.stage import launch
from tests import tiny
from tests.tasks import project

DATA = ("--data", "data/task")
FINETUNE = ("tasks.finetune", *DATA, "--out", "models/out", "--route", "models/route")
HINTON = ("tasks.task_phase", "hinton", *DATA, "--teacher", "models/teacher", "--out", "models/out")
PRUNE = ("tasks.prune", "prune-recover", *DATA, "--teacher", "models/teacher", "--out", "models/out")
GENERAL = ("tasks.corpus_phase", "tinybert", "--corpus", "data/corpus", "--out", "models/out")


@pytest.fixture
def clone(tmp_path, monkeypatch):
    project.enter(tmp_path, monkeypatch)
    # Dropout draws other numbers for half a batch than for a whole one.
    for name in ("start", "models/teacher"):
        file = tmp_path / name / "config.json"
        config = json.loads(file.read_text())
        config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        file.write_text(json.dumps(config))
    project.params(tmp_path, **{"train.precision": "fp32", "teacher.phase.epochs": 2})
    return tmp_path


def start(words: tuple, number: int) -> subprocess.Popen:
    variables = {"STAGE": words[0], "CURVE": f"curve-{number}.jsonl", "STILLHOUSE_PROCESSES": str(number)}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.tasks.recorded", *words[1:]],
        env=os.environ | variables | {"PYTHONPATH": str(project.ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def losses(number: int) -> list[dict[str, float]]:
    return [json.loads(line) for line in Path(f"curve-{number}.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("words", [FINETUNE, HINTON, PRUNE], ids=["finetune", "distil", "prune"])
def test_two_processes_have_the_loss_curve_of_one_at_the_same_global_batch(clone, words):
    models = []
    for number in (1, 2):
        process = start(words, number)
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, out + err  # the copies' tracebacks are in `out`
        models.append(load_file("models/out/model.safetensors"))
        assert len([line for line in out.splitlines() if line.startswith("step 6/")]) == 1, "one process speaks"
    one, two = losses(1), losses(2)
    assert len(one) == len(two) >= 6
    for ours, theirs in zip(one, two, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    assert one[0]["loss"] != pytest.approx(one[-1]["loss"], rel=1e-3), "nothing was learned: any curve would agree"
    for name, weights in models[0].items():
        if name.endswith("key.bias"):
            continue  # softmax takes no notice of it: its gradient is rounding, which AdamW blows up
        torch.testing.assert_close(weights, models[1][name], rtol=1e-3, atol=1e-5)
    assert not list(Path(".cache/unfinished").iterdir())


def test_of_several_processes_the_first_alone_moves_the_route_that_they_share(tmp_path, monkeypatch):
    stop = tmp_path / "work/01"
    stop.mkdir(parents=True)
    (stop / "model.safetensors").write_bytes(b"weights")
    route = Route(tiny.bert(layers=1), tiny.tokenizer(), 1, stop.parent)
    (tmp_path / "other").mkdir()
    with monkeypatch.context() as second:
        second.setattr(processes, "is_first", lambda: False)
        route.move_to(tmp_path / "other")  # a folder of its own, which goes with it
    assert not list((tmp_path / "other").iterdir())
    (tmp_path / "route").mkdir()
    route.move_to(tmp_path / "route")
    assert (tmp_path / "route/01/model.safetensors").read_bytes() == b"weights"


@pytest.mark.slow
def test_corpus_distillation_runs_in_two_processes_though_its_losses_are_means_over_tokens(clone):
    process = start(GENERAL, 2)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert (clone / "models/out/model.safetensors").exists()


@pytest.mark.slow
def test_sigterm_ends_two_processes_with_one_checkpoint_and_they_go_on_from_it(clone):
    project.params(clone, **{"train.precision": "fp32", "teacher.phase.epochs": 60, "train.checkpoint_steps": 2000})
    process = start(FINETUNE, 2)
    wait_for(Path("curve-2.jsonl"), process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 75
    assert err.startswith("error: asked to end (SIGTERM): stopped with a checkpoint at step ") and err.count("\n") == 1
    assert not alive_with(clone)

    project.params(clone, **{"train.precision": "fp32", "teacher.phase.epochs": 60, "train.checkpoint_steps": 2000})
    process = start(FINETUNE, 2)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "resuming from" in out
    steps = [row["step"] for row in losses(2)]
    assert steps == list(range(1, 361)), "each step once"


@pytest.mark.slow
def test_a_killed_program_takes_its_processes_with_it(clone):
    project.params(clone, **{"teacher.phase.epochs": 4000})
    process = start(FINETUNE, 2)
    wait_for(Path("curve-2.jsonl"), process)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 20
    while alive_with(clone):
        assert time.monotonic() < deadline, "they train on"
        time.sleep(0.2)


@pytest.mark.slow
def test_a_killed_process_ends_the_other_and_may_pass_later(clone):
    project.params(clone, **{"teacher.phase.epochs": 4000})
    process = start(FINETUNE, 2)
    wait_for(Path("curve-2.jsonl"), process)
    os.kill(alive_with(clone, rank="1")[0], signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 75
    assert err == "error: one of 2 processes was killed; run the same command again\n"


@pytest.mark.slow
def test_what_is_wrong_is_said_once(clone):
    project.params(clone, **{"teacher.phase.batch_size": 15})
    process = start(FINETUNE, 2)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert err == (
        "error: batch_size = 15 cannot be shared by 2 processes: make it a multiple, or change 'processes'\n"
    )
    assert not (clone / "models/out").exists()


def test_the_environment_overrides_params_yaml(clone, monkeypatch):
    project.params(clone, **{"train.processes": 3})
    assert launch.wanted(["--out", "x"]) == 3
    assert launch.wanted(["--params", "params.yaml"]) == 3
    monkeypatch.setenv("STILLHOUSE_PROCESSES", "2")
    assert launch.wanted([]) == 2
    monkeypatch.setenv("STILLHOUSE_PROCESSES", "two")
    with pytest.raises(InputError, match="STILLHOUSE_PROCESSES = 'two': give a number from 1"):
        launch.wanted([])


def wait_for(file: Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not file.exists() or file.read_text().count("\n") < 3:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.1)


def alive_with(folder: Path, rank: str | None = None) -> list[int]:
    """The launched copies that run in a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
            here = (entry / "cwd").resolve() == folder.resolve()
        except OSError:
            continue  # it has left, or is not ours
        ranks = [rank] if rank else ["0", "1"]
        if here and any(f"RANK={one}".encode() in variables for one in ranks):
            found.append(int(entry.name))
    return found
