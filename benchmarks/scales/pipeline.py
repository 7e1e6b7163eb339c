"""DVC against the number of stages, and its hashing against bytes and files.

A project's stages each read one small file and write another, in tens: the first of each ten reads the last one of the
ten before. Its lock file and its cache are written here, as DVC would have: to run a thousand stages for that would
take longer than all that is measured.
"""

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ruamel.yaml import YAML

from benchmarks.runners import run
from benchmarks.scales.book import Book, Figures, measured, table
from benchmarks.usage import used_by

STAGES, QUICK_STAGES = [10, 100, 1_000], [4, 8]
TEN = 10
# Name, files, bytes of each.
FILES = [("one file", 1, 2**30), ("of 10 MiB", 100, 10 * 2**20), ("of 100 KiB", 10_000, 100 * 2**10)]
QUICK_FILES = [("one file", 1, 2**20), ("of 10 KiB", 100, 10 * 2**10)]
VARIABLES = {"DVC_NO_ANALYTICS": "1", "STILLHOUSE_TRACKING": "off"}
DVC = [sys.executable, "-m", "dvc"]
COMMANDS = {
    "dvc status": ["status"],
    "dvc repro, nothing to do": ["repro"],
    "dvc push": ["push"],
    "dvc push, nothing to do": ["push"],
    "dvc pull": ["pull"],
    "dvc repro of one stage": ["repro", "--single-item", "--force", "stage-0"],
}


def tables(book: Book, work: Path, quick: bool) -> Iterator[str]:
    """Measure, and give the lines of the tables."""
    stages = QUICK_STAGES if quick else STAGES
    found = [book.of(f"dvc {number} stages", partial(_project, number, work)) for number in stages]
    rows = [
        [f"`{name}`", *(f"{each[f'{name}, s']:.1f} s, {each[f'{name}, peak'] / 2**20:,.0f} MiB" for each in found)]
        for name in COMMANDS
    ]
    rows.append(["bytes of `dvc.lock`", *(f"{each['lock']:,.0f}" for each in found)])
    yield from table(["", *(f"{number:,} stages" for number in stages)], rows)
    yield ""
    rows = []
    for name, count, size in QUICK_FILES if quick else FILES:
        figures = book.of(f"dvc add {count} {size}", partial(_added, count, size, work))
        whole = count * size / 2**30
        seconds = [f"{figures[kind] / whole:,.1f} s" for kind in ("hash", "add", "status")]
        rows.append([f"{name}, {count:,}", f"{whole:.2f} GiB", *seconds, f"{figures['peak'] / 2**20:,.0f} MiB"])
    yield from table(
        ["files", "together", "MD5 alone, a GiB", "`dvc add`, a GiB", "`dvc status` after it, a GiB", "memory"], rows
    )


def _project(number: int, work: Path) -> Figures:
    """Each of the commands in a project of so many stages that are up to date; `dvc pull` finds no cache, no outs."""
    with tempfile.TemporaryDirectory(dir=work) as name:
        root = _empty(Path(name))
        _write(root, number)
        run(root, VARIABLES, *DVC, "remote", "add", "--default", "store", str(Path(name) / "store"))
        figures: Figures = {"lock": (root / "dvc.lock").stat().st_size}
        for said, words in COMMANDS.items():
            if words == ["pull"]:
                shutil.rmtree(root / ".dvc" / "cache")
                for file in root.glob("made-*"):
                    file.unlink()
            used = used_by([*DVC, *words], root, VARIABLES)
            if said in ("dvc status", "dvc repro, nothing to do"):
                _check_up_to_date(used.said)
            figures |= {f"{said}, s": used.seconds, f"{said}, peak": used.peak}
        if len(list(root.glob("made-*"))) != number:
            raise RuntimeError(f"dvc pull: not all of {number} files came back")
    return figures


def _check_up_to_date(said: str) -> None:
    if "up to date" not in said:
        raise RuntimeError(f"a project whose stages are all up to date is not so to DVC: {said[-500:]}")


def _empty(home: Path) -> Path:
    root = home / "project"
    root.mkdir()
    for command in (["git", "init", "-q"], [*DVC, "init", "-q"]):
        run(root, VARIABLES, *command)
    return root


def _write(root: Path, number: int) -> None:
    """dvc.yaml, dvc.lock, what the stages read and wrote, and the cache of it."""
    (root / "seed").write_text("seed", encoding="utf-8")
    stages, locked = {}, {}
    for place in range(number):
        out = f"made-{place}"
        read = f"made-{place - 1}" if place and place % TEN == 0 else "seed"
        (root / out).write_text(f"{place}\n", encoding="utf-8")
        command = f"echo {place} > {out}"
        stages[f"stage-{place}"] = {"cmd": command, "deps": [read], "outs": [out]}
        locked[f"stage-{place}"] = {"cmd": command, "deps": [_entry(root / read)], "outs": [_entry(root / out)]}
        digest = locked[f"stage-{place}"]["outs"][0]["md5"]
        cached = root / ".dvc" / "cache" / "files" / "md5" / digest[:2] / digest[2:]
        cached.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / out, cached)
        cached.chmod(0o444)
    YAML().dump({"stages": stages}, root / "dvc.yaml")
    YAML().dump({"schema": "2.0", "stages": locked}, root / "dvc.lock")


def _entry(file: Path) -> dict[str, str | int]:
    data = file.read_bytes()
    return {"path": file.name, "hash": "md5", "md5": hashlib.md5(data).hexdigest(), "size": len(data)}


def _added(count: int, size: int, work: Path) -> Figures:
    """Seconds of hashing in Python, of `dvc add` (which copies into the cache), and of `dvc status` after it."""
    with tempfile.TemporaryDirectory(dir=work) as name:
        root = _empty(Path(name))
        data = root / "data"
        data.mkdir()
        for place in range(count):
            with (data / f"{place:06}").open("wb") as stream:
                for first in range(0, size, 2**20):
                    stream.write(os.urandom(min(2**20, size - first)))
        program = (
            "import hashlib, pathlib\n"
            "for file in sorted(pathlib.Path('data').iterdir()):\n"
            "    with file.open('rb') as stream: hashlib.file_digest(stream, 'md5')"
        )
        hashed = measured([sys.executable, "-c", program], root, VARIABLES)
        added = measured([*DVC, "add", "--quiet", "data"], root, VARIABLES)
        status = used_by([*DVC, "status"], root, VARIABLES)
        _check_up_to_date(status.said)
    seconds = {"hash": hashed["seconds"], "add": added["seconds"], "status": status.seconds}
    return seconds | {"peak": added["peak"]}
