"""The trials of a search: which chain is next, and what came of those before, in a database that outlives a kill.

Optuna's TPE sampler proposes. It is made anew for each proposal, with a seed of the search's and the proposal's
number, so what it proposes hangs on the trials before alone, and a search that was killed goes on as if it had not
been.

Chains are proposed in rounds: those that are to be trained wait until their round is whole, and what came of them is
told when all of them are trained, in the order of their numbers. So the sampler never sees which of them ended first.
A proposal of which nothing was decided when its process died is marked as failed, which the sampler does not look at,
and made again; one that waits goes on waiting.
"""

import hashlib
import importlib.util
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flows.search.space import SearchParams, Value, in_space
from stillhouse.errors import InputError
from tasks.stage.outside import value_at

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.samplers import TPESampler
    from optuna.storages import RDBStorage

STORAGE = "STILLHOUSE_SEARCH_STORAGE"  # a database by URL; else SQLite in the search's folder
# Of a trial, in its user attributes.
OUTCOME = "outcome"
FORESEEN = "foreseen"  # of one that waits for its round: an outcome without a score


@dataclass(frozen=True)
class Outcome:
    """What came of a proposal.

    Args:
        over: by what share it exceeds each limit of the budget, foreseen.
        onnx_bytes, ms, flops: foreseen; of a trained one its own. None where the recipe refuses such numbers.
        value: its score on validation on the first rung; None where it was not trained.
        kept: that as a share of the teacher's.
        refused: what the recipe says against such numbers; empty where nothing.
        same_as: the number of the proposal that was the same chain.
    """

    over: dict[str, float]
    onnx_bytes: int | None = None
    ms: float | None = None
    flops: int | None = None
    value: float | None = None
    kept: float | None = None
    refused: str = ""
    same_as: int | None = None


@dataclass(frozen=True)
class Proposal:
    """A chain: its number, counted from 0, its recipe, and the values of its parameters by their dotted names."""

    number: int
    recipe: str
    values: dict[str, Value]


@dataclass
class _Waiting:
    """A chain that waits for its round to end: as Optuna knows it, what was foreseen, and what came of it."""

    trial: "Trial"
    proposal: Proposal
    foreseen: Outcome
    outcome: Outcome | None = None


