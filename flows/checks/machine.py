"""The versions of Python and libraries, and the devices that this machine computes with."""

import os
import platform
import shutil
import tomllib
from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from flows.checks.finding import Finding, Setup, fault, ok, warning
from stillhouse.errors import InputError

INSTALL = "pip install -c constraints.txt -e '.[pipeline]'"


def versions(setup: Setup) -> Iterator[Finding]:
    """What pyproject.toml names is installed as constraints.txt pins it; local versions ("+cpu") count as the same."""
    project = tomllib.loads((setup.root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    python, wanted = platform.python_version(), project["requires-python"]
    if python not in SpecifierSet(wanted):
        yield fault("versions", f"Python {python}, where {wanted} is needed", "make a new .venv with such a Python")
    lines = (setup.root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
    pins = {canonicalize_name(each.name): each.specifier for each in pinned}
    needed = [*project["dependencies"], *project["optional-dependencies"]["pipeline"]]
    agree = 0
    for name in (canonicalize_name(Requirement(line).name) for line in needed):
        if name not in pins:
            continue
        try:
            found = Version(metadata.version(name))
        except metadata.PackageNotFoundError:
            yield fault("versions", f"{name} is not installed, constraints.txt pins {pins[name]}", INSTALL)
            continue
        if pins[name].contains(found.public, prereleases=True):
            agree += 1
        else:
            yield fault("versions", f"{name} {found} is installed, constraints.txt pins {pins[name]}", INSTALL)
    yield ok("versions", f"Python {python}, {agree} libraries as constraints.txt pins them")


def devices(setup: Setup) -> Iterator[Finding]:
    """The device that trains here, its precision and its threads."""
    import torch

    from stillhouse.training.autocast import bf16_hardware, choose_precision
    from stillhouse.training.threads import usable_cores

    cores = usable_cores()
    threads = torch.get_num_threads()
    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
        where = ", ".join(f"{card.name} ({card.total_memory / 2**30:.0f} GiB)" for card in cards)
    else:
        where = f"CPU, {threads} threads on {cores} cores"
        if shutil.which("nvidia-smi"):
            yield warning(
                "devices",
                f"this machine has nvidia-smi, but torch {torch.__version__} sees no GPU",
                "install torch with CUDA, and look at what nvidia-smi says of the driver",
            )
    if threads > cores:
        yield warning("devices", f"{threads} threads on {cores} cores", f"set OMP_NUM_THREADS={cores}")
    load, machine = os.getloadavg()[0], os.cpu_count() or 1
    if load > max(1, machine / 2):
        # Stages wait politely by themselves (tasks/__init__.py, flows/dag/process.py): there is nothing to set.
        yield warning(
            "devices",
            f"this machine is busy: {load:.1f} programs at a time wanted its {machine} cores in the last minute, "
            "so training takes longer, and latencies that are measured now come out too high",
            "look at `top` for which programs these are, and stop them or wait for them; what is trained meanwhile is "
            f"right, what is timed is measured anew by `dvc repro -s -f evaluate@{setup.recipe or 'RECIPE'}`",
        )
    stated = (setup.params.get("train") or {}).get("precision", "auto")
    try:
        chosen = choose_precision(str(stated))
    except InputError as error:
        yield fault("devices", f"train.{error}")
        return
    if chosen == "bf16" and not bf16_hardware():
        yield warning("devices", f"{where}: no bf16 in hardware, it is emulated and slow", "set train.precision: auto")
        return
    yield ok("devices", f"{where}; {'bf16 in hardware' if bf16_hardware() else 'no bf16'}: trains in {chosen}")
