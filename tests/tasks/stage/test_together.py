"""Two "machines" train one stage: two programs of one process each, with gloo on loopback, that share no disk."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.tasks import project
from tests.tasks.stage.two import free_port, start

DATA = ("--data", "data/task")
FINETUNE = ("tasks.finetune", *DATA, "--out", "models/out", "--route", "models/route")
HINTON = ("tasks.task_phase", "hinton", *DATA, "--teacher", "models/teacher", "--out", "models/out")
# Before and after fine-tuning: the model that is trained first is read again from the first machine's cache.
PRUNE = ("tasks.prune", "magnitude", *DATA, "--teacher", "models/teacher", "--out", "models/out")

pytestmark = pytest.mark.slow


@pytest.fixture
def machines(tmp_path, monkeypatch) -> tuple[Path, Path]:
    """A clone's folder on each of two machines."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    project.enter(first, monkeypatch)
    project.params(first, **{"train.precision": "fp32", "teacher.phase.epochs": 2})
    shutil.copytree(first, second)
    return first, second


def without_dropout(*folders: Path) -> None:
    """Dropout draws other numbers for half a batch than for a whole one."""
    for folder in folders:
        for name in ("start", "models/teacher"):
            file = folder / name / "config.json"
            config = json.loads(file.read_text())
            config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
            file.write_text(json.dumps(config))


def long(*folders: Path) -> None:
    """A training that goes on until it is stopped."""
    for folder in folders:
        project.params(folder, **{"train.precision": "fp32", "teacher.phase.epochs": 4000})


def launch(words: tuple, folders: tuple[Path, ...], port: int | None = None) -> list[subprocess.Popen]:
    port = port or free_port()
    return [start(number, port, words, folder) for number, folder in enumerate(folders)]


def ends(*programs: subprocess.Popen) -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of each."""
    said = [program.communicate(timeout=300) for program in programs]
    return [(program.returncode, *each) for program, each in zip(programs, said, strict=True)]


def wait_for_steps(folder: Path, program: subprocess.Popen, steps: int = 3) -> None:
    curve, deadline = folder / "curve.jsonl", time.monotonic() + 240
    while not curve.exists() or curve.read_text().count("\n") < steps:
        assert program.poll() is None, program.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def losses(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()]


def torchrun(words: tuple, folders: tuple[Path, ...]) -> list[subprocess.Popen]:
    """The same, started by torchrun, which hosts the store."""
    port = free_port()
    place = ("--nnodes", "2", "--nproc-per-node", "1", "--master-addr", "127.0.0.1", "--master-port", str(port))
    own = {"STAGE": words[0], "CURVE": "curve.jsonl", "STILLHOUSE_MACHINES": "2", "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "torch.distributed.run", *place, "--node-rank", str(number)),
                *("-m", "tests.tasks.recorded", *words[1:]),
            ],
            cwd=folder,
            env=os.environ | own | {"PYTHONPATH": str(project.ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number, folder in enumerate(folders)
    ]


@pytest.mark.parametrize(
    ("words", "launcher"),
    [(FINETUNE, launch), (HINTON, torchrun), (PRUNE, launch)],
    ids=["finetune", "distil-by-torchrun", "prune"],
)
def test_two_machines_have_the_loss_curve_of_one_at_the_same_global_batch(machines, words, launcher):
    without_dropout(*machines)
    alone = machines[0].parent / "alone"
    shutil.copytree(machines[0], alone)
    own = {"RANK": "0", "WORLD_SIZE": "1", "STILLHOUSE_MACHINES": "1"}
    (one,) = ends(start(0, free_port(), words, alone, **own))
    first, second = ends(*launcher(words, machines))
    for code, out, err in (one, first, second):
        assert code == 0, out + err
    assert len(losses(machines[0])) == len(losses(alone)) >= 4
    for ours, theirs in zip(losses(machines[0]), losses(alone), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    whole = load_file(alone / "models/out/model.safetensors")
    for name, weights in load_file(machines[0] / "models/out/model.safetensors").items():
        if not name.endswith("key.bias"):  # softmax takes no notice of it: its gradient is rounding
            torch.testing.assert_close(weights, whole[name], rtol=1e-3, atol=1e-5)
    assert first[1].count("step 1/") and not second[1].count("step 1/"), "machine 0 speaks"
    assert not (machines[1] / "models/out").exists() and not (machines[1] / "curve.jsonl").exists()
    assert not [folder for each in machines for folder in (each / ".cache/unfinished").iterdir()]


@pytest.mark.timeout(600)
def test_both_killed_go_on_from_machine_0s_checkpoint_as_if_nothing_had_been(machines):
    """With dropout, whose generators are each process's own, and a second machine that is new."""
    for folder in machines:
        project.params(folder, **{"train.precision": "fp32", "teacher.phase.epochs": 8, "train.checkpoint_steps": 5})
    for code, out, err in ends(*launch(FINETUNE, machines)):
        assert code == 0, out + err
    weights = machines[0] / "models/out/model.safetensors"
    whole, curve = weights.read_bytes(), losses(machines[0])
    (machines[0] / "curve.jsonl").unlink()
    shutil.rmtree(machines[0] / "models/out")
    shutil.rmtree(machines[0] / "models/route")

    port = free_port()
    programs = launch(FINETUNE, machines, port)
    wait_for_steps(machines[0], programs[0], steps=14)
    for program in programs:
        program.kill()
    ends(*programs)
    shutil.rmtree(machines[1] / ".cache")
    first, second = ends(*launch(FINETUNE, machines, port))
    assert first[0] == second[0] == 0, first[1] + first[2] + second[1]
    assert "resuming from" in first[1]
    assert weights.read_bytes() == whole
    again = {row["step"]: row["loss"] for row in losses(machines[0])}
    assert again == {row["step"]: row["loss"] for row in curve}


