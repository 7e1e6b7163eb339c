"""The image itself: what is in it, a recipe in it, and the services of compose.yaml, each run in a container of it.

PostgreSQL and S3 are those of this machine (moto for S3), and all share its network, so names and ports are others.
"""

import os
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

import boto3
import psutil
import pytest
from mlflow import MlflowClient

from tasks.stage.params import read_yaml
from tests import clones
from tests.deploy.image import Container, build, configuration, inspect
from tests.flows.dag import test_servers
from tests.kills.remote import Remote
from tests.served import wait_for

pytestmark = [pytest.mark.image, pytest.mark.timeout(3600)]
COMPOSE = read_yaml(clones.ROOT / "compose.yaml")
KEY = "not-for-the-log"
database = test_servers.database  # a PostgreSQL of this machine


@pytest.fixture(scope="module", autouse=True)
def image(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The image, of which layers that are there already are not built again."""
    build(tmp_path_factory.mktemp("build"), os.environ.get("STILLHOUSE_IMAGE_BUILD", "").split())


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The working tree at the size of the smoke profile, committed, on a git server of loopback: its URL."""
    folder, port = tmp_path_factory.mktemp("repositories"), clones.free_port()
    clones.clone(folder / "project", narrow=True)
    words = ["git", "daemon", "--listen=127.0.0.1", f"--port={port}", f"--base-path={folder}", "--export-all"]
    with subprocess.Popen([*words, str(folder)], stderr=subprocess.DEVNULL) as server:
        yield f"git://127.0.0.1:{port}/project"
        server.terminate()


@pytest.fixture
def containers() -> Iterator[list[Container]]:
    """Those that are to be removed in the end."""
    made: list[Container] = []
    yield made
    for each in made:
        each.remove()


def test_it_is_not_root_and_says_how_it_is_and_has_nothing_of_pips_configuration(containers: list[Container]) -> None:
    told = inspect()
    config = told["config"]
    assert config["User"] == "1000:1000" and "/health" in config["Healthcheck"]["Test"][-1]
    containers.append(Container())
    here = containers[-1]
    assert here.run("id", "--user").strip() == "1000"
    assert here.run("sh", "-c", "ls /home/stillhouse; ls /etc | grep pip || true") == ""
    sources, _ = configuration()
    said = str(told)
    assert [value for value in sources.values() if value in said] == []
    # What is installed belongs to root: nobody changes it from within.
    written = here.run("sh", "-c", "find /opt/venv -writable -not -type l | head -n 3")
    assert written == ""


def test_a_clone_in_it_is_well_and_runs_a_recipe(containers: list[Container], repository: str) -> None:
    containers.append(Container())
    here = containers[-1]
    here.run("git", "clone", "--quiet", repository, "clone")
    doctor = here.run("make", "doctor", folder="/home/stillhouse/clone")
    assert re.search(r"^ok +versions", doctor, re.MULTILINE) and not re.search(r"^fault", doctor, re.MULTILINE), doctor
    made = here.run("make", "run", folder="/home/stillhouse/clone")
    assert "candidate: stillhouse-docstrings version 1" in made, made[-3000:]
    again = here.run("make", "run", folder="/home/stillhouse/clone")
    assert "up to date" in again, again[-3000:]


class Services:
    """Services of compose.yaml, of which each runs in a container of its own under the names and ports of a test.

    Args:
        names: what stands in compose.yaml, and what stands in its place.
    """

    def __init__(self, folder: Path, names: dict[str, str], made: list[Container]) -> None:
        self._folder, self._names, self._made = folder, names, made
        self._running: list[subprocess.Popen] = []

    def told(self, value: str) -> str:
        """A text of compose.yaml, as it is for this test."""
        for here, there in self._names.items():
            value = re.sub(here, there, value)
        assert "$" not in value, value
        return value

    def container(self, name: str, volumes: dict[Path, str] | None = None) -> Container:
        """One for a service, with its variables."""
        service = COMPOSE["services"][name]
        variables = {key: self.told(str(value)) for key, value in service["environment"].items()}
        for config in service.get("configs", []):
            file = self._folder / config["source"]
            file.write_text(self.told(COMPOSE["configs"][config["source"]]["content"]))
            file.chmod(0o644)
            volumes = (volumes or {}) | {file: f"{config['target']}:ro"}
        self._made.append(Container(volumes, variables))
        return self._made[-1]

    def command(self, name: str) -> list[str]:
        """What compose.yaml has a service run."""
        return [*map(self.told, COMPOSE["services"][name]["command"])]

    def once(self, name: str, volumes: dict[Path, str] | None = None) -> str:
        """Run one that ends."""
        where = COMPOSE["services"][name].get("working_dir", "/home/stillhouse")
        return self.container(name, volumes).run(*self.command(name), folder=where)

    def start(self, name: str, command: Sequence[str], url: str = "") -> Container:
        """Start one that goes on, and wait until it answers at a URL."""
        container, log = self.container(name), self._folder / f"{name}.log"
        process = container.start(command, log)
        self._running.append(process)
        if url:
            wait_for(url, process, log)
        return container

    def close(self) -> None:
        """End all, the last first."""
        for process in reversed(self._running):
            with suppress(psutil.NoSuchProcess):
                family = psutil.Process(process.pid).children(recursive=True)
                for each in family:
                    with suppress(psutil.NoSuchProcess):
                        each.kill()
            process.kill()
            process.wait()


@pytest.fixture
def s3() -> Iterator[Remote]:
    """In memory, for PostgreSQL's neighbour in compose.yaml."""
    server = Remote()
    yield server
    server.stop()


def test_the_services_of_compose_compress_a_recipe_by_a_deployment(
    tmp_path: Path,
    containers: list[Container],
    repository: str,
    s3: Remote,
    database: str,
) -> None:
    assert database.startswith("postgresql://"), "PostgreSQL is not installed: apt-get install postgresql"
    ports = {name: clones.free_port() for name in ("prefect", "mlflow", "worker")}
    names = {
        r"\$\{S3_SECRET_KEY[^}]*\}": KEY,
        r"\$\{STILLHOUSE_REPOSITORY[^}]*\}": repository,
        r"\$\{STILLHOUSE_BRANCH[^}]*\}": "",
        r"mlflow:\$\{POSTGRES_PASSWORD\}@postgres/mlflow": database.removeprefix("postgresql://"),
        r"\b4200\b": str(ports["prefect"]),
        r"\b5000\b": str(ports["mlflow"]),
        r"\b8333\b": str(s3.port),
        r"\b0\.0\.0\.0\b": "127.0.0.1",
        r"//(prefect|mlflow|s3):(?=\d)": "//127.0.0.1:",
    }
    prefect, mlflow = (f"http://127.0.0.1:{ports[name]}" for name in ("prefect", "mlflow"))
    config = inspect()["config"]
    with closing(Services(tmp_path, names, containers)) as services:
        services.once("bucket")
        services.start("prefect", services.command("prefect"), f"{prefect}/api/health")
        services.start("mlflow", services.command("mlflow"), f"{mlflow}/health")
        clones.run(tmp_path, "git", "clone", "--quiet", repository, "deployed")
        deployed = services.once("deploy", {tmp_path / "deployed": "/clone:ro"})
        assert "'compress/container' successfully created" in " ".join(deployed.split())
        # The image's own command and check, at a port that is free here.
        moved = ["env", f"PREFECT_WORKER_WEBSERVER_PORT={ports['worker']}", *config["Cmd"]]
        worker = services.start("worker", moved, f"http://127.0.0.1:{ports['worker']}/health")
        worker.run(*(word.replace("8080", str(ports["worker"])) for word in config["Healthcheck"]["Test"][1:]))

        ran = "prefect deployment run compress/container --param recipe=hinton --watch"
        worker.run(*ran.split())

        client = MlflowClient(mlflow)
        (version,) = client.search_model_versions("name = 'stillhouse-docstrings'")
        assert version.tags["recipe"] == "hinton" and version.tags["git_dirty"] == "false"
        login = {"aws_access_key_id": "stillhouse", "aws_secret_access_key": KEY, "region_name": "us-east-1"}
        store = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{s3.port}", **login)
        kept = [each["Key"].split("/")[0] for each in store.list_objects_v2(Bucket="stillhouse")["Contents"]]
        assert set(kept) == {"dvc", "mlflow"}
        # A page in a browser that has this machine's address under a name of its own.
        stranger = urllib.request.Request(f"{mlflow}/api/2.0/mlflow/experiments/list", headers={"Host": "page.example"})
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(stranger, timeout=30)
