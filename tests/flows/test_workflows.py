"""The workflows of .github: what they may do, that what they call is there, and their scripts, run as a runner does."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from ruamel.yaml import YAML

from tests import clones
from tests.flows.conftest import registered_project

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = {file.stem: YAML(typ="safe").load(file) for file in sorted(FOLDER.glob("*.yml"))}
# The one permission beyond reading the code, and its job.
WRITES = {("recipe", "comment"): {"pull-requests": "write"}}


def steps() -> list[tuple[str, str, dict[str, Any]]]:
    """Workflow, job and step, of all."""
    return [
        (name, job, step)
        for name, workflow in WORKFLOWS.items()
        for job, told in workflow["jobs"].items()
        for step in told["steps"]
    ]


def test_the_workflows_are_these_four() -> None:
    assert list(WORKFLOWS) == ["nightly", "promote", "recipe", "tests"]
    assert [sum("run" in step for name, _, step in steps() if name == each) for each in WORKFLOWS] == [1, 2, 5, 5]


def test_a_job_may_read_the_code_and_one_may_comment() -> None:
    for name, workflow in WORKFLOWS.items():
        assert "pull_request_target" not in workflow["on"]
        for job, told in workflow["jobs"].items():
            given = told.get("permissions", workflow["permissions"])
            assert given == WRITES.get((name, job), {"contents": "read"}), (name, job)
            own = "self-hosted" in told["runs-on"]
            assert own == ((name, job) in {("recipe", "run"), ("promote", "promote")})
    # On a runner of one's own no stranger's branch runs, and no model is promoted by another branch's code.
    assert "head.repo.full_name == github.repository" in WORKFLOWS["recipe"]["jobs"]["run"]["if"]
    assert "default_branch" in WORKFLOWS["promote"]["jobs"]["promote"]["if"]


def test_actions_are_pinned_by_commit_and_say_their_version() -> None:
    lines = [line for file in FOLDER.glob("*.yml") for line in file.read_text().splitlines() if "uses:" in line]
    assert len(lines) == 10
    for line in lines:
        assert re.search(r"uses: actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line
    checkouts = [step["with"] for *_, step in steps() if step.get("uses", "").startswith("actions/checkout@")]
    assert [told["persist-credentials"] for told in checkouts] == [False] * 5


def test_no_script_holds_an_expression_or_a_secret() -> None:
    for name, _, step in steps():
        # GitHub puts an expression's text into a script before a shell reads it; a variable stays one word.
        assert "${{" not in step.get("run", ""), name
    assert not [file.name for file in FOLDER.glob("*.yml") if "secrets." in file.read_text()]


def test_what_scripts_call_is_there() -> None:
    scripts = [step["run"] for *_, step in steps() if "run" in step]
    for script in scripts:
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    text = "\n".join(scripts)
    modules, targets = set(re.findall(r"python -m (\S+)", text)), set(re.findall(r"make (\S+)", text))
    assert modules == {"flows.promote", "tests.kills"} and all(find_spec(module) for module in modules)
    makefile = (ROOT / "Makefile").read_text().replace("$(VENV)", ".venv")
    assert targets == {"quality", "docs", "test", "test-slow", "audit", ".venv/ready"}
    assert [target for target in targets if not re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE)] == []
    dvc = re.findall(r"dvc (\w+(?: \w+)?)", text)
    assert {words.split()[0] for words in dvc} == {"repro", "push", "metrics"}


def perform(workflow: str, job: str, folder: Path, scratch: Path, values: Mapping[str, str]) -> str:
    """Run the scripts of a job as a runner does, in a folder with an environment; what they print.

    Args:
        values: of the job's variables; those that it sets, and no others.
    """
    told = WORKFLOWS[workflow]["jobs"][job]
    assert set(told["env"]) == set(values)
    # The environment of the tests in the place of the one that `make` would install.
    (folder / ".venv").mkdir()
    for part in Path(sys.prefix).iterdir():
        if part.name != "ready":
            (folder / ".venv" / part.name).symlink_to(part)
    (folder / ".venv" / "ready").touch()
    added = scratch / "path"
    added.touch()
    shown = ""
    for number, step in enumerate(step for step in told["steps"] if "run" in step):
        script = scratch / f"{number}.sh"
        script.write_text(step["run"])
        variables = clones.environment() | {"GITHUB_PATH": str(added), "RUNNER_TEMP": str(scratch)} | dict(values)
        variables["PATH"] = os.pathsep.join([*reversed(added.read_text().split()), variables["PATH"]])
        bash = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)]
        done = subprocess.run(bash, cwd=folder, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{step['name']}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        shown += done.stdout
    return shown


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_change_of_params_runs_what_it_makes_stale_and_pushes_and_reports_it(
    tmp_path: Path, reproduced: Path
) -> None:
    folder, scratch = tmp_path / "clone", tmp_path / "scratch"
    shutil.copytree(reproduced, folder, symlinks=True)
    scratch.mkdir()
    (tmp_path / "remote").mkdir()
    clones.run(folder, "dvc", "remote", "add", "--local", "--default", "shared", str(tmp_path / "remote"))
    clones.run(folder, "git", "add", "dvc.lock")
    clones.run(folder, "git", "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-qm", "made")
    base = clones.run(folder, "git", "rev-parse", "HEAD").strip()
    clones.run(folder, "dvc", "push", "--run-cache", "--with-deps", "report@hinton")
    before = clones.hashes(folder)
    # A runner that has made nothing itself, and a pull request that measures more tokens.
    for name in (".dvc/cache", "models", "data", "reports", "code"):
        shutil.rmtree(folder / name)
    params = folder / "params.yaml"
    tree = YAML().load(params)
    tree["evaluate"]["tokens"] += 8
    YAML().dump(tree, params)

    shown = perform("recipe", "run", folder, scratch, {"RECIPE": "hinton", "BASE": base})

    ran = re.findall(r"^Running stage '([^']+)'", shown, re.MULTILINE)
    assert "evaluate@hinton" in ran and "report@hinton" in ran
    assert not {"prepare", "teacher", "hinton", "export@hinton"} & set(ran), ran
    after = clones.hashes(folder)
    assert after["models/hinton"] == before["models/hinton"]
    changed = after["reports/evaluated/hinton/metrics.json"]
    assert changed != before["reports/evaluated/hinton/metrics.json"]
    assert (tmp_path / "remote" / "files" / "md5" / changed[:2] / changed[2:]).is_file()
    comment = (scratch / "comment" / "comment.md").read_text()
    assert comment.startswith("# ") and f"## What changed since {base[:8]}" in comment and "![" not in comment
    (row,) = re.findall(r"^\| reports/evaluated/hinton/metrics.json +\| tokens +\| (.+) \|$", comment, re.MULTILINE)
    assert [int(cell) for cell in row.split("|")] == [16, 24, 8]
    kept = {file.name for file in (scratch / "comment").iterdir()}
    assert kept == {"comment.md", "report.png", "report.html", "dvc.lock"}


@pytest.mark.slow
def test_a_promotion_by_hand_moves_the_alias_and_runs_nothing_of_its_reason(
    tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = registered_project(made, tmp_path / "project")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    values = {"WHAT": "promote", "RECIPE": "hinton", "REASON": "all is well; $(touch harm)", "LOGNAME": "ada"}
    shown = perform("promote", "promote", folder, tmp_path, values)
    assert "is the champion" in shown and not (folder / "harm").exists()
    client = MlflowClient(f"sqlite:///{folder}/mlruns/mlflow.db")
    (model,) = client.search_registered_models()
    version = client.get_model_version_by_alias(model.name, "champion")
    assert str(version.version) == "1"
    approval = json.loads(version.tags["decision"])["approval"]
    assert approval == {"approved": True, "by": "ada", "reason": "all is well; $(touch harm)"}
