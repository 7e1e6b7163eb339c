"""Programs of several machines find each other, and hear how the others ended."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from stillhouse.errors import InputError, Preempted
from tasks.stage import meeting
from tasks.stage.machines import Machine
from tasks.stage.meeting import Meeting
from tests.tasks.stage.two import free_port

SAME = {"stage": "tasks.finetune", "machines": "2", "processes": "1"}


def meet(*said: dict, wait: float = 20, port: int | None = None) -> list:
    """As many machines, which come at the same time; what each is, or raises."""
    port = port or free_port()
    parts = [
        Meeting(Machine(number, len(said), "127.0.0.1", port, False), wait, lambda: False)
        for number in range(len(said))
    ]

    def come(number: int) -> Meeting | Exception:
        try:
            parts[number].gather(said[number])
        except (InputError, ConnectionError) as error:
            parts[number].part(2, str(error))
            return error
        return parts[number]

    with ThreadPoolExecutor() as threads:
        return list(threads.map(come, range(len(said))))


def absent(number: int, wait: float = 1, asked: bool = False) -> Meeting:
    return Meeting(Machine(number, 2, "127.0.0.1", free_port(), False), wait, lambda: asked)


def test_three_machines_meet_and_part():
    parts = meet(SAME, SAME, SAME)
    assert all(part.ended() is None for part in parts)
    started = time.monotonic()
    for part in reversed(parts):  # the host last
        part.part(0, "")
    assert time.monotonic() - started < meeting.PARTING


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, r"machine 1 of 2 \(counted from 0\) did not come within 1 s: start it, or let more time for it"),
        (1, r"machine 0 \(127.0.0.1, port \d+\) did not answer within 1 s: start it, or let more time for it"),
    ],
)
def test_a_machine_that_does_not_come_ends_the_wait(number, said):
    started = time.monotonic()
    with pytest.raises(TimeoutError, match=said):
        absent(number).gather(SAME)
    assert time.monotonic() - started < 10


def test_sigterm_ends_the_wait():
    for number in (0, 1):
        with pytest.raises(Preempted, match="while waiting for other machines"):
            absent(number, wait=60, asked=True).gather(SAME)


def test_machines_that_were_asked_for_different_things_all_say_which():
    for found in meet(SAME, SAME | {"processes": "4"}):
        assert isinstance(found, InputError)
        assert str(found) == "machine 1 has processes = 4, machine 0 has 1: give both the same"


def test_a_port_that_is_taken_is_said():
    port = free_port()
    host, other = meet(SAME, SAME, port=port)
    with pytest.raises(InputError, match=f"MASTER_PORT = {port}: this machine cannot listen there"):
        Meeting(Machine(0, 2, "127.0.0.1", port, False), 1, lambda: False).gather(SAME)
    other.part(0, "")
    host.part(0, "")


@pytest.mark.parametrize("first", [0, 1])
def test_how_one_machine_ends_the_other_hears(first):
    parts = meet(SAME, SAME)
    with ThreadPoolExecutor() as threads:
        parting = threads.submit(parts[first].part, 2, "'data/task' is missing")
        assert parts[1 - first].word() == (2, f"machine {first} of 2 ended: 'data/task' is missing")
        parts[1 - first].part(2, "")
        parting.result()


def test_a_machine_that_comes_again_waits_until_machine_0_begins_anew():
    port = free_port()
    host, other = meet(SAME, SAME, port=port)
    other.part(75, "")
    with ThreadPoolExecutor() as threads:
        # Its store is still there: it has not yet heard what it is to say.
        again = Meeting(Machine(1, 2, "127.0.0.1", port, False), 20, lambda: False)
        coming = threads.submit(again.gather, SAME)
        time.sleep(1)
        assert not coming.done()
        host.part(75, "")
        del host  # its program ends, and the store with it
        anew = Meeting(Machine(0, 2, "127.0.0.1", port, False), 20, lambda: False)
        anew.gather(SAME)
        coming.result()
    assert anew.ended() is None and again.ended() is None
    again.part(0, "")
    anew.part(0, "")


def test_a_machine_that_has_done_its_part_is_not_missed(monkeypatch):
    monkeypatch.setattr(meeting, "BEAT", 0.2)
    monkeypatch.setattr(meeting, "SILENCE", 1.0)
    host, other = meet(SAME, SAME)
    other.part(0, "")
    time.sleep(2)
    assert host.ended() is None
    host.part(0, "")


def test_a_machine_that_falls_silent_is_given_up(monkeypatch):
    monkeypatch.setattr(meeting, "BEAT", 0.2)
    monkeypatch.setattr(meeting, "SILENCE", 1.0)
    monkeypatch.setattr(meeting, "PARTING", 3.0)
    host, other = meet(SAME, SAME)
    other.parted.set()  # its process is stopped, its connection open
    assert host.word() == (75, "machine 1 of 2 was not heard of for 1 s; run the same command again")
    host.part(75, "")
