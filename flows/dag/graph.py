"""The pipeline's graph and what in it is out of date, as DVC sees them. No Prefect here, no edge stated twice."""

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo, lock_repo
from dvc.stage import PipelineStage
from ruamel.yaml import YAML

from flows.dag import code, lockfile, remains
from stillhouse.errors import InputError
from tasks.tracking.provenance import LOCK

# It warns of every process that was killed while it held a lock, and then goes on.
logging.getLogger("dvc.rwlock").setLevel(logging.ERROR)
# DVC's locks tell processes apart, not threads.
_one_at_a_time = threading.Lock()
_refreshing = threading.Lock()


@dataclass(frozen=True)
class Stage:
    """A stage of dvc.yaml, the stages whose outputs it reads, and what it asks of the machine.

    Attributes:
        alone: `meta: {alone: true}` in dvc.yaml: what measures time would measure its neighbours.
        gpu: `meta: {gpu: true}`: it computes on a GPU where there is one.
    """

    name: str
    needs: tuple[str, ...]
    alone: bool = False
    gpu: bool = False


def load_graph(root: Path) -> tuple[Stage, ...]:
    """All stages of the project in `root`, each after what it needs.

    Raises:
        InputError: no DVC project, or DVC refuses its dvc.yaml.
    """
    with reading(root) as repo:
        try:
            graph = repo.index.graph
        except DvcException as error:
            raise _refused(root, error) from error
        return _ordered(
            Stage(
                stage.name,
                tuple(sorted(need.name for need in graph.successors(stage) if isinstance(need, PipelineStage))),
                *(bool((stage.meta or {}).get(what)) for what in ("alone", "gpu")),
            )
            for stage in graph
            if isinstance(stage, PipelineStage)
        )


def lineage(stages: Iterable[Stage], *targets: str) -> tuple[Stage, ...]:
    """The targets and all they need, each after what it needs.

    Raises:
        InputError: there is no such stage.
    """
    by_name = {stage.name: stage for stage in stages}
    wanted: dict[str, Stage] = {}
    ahead = list(targets)
    while ahead:
        name = ahead.pop()
        if name not in by_name:
            near = ", ".join(get_close_matches(name, by_name)) or "none that is near"
            raise InputError(f"stage '{name}' is not in dvc.yaml: it has {near}; `dvc stage list` shows all")
        if name not in wanted:
            wanted[name] = by_name[name]
            ahead += wanted[name].needs
    return _ordered(wanted.values())


def recipes(stages: Iterable[Stage]) -> tuple[str, ...]:
    """The slugs of all recipes: what has a report."""
    return tuple(stage.name.removeprefix("report@") for stage in stages if stage.name.startswith("report@"))


def known_recipe(recipe: str, there: Sequence[str]) -> str:
    """The slug, checked.

    Raises:
        InputError: it is not among these.
    """
    if recipe not in there:
        raise InputError(f"recipe = {recipe!r} is unknown: choose one of {', '.join(there)}")
    return recipe


def stale(root: Path, stages: Iterable[Stage], refresh: bool = True) -> set[str]:
    """The names of those stages that are out of date, or that come after one that is.

    Args:
        stages: each after what it needs, as `lineage` gives them.
        refresh: bring stage `code` up to date first. Where it is not, nothing is written, and after an edit all that
            comes after `code` counts as stale, which is all but `code` itself.

    Raises:
        InputError: stage `code` refuses params.yaml.
    """
    stages = tuple(stages)
    while True:
        found: set[str] = set()
        with reading(root) as repo:
            by_name = {stage.name: stage for stage in repo.index.stages if isinstance(stage, PipelineStage)}
            if not refresh or code.STAGE not in by_name or not _changed(by_name[code.STAGE]):
                for stage in stages:
                    if found.intersection(stage.needs) or _changed(by_name[stage.name]):
                        found.add(stage.name)
                return found
        with _refreshing:
            code.refresh(root)


def locked(root: Path, names: Iterable[str]) -> dict[str, Any]:
    """What dvc.lock says of these stages; of those that it does not know, nothing."""
    with reading(root):
        text = (root / LOCK).read_text(encoding="utf-8") if (root / LOCK).exists() else ""
    # The parser that DVC reads it with: the pure one takes two seconds for that of all recipes.
    known = (YAML(typ="safe").load(text) or {}).get("stages") or {}
    return {name: known[name] for name in names if name in known}


def mend(root: Path) -> bool:
    """Remove or restore what a kill or a full disk has left of DVC's files; whether there was anything."""
    with _mended(root) as (repo, restored):
        return remains.clear_run_cache(Path(repo.stage_cache.cache_dir)) or restored


def _changed(stage: PipelineStage) -> bool:
    try:
        return bool(stage.status(check_updates=True))
    except LockError:
        # Another process writes its inputs or outputs right now.
        return True


@contextmanager
def reading(root: Path) -> Iterator[Repo]:
    """DVC's view of the project, while no process writes dvc.lock. Raises as `_mended` does."""
    with _mended(root) as (repo, _):
        yield repo


@contextmanager
def _mended(root: Path) -> Iterator[tuple[Repo, bool]]:
    """DVC's view of the project, and whether dvc.lock was one that a kill had cut off.

    Raises:
        InputError: no DVC project, or DVC refuses its dvc.yaml or dvc.lock.
    """
    with _one_at_a_time, ExitStack() as opened:
        repo = opened.enter_context(_open(root))
        opened.enter_context(lock_repo(repo))
        remains.clear_in_use(Path(str(repo.tmp_dir)))
        fault = _fault(repo)
        if restored := lockfile.cut_off(root, fault):
            lockfile.restore(root)
            repo = opened.enter_context(_open(root))
        elif fault:
            raise _refused(root, fault) from fault
        else:
            lockfile.keep(root)
        yield repo, restored


def _fault(repo: Repo) -> DvcException | None:
    """What DVC says against dvc.yaml or dvc.lock."""
    try:
        _ = repo.index.stages
    except DvcException as error:
        return error
    return None


def _refused(root: Path, error: DvcException) -> InputError:
    return InputError(f"{root / 'dvc.yaml'}: {' '.join(str(error).split())}")


def _open(root: Path) -> Repo:
    try:
        return Repo(str(root), _wait_for_lock=True)
    except DvcException as error:
        raise InputError(f"{root}: not a DVC project ({' '.join(str(error).split())}): run from its folder") from error


def _ordered(stages: Iterable[Stage]) -> tuple[Stage, ...]:
    by_name = {stage.name: stage for stage in stages}
    done: dict[str, Stage] = {}

    def visit(name: str) -> None:
        if name not in done:
            for need in by_name[name].needs:
                visit(need)
            done[name] = by_name[name]

    for name in sorted(by_name):
        visit(name)
    return tuple(done.values())
