"""Which of several machines this one is, and where the first is found: what the launcher of a person's own says.

    train: {machines: 2}       in params.yaml, or
    STILLHOUSE_MACHINES=2      in the environment, which overrides it

The launcher starts the same program once a machine. Each starts its `train.processes` processes itself.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from stillhouse.errors import InputError

WAIT = "STILLHOUSE_MACHINES_WAIT"  # seconds that a machine waits for the others at the start
WAIT_SECONDS = 600
HOW = (
    "start `python -m flows.join STAGE` on each machine by torchrun, srun or an indexed Kubernetes Job, or with RANK, "
    "WORLD_SIZE, MASTER_ADDR and MASTER_PORT"
)


@dataclass(frozen=True)
class Source:
    """Variables in which one kind of launcher says what is wanted; of several names the first that is set."""

    name: str
    number: tuple[str, ...]  # of this machine, from 0
    count: tuple[str, ...]  # of machines; none where the launcher does not say
    programs: tuple[str, ...]  # how many programs it starts, and
    each: bool  # whether on this machine; else on all


# The first whose `number` is set: torchrun may itself be started by the other two.
SOURCES = (
    Source("torchrun", ("GROUP_RANK", "RANK"), ("GROUP_WORLD_SIZE", "WORLD_SIZE"), ("LOCAL_WORLD_SIZE",), True),
    Source("Slurm", ("SLURM_NODEID",), ("SLURM_STEP_NUM_NODES", "SLURM_NNODES"), ("SLURM_STEP_NUM_TASKS",), False),
    Source("Kubernetes", ("JOB_COMPLETION_INDEX",), ("WORLD_SIZE",), (), True),
)


@dataclass(frozen=True)
class Machine:
    """This machine among those that train one stage.

    Args:
        number: from 0, which is the one that writes.
        count: of all.
        address: of machine 0, as this one reaches it.
        port: there.
        hosted: whether the launcher has a store of torch's there already, as torchrun has.
    """

    number: int
    count: int
    address: str
    port: int
    hosted: bool


def this_machine(machines: int, variables: Mapping[str, str] = os.environ) -> Machine:
    """Which of so many machines this one is.

    Raises:
        InputError: the environment does not say, or says something else.
    """
    asked = f"train.machines = {machines}"
    source = next((one for one in SOURCES if _first(one.number, variables)), None)
    if source is None:
        raise InputError(f"{asked}, but nothing says which of them this machine is: {HOW}; or set train.machines to 1")
    variable, number = _number(source.number, variables)
    counted, count = _number(source.count, variables) if _first(source.count, variables) else ("", machines)
    if count != machines:
        raise InputError(f"{asked}, but {source.name} started {count} ({counted}): make them the same")
    if number >= machines:
        raise InputError(f"{asked}, but {variable} = {number}: machines are counted from 0 to {machines - 1}")
    if _first(source.programs, variables):
        named, programs = _number(source.programs, variables)
        if programs != (1 if source.each else machines):
            raise InputError(
                f"{named} = {programs}: have {source.name} start one program a machine; "
                "train.processes says how many processes each of them has"
            )
    hosted = variables.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    return Machine(number, machines, _address(asked, source, variables), _port(asked, source, variables), hosted)


def refuse_others(variables: Mapping[str, str] = os.environ) -> None:
    """Raise where torchrun started a program on several machines that is to train on one.

    Raises:
        InputError: it did.
    """
    if variables.get("GROUP_WORLD_SIZE", "1") != "1":
        raise InputError(
            f"torchrun started {variables['GROUP_WORLD_SIZE']} machines (GROUP_WORLD_SIZE), but train.machines = 1: "
            "make them the same"
        )


def patience(variables: Mapping[str, str] = os.environ) -> float:
    """Seconds to wait for the other machines.

    Raises:
        InputError: the variable says something else than a number from 1.
    """
    given = variables.get(WAIT, str(WAIT_SECONDS))
    if not given.isdecimal() or int(given) < 1:
        raise InputError(f"{WAIT} = {given!r}: give a number of seconds from 1")
    return float(given)


def _address(asked: str, source: Source, variables: Mapping[str, str]) -> str:
    found = variables.get("MASTER_ADDR", "")
    if not found and source.name == "Slurm":
        nodes = variables.get("SLURM_STEP_NODELIST") or variables.get("SLURM_JOB_NODELIST", "")
        found = first_host(nodes) or variables.get("SLURM_LAUNCH_NODE_IPADDR", "")
    if not found:
        raise InputError(f"{asked}, but MASTER_ADDR is not set: give the name or the address of machine 0")
    return found


def _port(asked: str, source: Source, variables: Mapping[str, str]) -> int:
    given = variables.get("MASTER_PORT", "")
    if not given and source.name == "Slurm" and variables.get("SLURM_JOB_ID", "").isdecimal():
        # The same on all nodes of a job, and two jobs that share a node seldom have the same.
        return 20000 + int(variables["SLURM_JOB_ID"]) % 10000
    if not given:
        raise InputError(f"{asked}, but MASTER_PORT is not set: give a port of machine 0 that is free, such as 29500")
    if not given.isdecimal() or not 0 < int(given) < 2**16:
        raise InputError(f"MASTER_PORT = {given!r}: give a number from 1 to 65535")
    return int(given)


def first_host(nodes: str) -> str:
    """The first name of a list as Slurm writes it: `node[07-09,12],login` is node07 and others."""
    found = re.match(r"([^,\[]*)(?:\[(\d+)[^\]]*\]([^,\[]*))?", nodes)
    return "".join(part or "" for part in found.groups()) if found else ""


def _first(names: tuple[str, ...], variables: Mapping[str, str]) -> str:
    """The first of these variables that is set."""
    return next((name for name in names if variables.get(name)), "")


def _number(names: tuple[str, ...], variables: Mapping[str, str]) -> tuple[str, int]:
    name = _first(names, variables)
    if not variables[name].isdecimal():
        raise InputError(f"{name} = {variables[name]!r}: a whole number from 0 is expected")
    return name, int(variables[name])
