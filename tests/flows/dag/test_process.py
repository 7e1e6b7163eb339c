import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from flows.dag.graph import Stage, lineage, load_graph, stale
from flows.dag.process import StageFailed, bring_up_to_date, log_of
from tasks.stage.params import read_yaml
from tests.flows.conftest import Toy

# Runs one target and all it needs, one stage after the other, as a flow of its own would.
FLOW = """
import sys
from pathlib import Path
from flows.dag.graph import lineage, load_graph
from flows.dag.process import bring_up_to_date
root = Path.cwd()
for stage in lineage(load_graph(root), sys.argv[1]):
    bring_up_to_date(root, stage, {})
"""

MANY = """
from pathlib import Path
from tasks.stage.outputs import fresh_dir
with fresh_dir(Path("out")) as out:
    [(out / str(n)).write_text(f"{n}\\n" * n) for n in range(4000)]
"""


def start_flow(target: str) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.Popen([sys.executable, "-c", FLOW, target], env=environment, stdout=subprocess.PIPE, text=True)


def test_a_stage_runs_once_streams_its_lines_and_keeps_them(toy: Toy, capfd: pytest.CaptureFixture[str]) -> None:
    root = toy({"a": {"cmd": "echo loss $SPICE && touch out", "outs": ["out"]}})
    assert bring_up_to_date(root, Stage("a", ()), {"SPICE": "0.5"})
    shown = capfd.readouterr().out
    assert "[a] loss 0.5\n" in shown and "git add" not in shown and "[a] done in " in shown
    assert "loss 0.5\n" in (root / log_of("a")).read_text()
    assert not bring_up_to_date(root, Stage("a", ()), {}), "up to date: nothing is started"
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("command", "code", "reason", "transient"),
    [
        ("echo start; echo 'error: a.b = 3: no'; exit 2", 2, "a.b = 3: no", False),
        ("echo 'error: no disk space'; exit 75", 75, "no disk space", True),
        ("echo Traceback; echo 'ValueError: exited with 75'; exit 1", 1, "ValueError: exited with 75", False),
        ("sh -c 'kill -9 $$'; exit 137", -9, "killed by SIGKILL", True),
    ],
)
def test_a_failure_tells_code_reason_log_and_whether_to_try_again(
    toy: Toy, command: str, code: int, reason: str, transient: bool
) -> None:
    root = toy({"a": {"cmd": command, "outs": ["out"]}})
    with pytest.raises(StageFailed) as failed:
        bring_up_to_date(root, Stage("a", ()), {})
    assert (failed.value.code, failed.value.reason, failed.value.transient) == (code, reason, transient)
    assert str(failed.value) == f"stage 'a' failed: {reason} (exit {code}; log: logs/a.log)"


def test_what_dvc_itself_refuses_is_the_reason(toy: Toy) -> None:
    root = toy({"a": {"cmd": "true", "deps": ["nowhere"], "outs": ["out"]}})
    with pytest.raises(StageFailed, match=r"No such file or directory.*nowhere") as failed:
        bring_up_to_date(root, Stage("a", ()), {})
    assert not failed.value.transient


