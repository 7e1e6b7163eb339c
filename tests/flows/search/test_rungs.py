"""The rungs of a search: its trials are the same whatever ends first, side by side or not, and after a stop."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from flows.search.budget import Budget
from flows.search.foresight import Costs
from flows.search.rungs import first_rung, later_rungs
from flows.search.space import SearchParams
from flows.search.study import Proposal, Trials
from flows.search.trial import Result
from stillhouse.errors import InputError

SPACE = {
    "hinton": {"hinton.distill.layers": [1, 2, 3, 4], "hinton.distill.alpha": {"low": 0.1, "high": 0.9, "step": 0.1}}
}
BLOCK = {
    "trials": 8,
    "proposals": 60,
    "rungs": 2,
    "reduction": 4,
    "at_once": 3,
    "startup": 4,
    "seed": 5,
    "space": SPACE,
}
TREE = {"hinton": {"distill": {"layers": 2, "alpha": 0.7}}}
BUDGET = Budget(onnx_bytes=350)  # which four layers exceed
Chains = list[tuple[int, dict]]


@dataclass
class Runner:
    """Trains nothing: what comes out hangs on a chain's values, and `before` says how long it takes."""

    folders: list[Path]
    before: Callable[[Proposal], None]
    asked: list[dict] = field(default_factory=list)
    began: list[tuple[int, int]] = field(default_factory=list)

    def foreseen(self, proposal: Proposal) -> Path:
        self.asked.append(proposal.values)
        return Path("none")

    def costs(self, recipe: str, params: Path) -> Costs:
        layers = self.asked[-1]["hinton.distill.layers"]
        return Costs(100 * layers, 1.0, 1000 * layers)

    def train(self, proposal: Proposal, rung: int, share: float, folder: Path) -> Result:
        self.began.append((proposal.number, rung))
        self.before(proposal)
        layers, alpha = proposal.values.values()
        value = 0.1 * layers + 0.5 * alpha + 0.01 * rung
        return Result(value, value / 2, 100 * layers, 1.0)


def search(folder: Path, places: int, before: Callable[[Proposal], None], **changes) -> tuple[Chains, dict, Runner]:
    """All that was proposed with what came of it, and what the last rung found."""
    trials = Trials("toy", folder, SearchParams.model_validate(BLOCK | changes), TREE)
    runner = Runner([Path(str(place)) for place in range(places)], before)
    first_rung(trials, runner, runner.costs, BUDGET)  # type: ignore[arg-type]
    results = later_rungs(trials, runner)  # type: ignore[arg-type]
    chains = [(each.number, each.values | {"told": (came.value, came.same_as)}) for each, came in trials.finished]
    return chains, results, runner


def at_once(proposal: Proposal) -> None:
    pass


def the_first_last(proposal: Proposal) -> None:
    time.sleep(0.3 if proposal.number % 3 == 0 else 0.0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Chains, dict]:
    chains, results, _ = search(tmp_path_factory.mktemp("whole"), 1, at_once)
    return chains, results


def test_side_by_side_the_trials_and_their_results_are_those_of_one_after_the_other(whole, tmp_path):
    chains, results, runner = search(tmp_path, 3, the_first_last)
    assert (chains, results) == whole
    assert len([number for number, rung in runner.began if rung == 0]) == 8 and len(results) == 2
    assert any(each["told"][0] is None for _, each in chains), "some exceed the budget"


@pytest.mark.parametrize("places", [1, 3])
def test_a_search_that_stops_within_a_round_goes_on_with_the_same_trials_and_trains_none_again(whole, tmp_path, places):
    stops = {2, 6}
    trained: list[int] = []

    def stop(proposal: Proposal) -> None:
        the_first_last(proposal)
        if proposal.number in stops:
            stops.remove(proposal.number)
            raise InputError("stopped")
        trained.append(proposal.number)

    for _ in range(2):
        with pytest.raises(InputError, match="stopped"):
            search(tmp_path, places, stop)
    chains, results, _ = search(tmp_path, places, stop)
    assert (chains, results) == whole
    values = [each["told"] for _, each in chains]
    assert len(trained) == sum(value is not None and same_as is None for value, same_as in values) + len(results)


def test_more_trials_go_on_where_fewer_had_ended(whole, tmp_path):
    search(tmp_path, 1, at_once, trials=3)
    assert search(tmp_path, 1, at_once)[0] == whole[0]
