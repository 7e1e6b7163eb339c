"""How the programs of several machines find each other, and learn how the others ended.

Machine 0 hosts a store of torch's (TCPStore), or its launcher does. There each says what it was asked to run, that it
is alive, and at last how it left. A machine that dies says nothing: the others notice that its beat has stopped.
"""

import json
import math
import socket
import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta

from torch.distributed import DistError, PrefixStore, Store, TCPStore

from stillhouse.errors import InputError, Preempted
from tasks.stage.machines import Machine
from tasks.stage.program import EXIT_TRANSIENT

BEAT = 1.0  # seconds between two signs of life
SILENCE = 60.0  # seconds without one after which a machine is given up
PARTING = 15.0  # seconds in which those that left are heard, before the store goes
ASK_AGAIN = 0.2
Word = tuple[int, str]  # exit code, line

AGAIN = "run the same command again"


class Meeting:
    """One machine's part of it.

    Args:
        machine: this one.
        wait: seconds for all others to come.
        asked: whether this program was asked to end.
    """

    def __init__(self, machine: Machine, wait: float, asked: Callable[[], bool]) -> None:
        self.machine = machine
        self.deadline = time.monotonic() + wait
        self.wait = wait
        self.asked = asked
        self.store: Store | None = None
        self.others = [number for number in range(machine.count) if number != machine.number]
        self.left: dict[int, Word] = {}  # of the others
        self.heard = time.monotonic()  # when the store last answered
        self.trouble: Word | None = None  # what ends this machine's part
        self.parted = threading.Event()
        self.watcher = threading.Thread(target=self._watch, daemon=True)

    def gather(self, said: Mapping[str, str]) -> None:
        """Wait for all machines, and see that all were asked for the same.

        Args:
            said: what must be the same, by name.

        Raises:
            InputError: it is not, or the port is taken.
            TimeoutError: not all came in time.
            ConnectionError: one has left already.
            Preempted: this program was asked to end.
        """
        while True:
            try:
                self.store = self._gather(said)
                break
            except DistError:
                self._pause("machine 0 went away, and did not come back")
        self.heard = time.monotonic()
        self.watcher.start()

    def _gather(self, said: Mapping[str, str]) -> Store:
        store, ours = self._open(), f"here/{self.machine.number}"
        while store.check([ours]):
            # Machine 0 has not yet left the run before, in which this one took part.
            self._pause("machine 0 did not begin anew")
            store = self._open()
        store.set(ours, json.dumps(dict(said)))
        self.store = store
        while True:
            # In this order: whoever leaves once all have come has compared what they say, as we shall.
            gone = [number for number in self.others if store.check([f"left/{number}"])]
            missing = [number for number in self.others if not store.check([f"here/{number}"])]
            if not missing:
                break
            names = ", ".join(map(str, missing))
            if gone:
                raise ConnectionError(f"machine {gone[0]} left while machine {names} was waited for")
            self._pause(f"machine {names} of {self.machine.count} (counted from 0) did not come within {self.wait:g} s")
        everyone = [json.loads(store.get(f"here/{number}")) for number in range(self.machine.count)]
        for number, theirs in enumerate(everyone):
            for name, value in everyone[0].items():
                if theirs[name] != value:
                    raise InputError(
                        f"machine {number} has {name} = {theirs[name]}, machine 0 has {value}: give both the same"
                    )
        return store

    def ended(self) -> Word | None:
        """How another machine ended, or that it, or the way to it, is gone; None while all is well."""
        if self.trouble is None and time.monotonic() - self.heard > SILENCE:
            self.trouble = self._silent(0)
        return self.trouble

    def word(self) -> Word | None:
        """The same, waiting for it a little: whoever is left alone notices before it is told why."""
        deadline = time.monotonic() + PARTING
        while self.ended() is None and time.monotonic() < deadline:
            time.sleep(ASK_AGAIN)
        return self.trouble

    def part(self, code: int, message: str) -> None:
        """Say how this machine's part ended; the host of the store stays a little, until the others have parted too."""
        self.parted.set()
        if self.store is None:
            return  # nobody was met
        if self.watcher.is_alive():
            self.watcher.join(PARTING)
        try:
            self.store.set(f"left/{self.machine.number}", json.dumps([code, message]))
            deadline = time.monotonic() + PARTING
            while self._hosts and time.monotonic() < deadline:
                if all(self.store.check([f"left/{number}"]) for number in self.others):
                    break
                time.sleep(ASK_AGAIN)
        except DistError:
            return  # nobody is there to be told

    def _open(self) -> Store:
        return PrefixStore("stillhouse", self._host() if self._hosts else self._find())

    @property
    def _hosts(self) -> bool:
        return self.machine.number == 0 and not self.machine.hosted

    def _host(self) -> Store:
        try:
            return TCPStore(
                "localhost",
                self.machine.port,
                is_master=True,
                wait_for_workers=False,
                timeout=timedelta(seconds=SILENCE),
            )
        except DistError as error:
            raise InputError(
                f"MASTER_PORT = {self.machine.port}: this machine cannot listen there ({str(error)[:120]}): "
                "give another port to all machines"
            ) from None

    def _find(self) -> Store:
        address, port = self.machine.address, self.machine.port
        absent = f"machine 0 ({address}, port {port}) did not answer within {self.wait:g} s"
        while True:
            try:
                # torch would ask as well, and write a line for each attempt.
                socket.create_connection((address, port), timeout=5).close()
                return TCPStore(address, port, is_master=False, timeout=timedelta(seconds=SILENCE))
            except (OSError, DistError):
                self._pause(absent)

    def _pause(self, absent: str) -> None:
        if self.asked():
            raise Preempted("asked to end (SIGTERM) while waiting for other machines")
        if time.monotonic() > self.deadline:
            raise TimeoutError(f"{absent}: start it, or let more time for it (STILLHOUSE_MACHINES_WAIT)")
        time.sleep(ASK_AGAIN)

    def _watch(self) -> None:
        """In a thread of its own, as the store of a machine that is gone may not answer for long."""
        beats: dict[int, tuple[bytes, float]] = {}
        number = 0
        store = self.store
        assert store is not None, "watched once all have met"
        while not self.parted.wait(BEAT) and self.trouble is None:
            number += 1
            try:
                store.set(f"beat/{self.machine.number}", str(number))
                for other in self.others:
                    self._look(store, other, beats)
            except DistError:
                # One that has done its part leaves, and the store with it.
                if 0 in self.left:
                    self.heard = math.inf
                else:
                    self.trouble = self._gone(0)
                return
            self.heard = time.monotonic()

    def _look(self, store: Store, other: int, beats: dict[int, tuple[bytes, float]]) -> None:
        if other in self.left:
            return
        if store.check([f"left/{other}"]):
            code, message = json.loads(store.get(f"left/{other}"))
            self.left[other] = code, message
            if code:
                said = message or "with a fault of the program: its own output says which"
                self.trouble = code, f"machine {other} of {self.machine.count} ended: {said}"
            return
        beat = store.get(f"beat/{other}") if store.check([f"beat/{other}"]) else b""
        before, since = beats.get(other, (None, 0.0))
        if beat != before:
            beats[other] = beat, time.monotonic()
        elif time.monotonic() - since > SILENCE:
            self.trouble = self._silent(other)

    def _silent(self, other: int) -> Word:
        return EXIT_TRANSIENT, f"machine {other} of {self.machine.count} was not heard of for {SILENCE:g} s; {AGAIN}"

    def _gone(self, other: int) -> Word:
        return EXIT_TRANSIENT, f"machine {other} of {self.machine.count} is gone: was it stopped? {AGAIN}"
