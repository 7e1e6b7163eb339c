"""Clones of the working tree at the smallest size, in which the real pipeline runs."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil
from ruamel.yaml import YAML
from transformers import AutoModel

from stillhouse.encoders.checkpoint import load_tokenizer, save_model
from stillhouse.encoders.student import build_student
from tasks.phases.teacher import teacher_source

ROOT = Path(__file__).parents[1]
# Timings differ from run to run, and so does what shows them.
TIMED = ("latency.json", "report.md", "report.png", "report.html")


def clone(folder: Path, epochs: float = 4, narrow: bool = False) -> Path:
    """The working tree as git would clone it, at the size of the smoke profile, with a teacher of some steps.

    Args:
        epochs: of the teacher.
        narrow: whether its teacher starts from `narrow_teacher`, not from the built-in one.
    """
    names = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(names, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    run(folder, sys.executable, "-m", "tasks.profile", "smoke")
    params = folder / "params.yaml"
    yaml = YAML()
    tree = yaml.load(params)
    tree["teacher"]["phase"]["epochs"] = epochs
    if narrow:
        narrow_teacher(folder / "start")
        tree["teacher"]["model"] = "start"
    yaml.dump(tree, params)
    commit = ("-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-q", "-m", "smoke")
    for command in (("init", "-q"), ("add", "-A"), commit):
        run(folder, "git", *command)
    return folder


def narrow_teacher(folder: Path) -> None:
    """A model of the built-in one's vocabulary and a tenth of its width: trained, exported and timed in a moment."""
    source = teacher_source("builtin")
    shape = {"layers": 4, "hidden_size": 32, "heads": 2, "intermediate_size": 64}
    narrow = build_student(AutoModel.from_pretrained(source), **shape, source_layers=None, seed=1)
    save_model(narrow, load_tokenizer(source), folder)


def run(folder: Path, *command: str, **variables: str) -> str:
    """What a command that must succeed prints."""
    done = subprocess.run(
        command, cwd=folder, env=environment() | variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def environment() -> dict[str, str]:
    """This process's, without what tells our own tools where they are."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("STILLHOUSE_", "PREFECT_", "MLFLOW_", "DVC_"))}
    return kept | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def hashes(folder: Path) -> dict[str, str]:
    """Each output's hash by its path, as dvc.lock has it."""
    lock: Mapping = YAML(typ="safe", pure=True).load((folder / "dvc.lock").read_text())
    outs = [out for stage in lock["stages"].values() for out in stage.get("outs", [])]
    return {out["path"]: out["md5"] for out in outs if not out["path"].endswith(TIMED)}


def command(process: psutil.Process) -> list[str]:
    """Its words; none once it has ended."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def free_port() -> int:
    """A port of the loopback interface that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
