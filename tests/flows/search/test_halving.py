"""Successive halving: how many passes on which rung, and who goes on."""

import pytest

from flows.search.halving import fewer_passes, promoted, share_of


def test_each_rung_has_eta_times_the_passes_of_the_one_before_and_the_last_has_all():
    assert [share_of(rung, 3, 3) for rung in range(3)] == pytest.approx([1 / 9, 1 / 3, 1])
    assert share_of(0, 1, 3) == 1


def test_one_in_eta_goes_on_rounded_up_the_smaller_of_equally_good_ones_first():
    values = {0: (0.9, 5.0), 1: (0.8, 1.0), 2: (0.9, 4.0), 3: (0.95, 9.0)}
    assert promoted(values, 2) == [2, 3]
    assert promoted(values, 4) == [3]
    assert promoted(values, 3) == [2, 3]
    assert promoted({7: (0.1, 1.0)}, 3) == [7]
    assert promoted({}, 3) == []


def test_fewer_passes_of_every_phase_of_the_blocks_that_are_named():
    tree = {
        "a": {"one": {"phase": {"epochs": 3, "seed": 1}}, "two": {"deep": {"phase": {"epochs": 0.5}}, "phase": None}},
        "b": {"one": {"phase": {"epochs": 6}}},
    }
    assert fewer_passes(tree, ["a"], 1 / 3) == {"a.one.phase.epochs": 1.0, "a.two.deep.phase.epochs": 0.166667}
    assert fewer_passes(tree, ["a", "b"], 1.0) == {}
