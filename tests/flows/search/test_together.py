"""Work side by side: one item at a time in a place, and a failure ends what has not begun."""

import threading
import time
from pathlib import Path

import pytest

from flows.search import together as module
from flows.search.together import together

PLACES = [Path("one"), Path("two")]


def test_two_items_are_worked_on_at_once_and_never_two_in_one_place():
    meeting = threading.Barrier(2, timeout=20)
    busy: set[Path] = set()
    made: dict[int, Path] = {}

    def work(item: int, place: Path) -> Path:
        assert place not in busy
        busy.add(place)
        meeting.wait()
        busy.remove(place)
        return place

    together(work, range(4), PLACES, made.__setitem__)
    assert sorted(made) == [0, 1, 2, 3] and set(made.values()) == set(PLACES)


@pytest.mark.parametrize("places", [PLACES, PLACES[:1]])
def test_what_failed_is_raised_and_what_had_begun_is_kept(places):
    made: dict[int, int] = {}

    def work(item: int, place: Path) -> int:
        if item == 1:
            raise ValueError("item 1")
        time.sleep(0.2)
        return item

    with pytest.raises(ValueError, match="item 1"):
        together(work, range(50), places, made.__setitem__)
    assert 0 in made and len(made) < 5


def test_a_stop_ends_what_runs(monkeypatch):
    stopped = threading.Event()
    monkeypatch.setattr(module, "stop_all", stopped.set)

    def work(item: int, place: Path) -> int:
        assert item == 0 or stopped.wait(20)
        return item

    def interrupted(item: int, made: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        together(work, range(2), PLACES, interrupted)
