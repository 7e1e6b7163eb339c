"""A whole recipe on the real pipeline at the smallest size: by DVC alone, and by the flow with its teacher killed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
# Timings differ from run to run, and so does what shows them.
TIMED = ("latency.json", "report.md", "report.png")


def clone(folder: Path) -> Path:
    """The working tree as git would clone it, at the size of the smoke profile, with a teacher of some steps."""
    names = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(names, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    run(folder, sys.executable, "-m", "tasks.profile", "smoke")
    params = folder / "params.yaml"
    yaml = YAML()
    tree = yaml.load(params)
    tree["teacher"]["phase"]["epochs"] = 4
    yaml.dump(tree, params)
    commit = ("-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-q", "-m", "smoke")
    for command in (("init", "-q"), ("add", "-A"), commit):
        run(folder, "git", *command)
    return folder


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("STILLHOUSE_", "PREFECT_", "MLFLOW_", "DVC_"))}
    return kept | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def hashes(folder: Path) -> dict[str, str]:
    lock = YAML(typ="safe", pure=True).load((folder / "dvc.lock").read_text())
    outs = [out for stage in lock["stages"].values() for out in stage.get("outs", [])]
    return {out["path"]: out["md5"] for out in outs if not out["path"].endswith(TIMED)}


def kill_the_teacher_in_training(folder: Path, flow: subprocess.Popen) -> None:
    deadline = time.monotonic() + 240
    while not list(folder.glob(".cache/unfinished/models-teacher-*/checkpoints/checkpoint-*/complete")):
        assert flow.poll() is None and time.monotonic() < deadline, "the teacher never wrote a checkpoint"
        time.sleep(0.05)
    children = psutil.Process(flow.pid).children(recursive=True)
    (stage,) = [process for process in children if command(process)[1:3] == ["-m", "tasks.finetune"]]
    stage.send_signal(signal.SIGKILL)


def command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:  # ended since it was listed
        return []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_dvc_and_a_flow_whose_teacher_was_killed_leave_the_same_hashes(tmp_path):
    plain = clone(tmp_path / "plain")
    run(plain, "dvc", "repro", "report@hinton")

    flown = clone(tmp_path / "flown")
    compress = [sys.executable, "-m", "flows.compress", "hinton"]
    log = flown / "flow.log"
    with log.open("w") as stream:
        flow = subprocess.Popen(compress, cwd=flown, env=environment(), stdout=stream, stderr=subprocess.STDOUT)
        kill_the_teacher_in_training(flown, flow)
        assert flow.wait(timeout=500) == 0, log.read_text()[-3000:]
    assert "resuming from" in log.read_text()

    expected = hashes(plain)
    assert {"data/task", "models/teacher", "models/teacher-route", "models/hinton", "models/onnx/hinton"} <= set(
        expected
    )
    assert hashes(flown) == expected

    again = run(flown, *compress)
    assert "up to date" in again and "step " not in again