@pytest.mark.parametrize("said", ["[Errno 28] No space left on device: 'out'", "database or disk is full"])
def test_a_disk_that_is_full_for_dvc_may_have_room_later(toy: Toy, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    root = toy({"a": {"cmd": "touch out", "outs": ["out"]}})
    monkeypatch.setattr("flows.dag.process.stale", lambda root, stages: {"a"})
    # DVC with a disk that is full when it caches the output.
    (root / "dvc.py").write_text(f"""print("ERROR: unexpected error - " + {said!r}); raise SystemExit(255)""")
    with pytest.raises(StageFailed, match=re.escape(said)) as failed:
        bring_up_to_date(root, Stage("a", ()), {})
    assert failed.value.transient and not failed.value.said


@pytest.mark.slow
def test_two_flows_in_one_clone_run_shared_stages_once_and_lose_nothing(toy: Toy) -> None:
    once = "sleep 0.7 && echo {0} >> count-{0} && cp seed out-{0}"
    stages = {
        name: {"cmd": once.format(name), "deps": ["seed", *needs], "outs": [f"out-{name}"]}
        for name, needs in {
            "teacher": [],
            "left": ["out-teacher"],
            "right": ["out-teacher"],
            "both": ["out-left", "out-right"],
        }.items()
    }
    root = toy(stages, seed="x")
    flows = [start_flow(target) for target in ("right", "both")]
    assert [flow.wait(120) for flow in flows] == [0, 0]
    assert set(read_yaml(root / "dvc.lock")["stages"]) == set(stages)
    assert {name: (root / f"count-{name}").read_text() for name in stages} == {name: f"{name}\n" for name in stages}
    assert stale(root, load_graph(root)) == set()
    shown = "".join(flow.communicate()[0] for flow in flows)
    assert "runs in another process: waiting for it" in shown


def test_a_stage_that_another_dvc_ended_meanwhile_was_not_done_here(
    toy: Toy, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    root = toy({"a": {"cmd": "touch out", "outs": ["out"]}})
    assert bring_up_to_date(root, Stage("a", ()), {})
    capfd.readouterr()
    # As when the other one writes dvc.lock between the question and DVC's own.
    monkeypatch.setattr("flows.dag.process.stale", lambda root, stages: set(stages))
    assert not bring_up_to_date(root, Stage("a", ()), {})
    assert capfd.readouterr().out == ""


@pytest.mark.slow
def test_a_flow_waits_for_a_plain_dvc_repro_of_the_same_stage(toy: Toy) -> None:
    root = toy({"a": {"cmd": "sleep 4 && echo x >> count && cp seed out", "deps": ["seed"], "outs": ["out"]}}, seed="x")
    other = subprocess.Popen(["dvc", "repro", "-q", "a"])
    deadline = time.monotonic() + 30
    while not (root / ".dvc" / "tmp" / "rwlock").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1)
    assert not bring_up_to_date(root, Stage("a", ()), {})
    assert other.wait(30) == 0 and (root / "count").read_text() == "x\n"


@pytest.mark.slow
def test_a_stage_that_is_to_run_alone_has_no_neighbour(toy: Toy) -> None:
    command = "date +%s.%N >> {0}; sleep 1; date +%s.%N >> {0}"
    root = toy(
        {
            "clock": {"cmd": command.format("clock"), "outs": ["clock"], "meta": {"alone": True}},
            "other": {"cmd": command.format("other"), "outs": ["other"]},
        }
    )
    threads = [threading.Thread(target=bring_up_to_date, args=(root, stage, {})) for stage in load_graph(root)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    clock, other = ([float(line) for line in (root / name).read_text().split()] for name in ("clock", "other"))
    assert clock[1] <= other[0] or other[1] <= clock[0]


def test_two_stages_that_do_not_need_each_other_overlap(toy: Toy) -> None:
    # Each ends well only if the other one starts before it ends.
    meets = (
        "touch {0}-is-here; for i in $(seq 120); do test -e {1}-is-here && touch {0} && exit 0; sleep 1; done; exit 1"
    )
    root = toy({me: {"cmd": meets.format(me, other), "outs": [me]} for me, other in (("a", "b"), ("b", "a"))})
    threads = [threading.Thread(target=bring_up_to_date, args=(root, stage, {})) for stage in load_graph(root)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stale(root, load_graph(root)) == set()


@pytest.mark.slow
def test_a_killed_flow_leaves_no_stage_running_and_the_next_one_goes_on(toy: Toy) -> None:
    root = toy(
        {
            "a": {"cmd": "echo up > up && touch a", "outs": ["a"]},
            "b": {"cmd": "test -e late || sleep 61.5; touch b", "deps": ["a"], "outs": ["b"]},
        }
    )
    flow = start_flow("b")
    deadline = time.monotonic() + 60
    while not _sleepers() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert _sleepers()
    flow.send_signal(signal.SIGINT)
    flow.wait(30)
    assert not _sleepers()
    (root / "late").touch()
    stages = lineage(load_graph(root), "b")
    assert [bring_up_to_date(root, stage, {}) is not None for stage in stages] == [False, True]


@pytest.mark.slow
@pytest.mark.parametrize("committed", [0, 1, 1000, 3900])
def test_a_kill_while_dvc_commits_costs_nothing_and_leaves_a_whole_cache(toy: Toy, committed: int) -> None:
    root = toy({"a": {"cmd": "python write.py && touch made", "outs": ["out"]}}, **{"write.py": MANY})
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    dvc = subprocess.Popen(["dvc", "repro", "-q"], env=environment)
    while not (root / "made").exists():
        assert dvc.poll() is None
        time.sleep(0.01)
    while len(list(root.glob(".dvc/cache/files/md5/*/*"))) < committed:
        assert dvc.poll() is None
    dvc.kill()
    assert dvc.wait() == -signal.SIGKILL and not (root / "dvc.lock").exists(), "it had committed already"
    assert bring_up_to_date(root, Stage("a", ()), environment)
    assert stale(root, load_graph(root)) == set()
    shutil.rmtree(root / "out")
    subprocess.run(["dvc", "checkout", "-q"], check=True)
    assert all((root / "out" / str(n)).read_text() == f"{n}\n" * n for n in range(4000))


def _sleepers() -> list[psutil.Process]:
    return [each for each in psutil.process_iter(["cmdline"]) if each.info["cmdline"] == ["sleep", "61.5"]]
