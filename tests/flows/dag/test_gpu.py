"""GPU stages of all flows of a server hold its slots by turns; and with no server nobody waits."""

import json
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.dag import servers
from flows.dag.gpu import gpu_slot, limit_gpus
from stillhouse.errors import InputError
from tests.clones import free_port
from tests.flows.conftest import Toy

ROOT = Path(__file__).parents[3]
FLOW = """
from pathlib import Path
from prefect import flow
from flows.dag.graph import load_graph
from flows.pipeline import run_stages

@flow(persist_result=False)
def train():
    run_stages(Path.cwd(), load_graph(Path.cwd()), {})

train()
"""


class Prefect:
    """A server as `make up` starts it, that can be killed and started again."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.api = f"http://127.0.0.1:{port}/api"
        self.environment = servers.client_environment(f"http://127.0.0.1:{port}", "")

    def start(self) -> None:
        nowhere = subprocess.DEVNULL
        command = servers.prefect_command(self.port)
        self.process = subprocess.Popen(command, env=self.environment, stdout=nowhere, stderr=nowhere)
        deadline = time.monotonic() + 180
        while True:
            try:
                return urllib.request.urlopen(f"{self.api}/health", timeout=5).close()
            except OSError:
                assert self.process.poll() is None and time.monotonic() < deadline
                time.sleep(0.5)

    def taken(self) -> int:
        """Slots of the limit that are held."""
        with urllib.request.urlopen(f"{self.api}/v2/concurrency_limits/gpu", timeout=30) as answer:
            return json.load(answer)["active_slots"]


@pytest.fixture
def prefect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Prefect]:
    """A real server, which flows find."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    servers.HOME.mkdir()
    server = Prefect(free_port())
    for name, value in server.environment.items():
        if name.startswith("PREFECT_"):
            monkeypatch.setenv(name, value)
    server.start()
    yield server
    server.process.terminate()
    server.process.wait(60)


def train_at_once(root: Path, command: str) -> list[tuple[int, str]]:
    """Two flows of two clones, each with one GPU stage of this command; exit codes and what they said."""
    flows = []
    for name in ("first", "second"):
        clone = root.parent / name
        shutil.rmtree(clone, ignore_errors=True)
        shutil.copytree(root, clone)
        stage = {"cmd": command.replace("NAME", name), "outs": ["out"], "meta": {"gpu": True}}
        (clone / "dvc.yaml").write_text(f"stages: {{train: {stage}}}")
        flows.append(
            subprocess.Popen(
                [sys.executable, "-c", FLOW], cwd=clone, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        )
    said = [each.communicate(timeout=240)[0] for each in flows]
    return [(each.returncode, text) for each, text in zip(flows, said, strict=True)]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_flows_never_hold_one_slot_together_and_two_slots_are_held_at_once(toy: Toy, prefect: Prefect) -> None:
    root = toy({})
    held = root.parent / "held"
    limit_gpus(prefect.api, 1)
    ended = train_at_once(root, f"mkdir {held} && sleep 15 && rmdir {held} && touch out")
    assert [code for code, _ in ended] == [0, 0], ended
    assert sum("[train] waits for a slot of the limit 'gpu'" in text for _, text in ended) == 1, ended
    limit_gpus(prefect.api, 2)
    meet = "test -e ../first/here -a -e ../second/here && touch out && exit 0; sleep 1"
    ended = train_at_once(root, f"touch here; for i in $(seq 120); do {meet}; done; exit 1")
    assert [code for code, _ in ended] == [0, 0], ended


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_server_that_is_killed_knows_afterwards_who_holds_a_slot(prefect: Prefect) -> None:
    limit_gpus(prefect.api, 1)
    holds = [sys.executable, "-c", "from flows.dag.gpu import gpu_slot\nwith gpu_slot('train'): input()"]
    with subprocess.Popen(holds, stdin=subprocess.PIPE) as stage:
        assert stage.stdin
        while not prefect.taken():
            assert stage.poll() is None
            time.sleep(0.5)
        prefect.process.kill()
        prefect.process.wait(30)
        prefect.start()
        assert prefect.taken() == 1
        stage.stdin.write(b"\n")
        stage.stdin.close()
        assert stage.wait(120) == 0
    assert prefect.taken() == 0


def test_without_a_server_nobody_waits_for_a_slot() -> None:
    # Prefect reads the environment once, when it is first imported: another test may have set it then.
    with temporary_settings(updates={PREFECT_API_URL: None}), gpu_slot("a"), gpu_slot("b"):
        assert not PREFECT_API_URL.value()


def test_no_slots_at_all_are_refused() -> None:
    with pytest.raises(InputError, match=r"--gpus 0: give a number from 1"):
        servers.up(free_port(), free_port(), "", False, gpus=0)
