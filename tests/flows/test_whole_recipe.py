"""A whole recipe on the real pipeline at the smallest size: by DVC alone, and by the flow with its teacher killed."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.clones import clone, command, environment, hashes, run


def kill_the_teacher_in_training(folder: Path, flow: subprocess.Popen) -> None:
    deadline = time.monotonic() + 240
    while not list(folder.glob(".cache/unfinished/models-teacher-*/checkpoints/checkpoint-*/complete")):
        assert flow.poll() is None and time.monotonic() < deadline, "the teacher never wrote a checkpoint"
        time.sleep(0.05)
    children = psutil.Process(flow.pid).children(recursive=True)
    (stage,) = [process for process in children if command(process)[1:3] == ["-m", "tasks.finetune"]]
    stage.send_signal(signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_dvc_and_a_flow_whose_teacher_was_killed_leave_the_same_hashes(tmp_path, reproduced):
    flown = clone(tmp_path / "flown")
    compress = [sys.executable, "-m", "flows.compress", "hinton"]
    log = flown / "flow.log"
    with log.open("w") as stream:
        flow = subprocess.Popen(compress, cwd=flown, env=environment(), stdout=stream, stderr=subprocess.STDOUT)
        kill_the_teacher_in_training(flown, flow)
        assert flow.wait(timeout=500) == 0, log.read_text()[-3000:]
    assert "resuming from" in log.read_text()

    expected = hashes(reproduced)
    assert {"data/task", "models/teacher", "models/teacher-route", "models/hinton", "models/onnx/hinton"} <= set(
        expected
    )
    assert hashes(flown) == expected

    again = run(flown, *compress)
    assert "up to date" in again and "step " not in again
