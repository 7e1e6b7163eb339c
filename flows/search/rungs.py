"""The rungs of a search: chains are proposed and trained round after round, and those that do well with more passes."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from flows.search.budget import Budget, excess, fits
from flows.search.foresight import Costs
from flows.search.halving import promoted, share_of
from flows.search.study import Outcome, Proposal, Trials
from flows.search.together import together
from flows.search.trial import Result, Runner
from stillhouse.errors import InputError

Foresee = Callable[[str, Path], Costs]  # `Foresight.costs`


def first_rung(trials: Trials, runner: Runner, foresee: Foresee, budget: Budget) -> None:
    """Propose chains, a round's before any of them is trained, until enough were trained on the first rung.

    Raises:
        InputError: all that were proposed are too large or too slow.
    """
    params = trials.params
    share = share_of(0, params.rungs, params.reduction)

    def trained() -> int:
        return sum(outcome.value is not None and outcome.same_as is None for _, outcome in trials.finished)

    def keep(proposal: Proposal, result: Result) -> None:
        print(f"trial {proposal.number}: {shown(result)} after {share:.0%} of the passes", flush=True)
        trials.keep_first(proposal.number, **asdict(result))

    while True:
        room = min(params.at_once - trained() % params.at_once, params.trials - trained())
        while len(trials.waiting) < room and trials.proposed < params.proposals:
            _propose(trials, runner, foresee, budget)
        if not trials.waiting:
            break
        _train(runner, trials.untrained, 0, share, keep)
        trials.end_round()
    if not trained():
        raise InputError(_nearest_shape(trials, budget))


def later_rungs(trials: Trials, runner: Runner) -> dict[int, Result]:
    """Train those that go on with more passes, rung after rung; what the last rung found, by the proposal's number."""
    params = trials.params
    proposals = {proposal.number: proposal for proposal, _ in trials.finished}
    results = {
        proposal.number: Result(outcome.value, outcome.kept or 0.0, outcome.onnx_bytes or 0, outcome.ms or 0.0)
        for proposal, outcome in trials.finished
        if outcome.value is not None and outcome.same_as is None
    }
    for rung in range(1, params.rungs):
        chosen = promoted({number: (each.value, each.onnx_bytes) for number, each in results.items()}, params.reduction)
        share = share_of(rung, params.rungs, params.reduction)

        def keep(proposal: Proposal, result: Result, rung: int = rung, share: float = share) -> None:
            print(f"trial {proposal.number}: {shown(result)} after {share:.0%} of the passes", flush=True)
            trials.keep(rung, proposal.number, asdict(result))

        known = trials.on_rung(rung)
        _train(runner, [proposals[number] for number in chosen if number not in known], rung, share, keep)
        results = {number: Result(**trials.on_rung(rung)[number]) for number in chosen}
    return results


def described(proposal: Proposal) -> str:
    """A chain in a line."""
    values = ", ".join(f"{name.removeprefix(proposal.recipe + '.')} {value}" for name, value in proposal.values.items())
    return f"{proposal.recipe} ({values})"


def shown(result: Result) -> str:
    """A result in a line."""
    return f"{result.kept:.2%} kept, {result.onnx_bytes / 1e6:.2f} MB, {result.ms:.2f} ms"


def _train(
    runner: Runner, proposals: Sequence[Proposal], rung: int, share: float, keep: Callable[[Proposal, Result], None]
) -> None:
    def train(proposal: Proposal, folder: Path) -> Result:
        return runner.train(proposal, rung, share, folder)

    together(train, proposals, runner.folders, keep)


def _propose(trials: Trials, runner: Runner, foresee: Foresee, budget: Budget) -> None:
    """The next chain: refused, known, or one that waits to be trained."""
    proposal = trials.propose()
    if earlier := trials.earlier(proposal):
        number, outcome = earlier
        if outcome:
            trials.tell(proposal, Outcome(**asdict(outcome) | {"same_as": number}))
        else:
            trials.wait(proposal, Outcome({}, same_as=number))
        return
    try:
        costs = foresee(proposal.recipe, runner.foreseen(proposal))
    except InputError as error:
        print(f"trial {proposal.number}: {described(proposal)}: refused: {error}", flush=True)
        trials.tell(proposal, Outcome(dict.fromkeys(excess(budget, 1, 1), 1.0), refused=str(error)))
        return
    over = excess(budget, costs.onnx_bytes, costs.ms)
    foreseen = Outcome(over, costs.onnx_bytes, costs.ms, costs.flops)
    if not fits(over):
        trials.tell(proposal, foreseen)
        return
    print(
        f"trial {proposal.number}: {described(proposal)}: {costs.onnx_bytes / 1e6:.2f} MB, {costs.ms:.2f} ms foreseen",
        flush=True,
    )
    trials.wait(proposal, foreseen)


def _nearest_shape(trials: Trials, budget: Budget) -> str:
    built = [
        (max(outcome.over.values(), default=0.0), proposal.number)
        for proposal, outcome in trials.finished
        if outcome.flops
    ]
    tried = f"none of {len(trials.finished)} chains of search.space meets {budget}, so nothing was trained"
    if not built:
        return f"{tried}: {trials.finished[-1][1].refused}"
    proposal, outcome = trials.finished[min(built)[1]]
    assert outcome.onnx_bytes is not None and outcome.ms is not None
    return (
        f"{tried}; the nearest is {described(proposal)}: {outcome.onnx_bytes / 1e6:.2f} MB, {outcome.ms:.2f} ms: "
        "ask for less, or widen search.space"
    )
