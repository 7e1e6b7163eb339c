"""Which of several machines this one is, by what torchrun, Slurm and Kubernetes say."""

import sys

import pytest

from stillhouse.errors import InputError
from tasks.stage import launch, program
from tasks.stage.machines import Machine, first_host, patience, this_machine
from tests.tasks import project

PLACE = {"MASTER_ADDR": "node-0", "MASTER_PORT": "29500"}
TORCHRUN = {
    **{"RANK": "1", "LOCAL_RANK": "0", "GROUP_RANK": "1", "WORLD_SIZE": "2", "GROUP_WORLD_SIZE": "2"},
    **{"LOCAL_WORLD_SIZE": "1", "TORCHELASTIC_USE_AGENT_STORE": "True"},
}
SLURM = {
    **{"SLURM_NODEID": "1", "SLURM_NNODES": "2", "SLURM_STEP_NUM_TASKS": "2", "SLURM_JOB_ID": "4712345"},
    **{"SLURM_JOB_NODELIST": "gpu[07-08],login", "SLURM_LAUNCH_NODE_IPADDR": "10.0.0.7"},
}
KUBERNETES = {"JOB_COMPLETION_INDEX": "1"}
ASKED = "train.machines = 2"


@pytest.mark.parametrize(
    ("variables", "address", "port", "hosted"),
    [
        (TORCHRUN | PLACE, "node-0", 29500, True),
        ({"RANK": "1", "WORLD_SIZE": "2"} | PLACE, "node-0", 29500, False),
        (SLURM, "gpu07", 22345, False),
        (SLURM | {"SLURM_STEP_NODELIST": "gpu08"}, "gpu08", 22345, False),
        (SLURM | {"SLURM_JOB_NODELIST": ""}, "10.0.0.7", 22345, False),
        (SLURM | PLACE, "node-0", 29500, False),
        (SLURM | TORCHRUN | PLACE, "node-0", 29500, True),
        (KUBERNETES | PLACE, "node-0", 29500, False),
        (KUBERNETES | {"WORLD_SIZE": "2"} | PLACE, "node-0", 29500, False),
    ],
    ids=[
        "torchrun",
        "by-hand",
        "slurm",
        "a-step",
        "no-list",
        "slurm-master",
        "torchrun-in-slurm",
        "kubernetes",
        "jobset",
    ],
)
def test_each_launchers_environment_says_which_machine_this_is(variables, address, port, hosted):
    assert this_machine(2, variables) == Machine(1, 2, address, port, hosted)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, f"{ASKED}, but nothing says which of them this machine is: start `python -m flows.join STAGE` on each"),
        (PLACE, f"{ASKED}, but nothing says which"),
        (TORCHRUN, f"{ASKED}, but MASTER_ADDR is not set: give the name or the address of machine 0"),
        (
            KUBERNETES | {"MASTER_ADDR": "a"},
            f"{ASKED}, but MASTER_PORT is not set: give a port of machine 0 that is free",
        ),
        (KUBERNETES | PLACE | {"MASTER_PORT": "http"}, "MASTER_PORT = 'http': give a number from 1 to 65535"),
        (KUBERNETES | PLACE | {"MASTER_PORT": "70000"}, "MASTER_PORT = '70000': give a number from 1 to 65535"),
        (
            KUBERNETES | PLACE | {"JOB_COMPLETION_INDEX": "2"},
            "JOB_COMPLETION_INDEX = 2: machines are counted from 0 to 1",
        ),
        (KUBERNETES | PLACE | {"JOB_COMPLETION_INDEX": "b"}, "JOB_COMPLETION_INDEX = 'b': a whole number from 0"),
        (SLURM | {"SLURM_NNODES": "3"}, f"{ASKED}, but Slurm started 3 (SLURM_NNODES): make them the same"),
        (SLURM | {"SLURM_STEP_NUM_TASKS": "4"}, "SLURM_STEP_NUM_TASKS = 4: have Slurm start one program a machine"),
        (TORCHRUN | PLACE | {"GROUP_WORLD_SIZE": "4"}, f"{ASKED}, but torchrun started 4 (GROUP_WORLD_SIZE)"),
        (
            TORCHRUN | PLACE | {"LOCAL_WORLD_SIZE": "8"},
            "LOCAL_WORLD_SIZE = 8: have torchrun start one program a machine",
        ),
    ],
)
def test_an_environment_that_does_not_fit_is_refused_in_one_line(variables, said):
    with pytest.raises(InputError) as refused:
        this_machine(2, variables)
    assert said in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("a", "a"), ("a,b[1-2]", "a"), ("n[007-009,12]-ib,m", "n007-ib"), ("n[3]", "n3"), ("", "")],
)
def test_the_first_host_of_slurms_list(nodes, first):
    assert first_host(nodes) == first


def test_how_long_others_are_waited_for_is_a_number_of_seconds():
    assert patience({}) == 600 and patience({"STILLHOUSE_MACHINES_WAIT": "5"}) == 5
    for wrong in ("0", "soon", "-1"):
        with pytest.raises(InputError, match=f"STILLHOUSE_MACHINES_WAIT = '{wrong}': give a number of seconds from 1"):
            patience({"STILLHOUSE_MACHINES_WAIT": wrong})


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A project whose stages several machines train, where no launcher started anything."""
    for names in (TORCHRUN, SLURM, KUBERNETES, PLACE):
        for name in names:
            monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    project.params(tmp_path, **{"train.machines": 2})
    return tmp_path


def one_line(capsys: pytest.CaptureFixture) -> str:
    """What a program that would train says as it leaves."""

    def never() -> None:
        raise AssertionError("it trains alone")

    with pytest.raises(SystemExit) as left:
        launch.run(never)
    assert left.value.code == program.EXIT_INPUT
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return line


def test_a_stage_of_two_machines_that_nobody_launched_ends_in_one_line(bare, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["program"])
    assert one_line(capsys).startswith(f"error: {ASKED}, but nothing says which of them this machine is")
    monkeypatch.setenv("STILLHOUSE_MACHINES", "none")
    assert one_line(capsys) == "error: STILLHOUSE_MACHINES = 'none': give a number from 1\n"


def test_a_stage_of_one_machine_that_torchrun_starts_on_two_ends_in_one_line(bare, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["program"])
    monkeypatch.setenv("STILLHOUSE_MACHINES", "1")
    monkeypatch.setenv("GROUP_WORLD_SIZE", "2")
    assert "torchrun started 2 machines (GROUP_WORLD_SIZE), but train.machines = 1" in one_line(capsys)
