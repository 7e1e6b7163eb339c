"""The trials of a search: the same ones on every run, and after a kill."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flows.search import study
from flows.search.space import SearchParams
from flows.search.study import Outcome, Proposal, Trials
from stillhouse.errors import InputError

SPACE = {
    "hinton": {
        "hinton.distill.student.layers": [1, 2, 3],
        "hinton.distill.alpha": {"low": 0.1, "high": 0.9, "step": 0.1},
        "hinton.distill.phase.learning_rate": {"low": 1e-5, "high": 1e-3, "log": True},
    },
    "smallest": {
        "smallest.factorize.ranks.embedding": {"low": 16, "high": 64, "step": 16},
        "smallest.factorize.source": ["a", None],
    },
}
BLOCK = {
    "trials": 9,
    "proposals": 40,
    "rungs": 2,
    "reduction": 3,
    "at_once": 1,
    "startup": 3,
    "seed": 5,
    "space": SPACE,
}
TREE = {
    "hinton": {"distill": {"student": {"layers": 2}, "alpha": 0.7, "phase": {"learning_rate": 1e-4}}},
    "smallest": {"factorize": {"ranks": {"embedding": 100}, "source": "a"}},
}


def trials(folder: Path, **changes) -> Trials:
    return Trials("toy", folder, SearchParams.model_validate(BLOCK | changes), TREE)


def outcome(proposal: Proposal) -> Outcome:
    """Something that hangs on the values alone."""
    size = 100 + sum(ord(letter) for letter in str(sorted(proposal.values.items(), key=str))) % 100
    if size > 180:
        return Outcome({"bytes": 0.5}, size, 1.0, size)
    return Outcome({"bytes": -0.1}, size, 1.0, size, value=size / 200, kept=size / 190)


def go_on(of: Trials, count: int) -> list[tuple[str, dict]]:
    while len(of.finished) < count:
        proposal = of.propose()
        of.tell(proposal, outcome(proposal))
    return [(proposal.recipe, proposal.values) for proposal, _ in of.finished]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> list[tuple[str, dict]]:
    return go_on(trials(tmp_path_factory.mktemp("whole")), 9)


def test_two_searches_of_one_seed_propose_the_same_and_another_seed_others(whole, tmp_path):
    (tmp_path / "again").mkdir()
    assert go_on(trials(tmp_path / "again"), 9) == whole
    (tmp_path / "other").mkdir()
    assert go_on(trials(tmp_path / "other", seed=6), 5) != whole[:5]


def test_the_first_proposals_are_what_params_yaml_says_as_far_as_it_is_in_the_space(whole):
    assert whole[0] == ("hinton", dict(zip(SPACE["hinton"], (2, 0.7, 1e-4), strict=True)))
    recipe, values = whole[1]
    assert recipe == "smallest" and values["smallest.factorize.source"] == "a"
    assert values["smallest.factorize.ranks.embedding"] in (16, 32, 48, 64)


def test_a_search_that_was_left_between_proposing_and_telling_goes_on_as_if_it_had_not_been(whole, tmp_path):
    for count in (0, 1, 4):
        of = trials(tmp_path)
        go_on(of, count)
        of.propose()
    assert go_on(trials(tmp_path), 9) == whole


def test_in_a_round_the_same_chain_again_waits_for_the_first_and_has_its_outcome(tmp_path):
    of = trials(tmp_path)
    first = of.propose()
    of.wait(first, Outcome({"bytes": -0.1}, 100, 1.0, 100))
    second = of.propose()
    assert of.earlier(Proposal(second.number, first.recipe, first.values)) == (0, None)
    of.wait(second, Outcome({}, same_as=0))
    assert [each.number for each in of.untrained] == [0] and of.proposed == 2
    of = trials(tmp_path)  # as after a kill
    of.keep_first(0, value=0.5, kept=0.6, onnx_bytes=101, ms=1.1)
    of = trials(tmp_path)
    assert of.untrained == [] and len(of.waiting) == 1 and of.finished == []
    of.end_round()
    told = [(outcome.value, outcome.onnx_bytes, outcome.same_as) for _, outcome in of.finished]
    assert told == [(0.5, 101, None), (0.5, 101, 0)] and trials(tmp_path).finished == of.finished


def test_what_a_later_rung_found_is_kept(tmp_path):
    of = trials(tmp_path)
    of.keep(1, 4, {"value": 0.5})
    of.keep(2, 4, {"value": 0.6})
    assert trials(tmp_path).on_rung(1) == {4: {"value": 0.5}} and trials(tmp_path).on_rung(3) == {}


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.flows.search.test_study import go_on, trials
of = trials(Path(sys.argv[1]))
go_on(of, 5)
of.propose()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_after_kill_9_the_same_trials_come_and_finished_ones_stay(whole, tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False, cwd=Path(__file__).parents[3])
    assert done.returncode == -signal.SIGKILL
    of = trials(tmp_path)
    assert [(proposal.recipe, proposal.values) for proposal, _ in of.finished] == whole[:5]
    assert go_on(of, 9) == whole


def test_the_same_chain_again_is_known(tmp_path):
    of = trials(tmp_path)
    go_on(of, 2)
    proposal, told = of.finished[1]
    assert of.earlier(Proposal(7, proposal.recipe, dict(proposal.values))) == (1, told)
    assert of.earlier(Proposal(7, "hinton", dict(proposal.values))) is None


def test_without_optuna_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(study.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"Optuna is not installed: pip install"):
        trials(tmp_path)


@pytest.mark.parametrize(
    ("url", "error", "said"),
    [
        ("nonsense", InputError, "is no database"),
        ("oracle9://u:secret@h/x", InputError, "is no database"),
        ("postgresql+psycopg://u:secret@127.0.0.1:9/x", ConnectionError, "cannot be reached"),
        ("sqlite:////nowhere/at/all.db", ConnectionError, "cannot be reached"),
    ],
)
def test_a_database_that_cannot_be_used_is_named_without_its_password(tmp_path, monkeypatch, url, error, said):
    monkeypatch.setenv("STILLHOUSE_SEARCH_STORAGE", url)
    with pytest.raises(error, match=said) as raised:
        trials(tmp_path)
    assert "secret" not in str(raised.value) and os.linesep not in str(raised.value)
