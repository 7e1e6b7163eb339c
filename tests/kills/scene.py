"""Two runners of one project: their clones, servers, DVC remote, and all that can be done to them."""

import sys
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

from flows.dag.prefect import POOL
from tests.clones import clone, free_port, run
from tests.kills.clock import Clock, compiler
from tests.kills.disk import Disk
from tests.kills.network import Link, Network
from tests.kills.remote import Remote, point_to
from tests.kills.runner import Runner, Work, deploy_to
from tests.kills.troubles import Troubles

SECOND = "second"  # the second runner's work pool, and the prefix of its deployments
# Promotions are to move the champion each time, so that there is something to lose.
GATE = {"min_kept": 1e-9, "margin": 1.0, "max_onnx_difference": 1e9}


@dataclass(frozen=True)
class Scene:
    """All of it."""

    runners: list[Runner]
    troubles: Troubles
    remote: Remote
    mlflow: str  # the server's address, with nothing in between


def open_gate(folder: Path) -> None:
    """Let every version pass the promotion gate of a clone, and commit that."""
    yaml = YAML()
    params = folder / "params.yaml"
    tree = yaml.load(params)
    tree["promote"] |= GATE
    yaml.dump(tree, params)
    _commit(folder, "an open gate")


def _commit(folder: Path, message: str) -> None:
    run(folder, "git", "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-qam", message)


def build(folder: Path, recipes: list[str], kills: int, disk: Disk | None) -> Scene:
    """Make the clones in a folder, on the disk, and what is between them; nothing of them runs yet but the remote.

    Args:
        kills: how many are to come.
    """
    network, remote = Network(), Remote()
    ports = {"prefect": free_port(), "mlflow": free_port(), "remote": remote.port}
    links: dict[str, dict[str, Link]] = {}
    clocks: dict[str, Clock] = {}
    runners = []
    for name, pool in (("first", ""), ("second", SECOND)):
        here = clone((disk.folder if disk else folder) / name)
        open_gate(here)
        links[name] = {server: Link(free_port(), port) for server, port in ports.items()}
        for link in links[name].values():
            link.start(network)
        if compiler():
            clocks[name] = Clock(folder / f"clock-{name}")
        at = {server: f"http://127.0.0.1:{link.port}" for server, link in links[name].items()}
        through = {"PREFECT_API_URL": f"{at['prefect']}/api"}
        variables = {
            "STILLHOUSE_PREFECT_PORT": str(ports["prefect"]),
            "STILLHOUSE_MLFLOW_PORT": str(ports["mlflow"]),
            # A killed flow's slot is free after five minutes: nobody is to wait for one here.
            "STILLHOUSE_GPUS": str(2 * kills + 2),
            "MLFLOW_TRACKING_URI": at["mlflow"],
            "PREFECT_HOME": str(here / ".servers" / "prefect"),
            "PYTHONPATH": str(here),
            **through,
            **(clocks[name].variables if name in clocks else {}),
        }
        point_to(here, links[name]["remote"].port)
        if pool:
            # The second in the other order, so that each has something that the other lacks; and with linked files.
            run(here, sys.executable, "-m", "dvc", "config", "--local", "cache.type", "hardlink,copy")
        deploy_to(here, pool or POOL, f"{pool}-" if pool else "", through)
        # A pool's runners run a commit.
        _commit(here, "its deployments")
        works = _works(recipes[::-1] if pool else recipes, by_command=bool(pool), pool="" if pool else POOL)
        api = f"http://127.0.0.1:{ports['prefect']}/api"
        runners.append(Runner(name, here, variables, api, works, folder / f"worker-{name}.log", pool))
    return Scene(runners, Troubles(links, clocks, disk), remote, f"http://127.0.0.1:{ports['mlflow']}")


def start(scene: Scene) -> None:
    """Start the servers, and deploy."""
    first, *others = scene.runners
    first.run("flows.servers", "up")
    for runner in others:
        runner.run("prefect", "work-pool", "create", runner.pool, "--type", "process", "--overwrite")
        runner.run("prefect", "--no-prompt", "deploy", "--all")


def _works(recipes: list[str], by_command: bool, pool: str) -> list[Work]:
    """Compress and promote each, by turns by command and by deployment; then back to the former champion and on.

    Args:
        pool: whose runners run the stages of every other recipe; empty: the flow runs all itself.
    """
    works = []
    for number, recipe in enumerate(recipes):
        works += [Work("compress", recipe, pool="" if number % 2 else pool), Work("promote", recipe, by_command)]
        by_command = not by_command
    return [*works, Work("rollback", "", by_command), Work("promote", recipes[0], not by_command)]
