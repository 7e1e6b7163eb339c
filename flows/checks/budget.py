"""Time and disk that a recipe's stale stages may take."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from flows.checks.finding import Finding, Setup, existing_parent, fault, ok, warning, within
from flows.checks.storage import cache_folder
from flows.checks.teacher import config_of, local_folder
from flows.dag.graph import stale
from flows.estimate import Training, disk, mean_tokens, seconds_a_row, trainings
from stillhouse.encoders.checkpoint import load_tokenizer, weight_files
from stillhouse.errors import InputError
from stillhouse.training.loop import choose_precision
from tasks.stage.params import TrainParams, load, read_yaml

LOCKED = 15.0  # seconds for DVC to look at every stage; a lock that another process holds takes longer
LITTLE = 10**9  # bytes


def budget(setup: Setup) -> Iterator[Finding]:
    """An estimate for what is stale, and whether the disk has room for it."""
    if not setup.graph:
        yield warning("estimate", "without a valid dvc.yaml there is none")
        return
    try:
        outdated = within(LOCKED, lambda: stale(setup.root, setup.stages))
    except TimeoutError:
        yield warning("estimate", f"DVC did not say in {LOCKED:.0f} s what is stale", "wait for the dvc that runs here")
        return
    names = [stage.name for stage in setup.stages if stage.name in outdated]
    if not names:
        yield ok("estimate", f"all {len(setup.stages)} stages are up to date")
        yield from _room(setup, 0, "")
        return
    try:
        yield from _estimate(setup, names)
    except InputError as error:
        # What is wrong with the teacher or the parameters has a line of its own.
        yield warning("estimate", f"none ({error})")
        yield from _room(setup, 0, "an unknown amount")


def _estimate(setup: Setup, names: list[str]) -> Iterator[Finding]:
    block = "teacher" if setup.has("teacher") else "teacher-qa"
    model = setup.params[block]["model"]
    folder = local_folder(model)
    if folder is None:
        raise InputError(f"{block}.model = '{model}' is not fetched yet")
    train = load("train", TrainParams)
    dag = read_yaml(setup.root / "dvc.yaml")["stages"]
    tokens = setup.params["windows"]["max_length"]
    if block == "teacher":
        tokens = mean_tokens(Path("data/task/train.parquet"), load_tokenizer(folder), train.max_length)
    phases = trainings(names, dag, setup.params, config_of(folder)["num_hidden_layers"], tokens)
    batch = (setup.params[block]["phase"] or {}).get("batch_size", 32)
    a_row = seconds_a_row(folder, tokens, batch, choose_precision(train.precision)) if phases else 0.0
    taken = sum(phase.seconds(a_row) for phase in phases)
    weights = sum(file.stat().st_size for file in weight_files(folder))
    trained = {phase.stage for phase in phases}
    needed = disk(names, dag, setup.params, weights, len(trained))
    yield ok(
        "estimate",
        f"roughly {_time(taken)} of training in {len(trained)} of {len(names)} stale stages, {_size(needed)} of disk "
        f"(measured: {a_row * 1e3:.1f} ms a row of {tokens} tokens, {len(names)} stages: {_some(names)}); "
        f"left out: {_left_out(names, phases)}",
    )
    yield from _room(setup, needed, f"about {_size(needed)}")


def _left_out(names: list[str], phases: list[Training]) -> str:
    """What the figure says nothing of."""
    trained = {phase.stage for phase in phases}
    others = list(dict.fromkeys(name.partition("@")[0] for name in names if name not in trained))
    unknown = [phase.key for phase in phases if phase.rows is None]
    out = [f"{', '.join(unknown)} (rows unknown until the data is prepared)"] if unknown else []
    return "; ".join([*out, *([f"all of {', '.join(others)}"] if others else []), "waiting for other stages"])


def _room(setup: Setup, needed: int, shown: str) -> Iterator[Finding]:
    """Of each disk that the project writes to."""
    folders = {existing_parent(path) for path in (setup.root, cache_folder(setup.root))}
    for folder in {path.stat().st_dev: path for path in sorted(folders, reverse=True)}.values():
        free = shutil.disk_usage(folder).free
        text = f"{_size(free)} free at {folder}" + (f", {shown} needed" if shown else "")
        if free < needed:
            yield fault("disk", text, "free some (dvc gc --workspace), or dvc cache dir on another disk")
        elif free < max(2 * needed, LITTLE):
            yield warning("disk", f"{text}: that is tight", "free some (dvc gc --workspace)")
        else:
            yield ok("disk", text)


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (", …" if len(names) > 4 else "")


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
