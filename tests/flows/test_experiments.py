"""DVC's experiments in a folder of their own: what they track goes into the project's store, which outlives them."""

import subprocess
import sys
from pathlib import Path

import pytest

from tasks.tracking.store import _store, open_store
from tests.clones import environment
from tests.flows.conftest import ROOT, Toy

# Tracks a metric as a stage does, and has it sent before it ends.
STAGE = """
import sys
from pathlib import Path
from tasks.tracking.journal import stage_run
from tasks.tracking import sender
with stage_run("toy", {}, []) as run:
    run.log_metrics({"seen": float(Path("number").read_text())})
Path("out").write_text("done")
sys.argv = ["sender", "--all"]
sender.main()
"""


def test_the_store_is_that_of_the_project_that_an_experiment_belongs_to(tmp_path: Path) -> None:
    assert _store(tmp_path) == Path("mlruns")
    for inside in ("standalone/tmp1", "tmp2", "standalone/tmp3/deep"):
        assert _store(tmp_path / ".dvc/tmp/exps" / inside) == tmp_path / "mlruns"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["--temp", "--queue"])
def test_an_experiment_apart_is_tracked_in_the_project(how: str, toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    root = toy(
        {"a": {"cmd": f"{sys.executable} stage.py", "deps": ["number", "stage.py"], "outs": ["out"]}}, number="7"
    )
    (root / "stage.py").write_text(STAGE)
    (root / ".gitignore").write_text("/out\n/mlruns\n")
    variables = environment() | {"PYTHONPATH": str(ROOT)}

    def run(*words: str) -> None:
        done = subprocess.run(words, cwd=root, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"

    run("git", "add", ".")
    run("git", "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", "toy")
    run("dvc", "exp", "run", how, "--name", "tried")
    if how == "--queue":
        run("dvc", "exp", "run", "--run-all")
    monkeypatch.chdir(root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    client, experiment = open_store()
    (found,) = client.search_runs([experiment])
    assert found.data.metrics["seen"] == 7 and found.data.tags["dvc_experiment"] == "tried"
    assert not list((root / ".dvc/tmp/exps").rglob("mlruns"))
