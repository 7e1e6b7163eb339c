import errno
import gc
import importlib
import sys

import pytest

import tasks
from stillhouse.errors import InputError, Preempted
from tasks.stage import program


class OutOfMemoryError(RuntimeError):
    """Stands in for torch's, which is known by its name."""


@pytest.mark.parametrize(
    ("fault", "code", "line"),
    [
        (InputError("params.yaml: a.b = 3:\n too large"), 2, "error: params.yaml: a.b = 3: too large"),
        (OSError(errno.ENOSPC, "No space left on device", "models/x"), 75, "error: no disk space left at models/x"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), 75, "error: no disk space left"),
        (ConnectionError("hub unreachable"), 75, "error: network: hub unreachable"),
        (Preempted("asked to end"), 75, "error: asked to end; run the same command again"),
        (OutOfMemoryError("CUDA out of memory"), 75, "error: out of GPU memory"),
    ],
)
def test_faults_that_the_user_can_mend_give_one_line_and_their_exit_code(capsys, fault, code, line):
    def main():
        raise fault

    with pytest.raises(SystemExit) as left:
        program.run(main)
    assert left.value.code == code
    printed = capsys.readouterr().err
    assert printed.startswith(line) and printed.count("\n") == 1


@pytest.mark.parametrize("fault", [ValueError("ours"), RuntimeError("ours"), PermissionError(errno.EACCES, "ours")])
def test_faults_of_ours_keep_their_traceback(fault):
    def main():
        raise fault

    with pytest.raises(type(fault)):
        program.run(main)


@pytest.mark.parametrize(("started", "off"), [("-m", True), ("/bin/pytest", False)])
def test_garbage_is_collected_while_a_program_works_and_not_while_it_is_imported(monkeypatch, started, off):
    monkeypatch.setattr(sys, "argv", [started])
    collected = []
    try:
        importlib.reload(tasks)
        assert gc.isenabled() != off
        program.run(lambda: collected.append(gc.isenabled()))
        assert collected == [True]
    finally:
        gc.enable()
