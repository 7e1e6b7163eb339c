"""`python -m flows.join STAGE`: DVC on machine 0, the stage's own command on the others."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flows import join
from flows.dag.process import StageFailed
from stillhouse.errors import InputError
from tasks.stage.modules import modules_of
from tests.tasks import project

TEACHER = "-m tasks.finetune --data data/task --out models/teacher --route models/teacher-route"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Be one of two machines that were asked for the stage `teacher`."""

    def be(number: int) -> None:
        for name, value in {"RANK": str(number), "WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "29500"}.items():
            monkeypatch.setenv(name, value)

    monkeypatch.setenv("STILLHOUSE_MACHINES", "2")
    monkeypatch.setattr(sys, "argv", ["join", "teacher"])
    monkeypatch.setattr(join.signal, "signal", lambda *_: None)
    monkeypatch.chdir(project.ROOT)
    return be


def test_machine_1_runs_the_stages_own_command_in_its_place(machine, monkeypatch):
    ran: list[str] = []
    monkeypatch.setattr(os, "execve", lambda *asked: ran.extend(asked[1]))
    machine(1)
    join.main()
    assert ran == [sys.executable, *TEACHER.split()]


def test_machine_0_has_dvc_bring_the_stage_up_to_date(machine, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(join, "bring_up_to_date", lambda _, stage, __: asked.append(stage.name))
    machine(0)
    join.main()
    assert asked == ["teacher"]
    assert "[teacher] is up to date: no other machine is needed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("code", "transient", "leaves"), [(75, True, 75), (2, False, 2), (1, False, 1), (255, False, 1)]
)
def test_machine_0_leaves_as_the_stage_left(machine, monkeypatch, capsys, code, transient, leaves):
    def fails(*_: object) -> None:
        raise StageFailed("teacher", code, "machine 1 of 2 is gone", Path("logs/teacher.log"), transient)

    monkeypatch.setattr(join, "bring_up_to_date", fails)
    machine(0)
    with pytest.raises(SystemExit) as left:
        join.main()
    assert left.value.code == leaves
    line = f"error: stage 'teacher' failed: machine 1 of 2 is gone (exit {code}; log: logs/teacher.log)\n"
    assert capsys.readouterr().err == line


@pytest.mark.parametrize("stage", ["smallest-factorize", "prepare", "evaluate@hinton"])
def test_a_stage_that_does_not_train_is_refused(stage):
    with pytest.raises(InputError, match=f"stage '{stage}' does not train: run it on one machine"):
        join.command_of(project.ROOT, stage)


def test_an_unknown_stage_is_refused():
    with pytest.raises(InputError, match=r"stage 'teachers': .* not found .*; `dvc stage list` shows all"):
        join.command_of(project.ROOT, "teachers")


def test_one_machine_is_no_several(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["join", "teacher"])
    monkeypatch.chdir(project.ROOT)
    monkeypatch.delenv("STILLHOUSE_MACHINES", raising=False)
    with pytest.raises(
        InputError, match=r"train.machines = 1: 'teacher' trains on one machine, by `dvc repro teacher`"
    ):
        join.main()


def test_what_makes_a_program_one_that_trains_is_that_it_starts_by_launch():
    programs = [file for file in sorted((project.ROOT / "tasks").glob("*.py")) if file.name != "__init__.py"]
    trains = [file.stem for file in programs if "launch.run(main)" in file.read_text(encoding="utf-8")]
    assert len(trains) == 6
    found = [file.stem for file in programs if join.LAUNCH in modules_of(project.ROOT, f"tasks.{file.stem}")]
    assert found == trains