@pytest.mark.parametrize("dying", [0, 1])
def test_a_machine_that_dies_ends_the_other_in_one_line_and_it_may_pass_later(machines, dying):
    long(*machines)
    programs = launch(FINETUNE, machines)
    wait_for_steps(machines[0], programs[0])
    programs[dying].kill()
    (code, _, err) = ends(programs[1 - dying])[0]
    assert code == 75 and err.count("\n") == 1
    assert err.startswith(
        ("error: machine 0 of 2 is gone: was it stopped?", "error: the connection to another machine broke")
    )
    assert err.endswith("run the same command again\n")
    ends(programs[dying])


def test_sigterm_to_one_machine_ends_both_with_one_checkpoint(machines):
    long(*machines)
    programs = launch(FINETUNE, machines)
    wait_for_steps(machines[0], programs[0])
    programs[1].send_signal(signal.SIGTERM)
    steps = set()
    for code, _, err in ends(*programs):
        assert code == 75 and err.count("\n") == 1
        found = re.match(r"error: asked to end \(SIGTERM\): stopped with a checkpoint at step (\d+)", err)
        assert found, err
        steps.add(found[1])
    (step,) = steps
    assert len(list((machines[0] / ".cache/unfinished").glob(f"*/checkpoints/checkpoint-{step}/complete"))) == 1


def test_what_one_machine_lacks_or_has_otherwise_both_say(machines):
    project.params(machines[1], **{"train.precision": "fp32", "teacher.phase.learning_rate": 0.5})
    for code, _, err in ends(*launch(FINETUNE, machines)):
        assert code == 2
        assert err == "error: machine 1 has other code, parameters or inputs than machine 0: give both the same\n"
    shutil.rmtree(machines[1] / "data/task")
    first, second = ends(*launch(FINETUNE, machines))
    assert first[0] == second[0] == 2
    assert second[2].startswith("error: 'data/task") and second[2].count("\n") == 1
    assert first[2] == f"error: machine 1 of 2 ended: {second[2].removeprefix('error: ')}"
