"""Make a registered model again, from its commit, and compare its hash with the registered one.

A fresh folder gets the version's commit, its params.yaml and dvc.lock, and its data: pulled by their hashes from the
cache of this clone or from a remote, or prepared again where neither has them. Everything after the data is computed
anew, with no run cache. If the model has another hash than was registered, what differs is listed: data, code, numbers,
libraries, hardware, and the first stage whose output differs.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING

from flows.dag.code import STAGE
from flows.dag.graph import Stage, lineage, load_graph
from flows.registry.files import weights_digest
from flows.registry.reports import checkpoint_of
from flows.registry.versions import libraries, run_of
from stillhouse.errors import InputError
from tasks.evaluation.forms import FINISHED
from tasks.stage.params import read_yaml
from tasks.stage.secrets import hidden
from tasks.tracking.provenance import LOCK, dvc_hashes

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

COMMIT = re.compile(r"[0-9a-f]{40}")
SLUG = re.compile(r"[a-z0-9][a-z0-9-]*")
# What would make another run of it: settings of this one.
DROPPED = ("PYTHONPATH", "STILLHOUSE_", "DVC_", "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "MLFLOW_")


def reproduce(client: "MlflowClient", version: "ModelVersion", folder: Path, source: str) -> list[str]:
    """Make a version's model again; what differs, in lines, none where it has the hash that was registered.

    Args:
        folder: not there yet.
        source: a clone or URL of the project that has the commit.

    Raises:
        InputError: the version does not say where it came from, its commit is not in the source, or a stage of it does
            not run here.
    """
    stage, commit = _origin(version)
    if folder.exists():
        raise InputError(f"--to {folder}: it is there already: give a folder that is not")
    _checkout(source, commit, folder)
    changed = _restore(client, version, folder)
    was = dvc_hashes(folder / LOCK)
    stages = _making(folder, stage)
    # What needs the code alone is data; the code itself is the commit's.
    roots = [stage.name for stage in stages if stage.name != STAGE and set(stage.needs) <= {STAGE}]
    _pull(folder, source, roots)
    _repro(folder, stages[-1].name)
    checkpoint = checkpoint_of(version.tags["recipe"], version.tags.get("form") == FINISHED)
    found = weights_digest(folder / checkpoint)
    wanted = version.tags["weights_sha256"]
    if found == wanted:
        return []
    now = dvc_hashes(folder / LOCK)
    return [
        f"{checkpoint}: sha256 {found[:16]}… here, {wanted[:16]}… registered",
        *_other_outputs(folder, stages, was, now),
        *changed,
        *_other_machine(version.tags),
    ]


def _origin(version: "ModelVersion") -> tuple[str, str]:
    """The stage that made it, and the commit; they are of tags, so data, and go into paths and commands."""
    what = f"{version.name} version {version.version}"
    recipe, commit = version.tags.get("recipe", ""), version.tags.get("git_commit", "")
    if not SLUG.fullmatch(recipe):
        raise InputError(f"{what}: its tag recipe = {recipe!r} is no slug: register it again")
    if not COMMIT.fullmatch(commit):
        raise InputError(f"{what}: its tag git_commit = {commit!r} is no commit: it was registered outside git")
    return f"finish@{recipe}" if version.tags.get("form") == FINISHED else recipe, commit


def _checkout(source: str, commit: str, folder: Path) -> None:
    where = _toplevel(source)
    for command in (
        ["git", "clone", "--quiet", "--no-checkout", "--", where, str(folder)],
        ["git", "-C", str(folder), "checkout", "--quiet", "--detach", commit],
    ):
        done = subprocess.run(command, env=_environment(), capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(folder, ignore_errors=True)
            said = hidden(" ".join(done.stderr.split()))[:200]
            raise InputError(f"commit {commit} is not in '{hidden(where)}' ({said}): push it, or give --source")
    print(f"{folder}: commit {commit}", flush=True)


def _restore(client: "MlflowClient", version: "ModelVersion", folder: Path) -> list[str]:
    """Put the params.yaml and dvc.lock that the version was made with in place; in what way the commit has others."""
    changed = ["the commit was dirty: tracked files differed from it"] * (version.tags.get("git_dirty") == "true")
    run_id = run_of(client, version)
    kept = {each.path for each in client.list_artifacts(run_id, "provenance")}
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("params.yaml", LOCK.name):
            if f"provenance/{name}" not in kept:
                changed.append(f"{name}: the version has none, so the commit's was used")
                continue
            file = Path(client.download_artifacts(run_id, f"provenance/{name}", scratch))
            there = folder / name
            if name == "params.yaml" and (not there.exists() or read_yaml(there) != read_yaml(file)):
                changed.append("params.yaml was not the commit's")
            shutil.copy(file, there)
    return changed


def _making(folder: Path, stage: str) -> tuple[Stage, ...]:
    """The stages that make a model, by the one that writes it, which comes last."""
    # DVC calls stages by their place from where one is.
    with chdir(folder):
        return lineage(load_graph(Path.cwd()), stage)


def _pull(folder: Path, source: str, names: list[str]) -> None:
    """Fetch the data of stages that need no other: from this clone's cache, else from the commit's own remote."""
    cache = Path(_toplevel(source)) / ".dvc" / "cache"
    missing = names
    if cache.is_dir():
        _dvc(folder, "remote", "add", "--local", "clone", str(cache.resolve()))
        missing = [name for name in missing if _dvc(folder, "pull", "--remote", "clone", name)]
    if "['remote" in (folder / ".dvc" / "config").read_text(encoding="utf-8"):
        missing = [name for name in missing if _dvc(folder, "pull", name)]
    for name in names:
        print(f"{name}: {'is made again' if name in missing else 'its data are pulled'}", flush=True)


def _repro(folder: Path, stage: str) -> None:
    print(f"{stage}: computing it and all that it needs …", flush=True)
    command = [sys.executable, "-m", "dvc", "repro", "--no-run-cache", stage]
    log = folder.parent / f"{folder.name}.log"
    with log.open("w", encoding="utf-8") as file:
        done = subprocess.run(command, cwd=folder, env=_environment(), stdout=file, stderr=file, check=False)
    if done.returncode:
        last = hidden(" ".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-2:]))
        raise InputError(f"stage '{stage}' of the commit does not run here ({last[-300:]}): see {log}")


def _dvc(folder: Path, *words: str) -> int:
    command = [sys.executable, "-m", "dvc", *words, "--quiet"]
    done = subprocess.run(command, cwd=folder, env=_environment(), capture_output=True, check=False)
    return done.returncode


def _other_outputs(
    folder: Path, stages: tuple[Stage, ...], was: Mapping[str, str], now: Mapping[str, str]
) -> list[str]:
    """Outputs that are others than in the version's dvc.lock, of the first stage that has such."""
    outputs = {name: stage.get("outs", []) for name, stage in read_yaml(folder / LOCK)["stages"].items()}
    for stage in stages:
        paths = [out["path"] for out in outputs.get(stage.name, [])]
        other = [path for path in paths if was.get(path) != now.get(path)]
        if other:
            kind = "data hash" if not stage.needs else "output"
            return [
                f"{kind} of stage '{stage.name}', the first: {path} {now.get(path)} here, {was.get(path)} in dvc.lock"
                for path in other
            ]
    return []


def _other_machine(tags: Mapping[str, str]) -> list[str]:
    from stillhouse.onnx.latency import hardware

    lines = []
    was, now = json.loads(tags.get("libraries", "{}")), libraries()
    lines += [f"{name} {now[name]} here, {was.get(name)} there" for name in now if now[name] != was.get(name)]
    if (here := hardware()) != tags.get("hardware"):
        lines.append(f"hardware: {here} here, {tags.get('hardware')} there")
    return lines


def _toplevel(source: str) -> str:
    """The clone that a folder is in; a URL as it is."""
    if not Path(source).is_dir():
        return source
    command = ["git", "-C", source, "rev-parse", "--show-toplevel"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else source


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(DROPPED)}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return kept | {"PATH": path, "STILLHOUSE_TRACKING": "off", "GOMP_SPINCOUNT": "3000"}