class Trials:
    """All of one search.

    Args:
        name: of the search.
        folder: where its SQLite database is, unless STILLHOUSE_SEARCH_STORAGE names another.
        params: the block `search`.
        tree: of params.yaml, whose own values are each recipe's first proposal.

    Raises:
        InputError: Optuna is not installed, or STILLHOUSE_SEARCH_STORAGE is no URL of a database.
        ConnectionError: the database cannot be reached.
    """

    def __init__(self, name: str, folder: Path, params: SearchParams, tree: Mapping[str, Any]) -> None:
        self.params, self.tree = params, tree
        self.study = open_study(name, folder)
        self.finished: list[tuple[Proposal, Outcome]] = []  # in the order of their numbers
        self._waiting: list[_Waiting] = []
        self._trial: Trial | None = None
        self._read()

    @property
    def waiting(self) -> list[Proposal]:
        """Those of this round that are to be trained, whether or not they are by now."""
        return [each.proposal for each in self._waiting if each.foreseen.same_as is None]

    @property
    def untrained(self) -> list[Proposal]:
        """Those of this round that are to be trained still."""
        return [each.proposal for each in self._waiting if each.foreseen.same_as is None and not each.outcome]

    @property
    def proposed(self) -> int:
        """How many chains there are so far."""
        return len(self.finished) + len(self._waiting)

    def propose(self) -> Proposal:
        """The next chain, of which `tell` or `wait` must say what becomes of it before another is asked for."""
        from optuna.trial import TrialState

        number = self.proposed
        self.study.sampler = self._sampler(number)
        recipes = list(self.params.space)
        waiting = (TrialState.WAITING,)
        if number < len(recipes) and not self.study.get_trials(deepcopy=False, states=waiting):
            self.study.enqueue_trial(self._own(recipes[number]))
        self._trial = self.study.ask()
        recipe = str(self._trial.suggest_categorical("recipe", recipes))
        values = {name: self._value(recipe, name) for name in self.params.space[recipe]}
        proposal = Proposal(number, recipe, values)
        self._trial.set_user_attr("proposal", asdict(proposal))
        return proposal

    def tell(self, proposal: Proposal, outcome: Outcome) -> None:
        """What came of the chain that was proposed last: it is not trained."""
        assert self._trial is not None
        self._tell(self._trial, proposal, outcome)
        self._trial = None

    def wait(self, proposal: Proposal, foreseen: Outcome) -> None:
        """The chain that was proposed last is to be trained, or is the same as one that is, and waits for its round."""
        assert self._trial is not None
        self._trial.set_user_attr(FORESEEN, asdict(foreseen))
        self._waiting.append(_Waiting(self._trial, proposal, foreseen))
        self._trial = None

    def keep_first(self, number: int, value: float, kept: float, onnx_bytes: int, ms: float) -> None:
        """Keep what was found of a chain that waits; the sampler is told when its round ends."""
        (each,) = [each for each in self._waiting if each.proposal.number == number]
        each.outcome = replace(each.foreseen, value=value, kept=kept, onnx_bytes=onnx_bytes, ms=ms)
        each.trial.set_user_attr(OUTCOME, asdict(each.outcome))

    def end_round(self) -> None:
        """Tell the sampler what came of all that wait, which are trained by now."""
        known = {each.proposal.number: each.outcome for each in self._waiting}
        while self._waiting:
            each = self._waiting[0]
            same_as = each.foreseen.same_as
            outcome = each.outcome if same_as is None else known[same_as]
            assert outcome is not None
            self._tell(each.trial, each.proposal, replace(outcome, same_as=same_as))
            self._waiting.pop(0)

    def earlier(self, proposal: Proposal) -> tuple[int, Outcome | None] | None:
        """The number of the same chain before, if there was one, and its outcome, which one that waits has not yet."""
        chain = (proposal.recipe, proposal.values)
        for other, outcome in self.finished:
            if outcome.same_as is None and (other.recipe, other.values) == chain:
                return other.number, outcome
        same = [each.number for each in self.waiting if (each.recipe, each.values) == chain]
        return (same[0], None) if same else None

    def on_rung(self, rung: int) -> dict[int, dict[str, Any]]:
        """What was found on a later rung, by the number of the proposal."""
        prefix = f"rung {rung} of "
        attributes = self.study.user_attrs.items()
        return {int(key.removeprefix(prefix)): found for key, found in attributes if key.startswith(prefix)}

    def keep(self, rung: int, number: int, found: dict[str, Any]) -> None:
        """Keep what was found on a later rung."""
        self.study.set_user_attr(f"rung {rung} of {number}", found)

    def _tell(self, trial: "Trial", proposal: Proposal, outcome: Outcome) -> None:
        trial.set_user_attr(OUTCOME, asdict(outcome))
        for limit, over in {**outcome.over, "possible": float(bool(outcome.refused))}.items():
            trial.set_constraint(limit, over)
        # FLOPs for time: they are the same on every run.
        told = (outcome.value or 0.0, float(outcome.onnx_bytes or 0), float(outcome.flops or 0))
        self.study.tell(trial, told)
        self.finished.append((proposal, outcome))
        self.finished.sort(key=lambda each: each[0].number)

    def _sampler(self, number: int) -> "TPESampler":
        from optuna.samplers import TPESampler

        return TPESampler(
            seed=_seed(self.params.seed, number),
            # The sampler would count those that are told, fewer while some wait: here the number says what is random.
            n_startup_trials=number + 1 if number < self.params.startup else 1,
            multivariate=False,
            constant_liar=True,  # those that wait count as bad ones, so that a round's differ
        )

    def _own(self, recipe: str) -> dict[str, Any]:
        """What params.yaml says itself, as far as it lies in the space."""
        space = self.params.space[recipe]
        own = {name: value_at(self.tree, name) for name in space}
        fitting = {f"{recipe} {name}": value for name, value in own.items() if in_space(space[name], value)}
        return {"recipe": recipe} | fitting

    def _value(self, recipe: str, name: str) -> Value:
        assert self._trial is not None
        what, label = self.params.space[recipe][name], f"{recipe} {name}"
        if isinstance(what, list):
            return self._trial.suggest_categorical(label, what)
        if what.whole:
            return self._trial.suggest_int(label, int(what.low), int(what.high), step=int(what.step or 1), log=what.log)
        drawn = self._trial.suggest_float(label, what.low, what.high, step=what.step, log=what.log)
        return float(f"{drawn:.4g}")  # more digits decide nothing, and are not pleasant to read

    def _read(self) -> None:
        """The finished ones, and those that wait; what was under way otherwise is marked as failed."""
        from optuna.trial import Trial, TrialState

        self.study.sampler = self._sampler(0)  # not Optuna's own choice, which keeps notes on what is told
        for each in self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.RUNNING)):
            known = {key: Outcome(**each.user_attrs[key]) for key in (FORESEEN, OUTCOME) if key in each.user_attrs}
            if each.state == TrialState.COMPLETE:
                self.finished.append((Proposal(**each.user_attrs["proposal"]), known[OUTCOME]))
            elif FORESEEN in known:
                trial = Trial(self.study, each._trial_id)  # for which Optuna has no public name
                proposal = Proposal(**each.user_attrs["proposal"])
                self._waiting.append(_Waiting(trial, proposal, known[FORESEEN], known.get(OUTCOME)))
            else:
                self.study.tell(each.number, state=TrialState.FAIL)


def require_optuna() -> None:
    """Raise where Optuna is missing.

    Raises:
        InputError: it is not installed.
    """
    if importlib.util.find_spec("optuna") is None:
        raise InputError("Optuna is not installed: pip install -c constraints.txt -e '.[pipeline,search]'")


def open_study(name: str, folder: Path) -> "Study":
    """The study of this name, made if there is none yet. Raises as `Trials` does."""
    require_optuna()
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name=name,
        storage=_storage(os.environ.get(STORAGE) or f"sqlite:///{folder.resolve()}/study.db"),
        directions=["maximize", "minimize", "minimize"],
        load_if_exists=True,
    )


def _storage(url: str) -> "RDBStorage":
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

    parts = urlsplit(url)
    shown = f"{parts.scheme}://{parts.hostname or ''}{parts.path}"  # without user and password
    try:
        return RDBStorage(url)
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError):
        raise InputError(
            f"{STORAGE} = '{shown}' is no database that can be used here: give postgresql+psycopg://user:password@host/name"
        ) from None
    except SQLAlchemyError as error:
        raise ConnectionError(f"{STORAGE}: {shown} cannot be reached ({type(error).__name__})") from None


def _seed(seed: int, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {number}".encode()).digest()[:4])
