"""The trainings of checks: small, independent of each other, the result of each a file.

Those that miss are made, in any order and by several processes, after any kill: what is there is whole. Commands that
run beside each other on one folder share the work.
"""

import importlib
import logging
import pkgutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path

import torch
from filelock import Timeout

import benchmarks.claims
from benchmarks.claims import Claim
from benchmarks.held_out import Task, read_task
from benchmarks.lab import Lab
from benchmarks.set_up import SetUp
from stillhouse.training.threads import usable_cores


@dataclass(frozen=True)
class Setting:
    """What all checks of a command have in common.

    Args:
        data: folder of the task.
        test: rows of it to hold out and judge on; 0: dev.tsv.
        teacher: an encoder before fine-tuning.
        corpus: for methods that train on one.
        work: where results are kept.
        rows, epochs: in place of the checks' own, for a try; None: theirs.
    """

    data: Path
    test: int
    teacher: Path
    corpus: Path | None
    work: Path
    rows: int | None = None
    epochs: float | None = None


@dataclass(frozen=True)
class Training:
    """One variant of a check, with one seed."""

    slug: str
    variant: str
    seed: int

    @property
    def name(self) -> str:
        """What its outcome is called."""
        return f"{self.slug}/{self.variant}-{self.seed}"


def slugs() -> list[str]:
    """Of all claims."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(benchmarks.claims.__path__))


def load_claim(slug: str) -> Claim:
    """The claim of a slug."""
    return importlib.import_module(f"benchmarks.claims.{slug.replace('-', '_')}").CLAIM


def trainings(chosen: Sequence[str], seeds: Sequence[int]) -> list[Training]:
    """Of some claims, a seed of all before the next."""
    return [Training(slug, variant, seed) for seed in seeds for slug in chosen for variant in load_claim(slug).variants]


@cache
def lab_of(setting: Setting, slug: str) -> Lab:
    """A claim's lab."""
    set_up = set_up_of(setting, load_claim(slug))
    return Lab(_task(setting.data, setting.test), setting.teacher, setting.corpus, setting.work, set_up)


def set_up_of(setting: Setting, claim: Claim) -> SetUp:
    """The claim's own, with what the command changes in it."""
    chosen = claim.set_up
    if setting.rows is not None:
        chosen = replace(chosen, rows=setting.rows, teacher_rows=setting.rows)
    if setting.epochs is not None:
        chosen = replace(chosen, numbers=replace(chosen.numbers, epochs=setting.epochs))
    return chosen


def make_all(setting: Setting, wanted: Sequence[Training], jobs: int) -> None:
    """Make those that miss; what another command is making comes last, and is waited for.

    Raises:
        Exception: what a training raised, once the others are made.
    """
    ahead = [each for each in wanted if not lab_of(setting, each.slug).has(each.name)]
    print(f"{len(wanted) - len(ahead)} of {len(wanted)} trainings are made", flush=True)
    if jobs == 1 or len(ahead) < 2:
        busy = [each for each in ahead if not make(setting, False, each)]
        for each in busy:
            make(setting, True, each)
        return
    threads = max(1, usable_cores() // jobs)
    with ProcessPoolExecutor(jobs, get_context("spawn"), torch.set_num_threads, (threads,)) as pool:
        made = zip(ahead, pool.map(partial(make, setting, False), ahead), strict=True)
        for _ in pool.map(partial(make, setting, True), _missed(made)):
            pass


def make(setting: Setting, wait: bool, training: Training) -> bool:
    """Make one; False if another process is at it, and that is not waited for."""
    logging.disable(logging.INFO)
    lab = lab_of(setting, training.slug)
    variant = load_claim(training.slug).variants[training.variant]
    try:
        lab.outcome(training.name, partial(variant, lab, training.seed), wait)
    except Timeout:
        return False
    return True


def _missed(made: Iterator[tuple[Training, bool]]) -> list[Training]:
    return [training for training, done in made if not done]


@cache
def _task(folder: Path, test: int) -> Task:
    return read_task(folder, test)
