"""A stage on several machines: each program starts the copies of its own machine, and all end together.

`tasks.stage.machines` says which machine this is, `tasks.stage.meeting` what the others do. The copies meet in the same
store, as torchrun's do; gloo or NCCL carries what they exchange.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from tasks.stage import copies, program
from tasks.stage.interface import interface_to
from tasks.stage.machines import Machine, patience
from tasks.stage.meeting import AGAIN, Meeting, Word
from tasks.stage.program import EXIT_FAULT, EXIT_TRANSIENT

GRACE = 10.0  # seconds that copies have to leave by themselves once another has
POLL = 0.2


def launch(module: str, words: list[str], number: int, machine: Machine) -> None:
    """Run a program in so many processes on each machine; where they do not end well, end as they do.

    Raises:
        InputError: the variable for the time to wait is no number.
    """
    said = {"stage": " ".join([module, *words]), "machines": str(machine.count), "processes": str(number)}
    with (
        copies.folder_of_copies() as folder,
        copies.asked_to_end(lambda: copies.ask_all(folder)) as asked,
        _quiet(folder / "torch"),
    ):
        meeting = Meeting(machine, patience(), asked.is_set)
        ended: Word = EXIT_TRANSIENT, f"it was stopped; {AGAIN}"  # what the others hear of Ctrl-C
        try:
            ended = program.ending(lambda: meeting.gather(said)) or Copies(module, words, number, folder).train(
                meeting, asked
            )
        finally:
            meeting.part(*ended)
    code, message = ended
    if code and message:
        program.leave(code, message)
    if code:
        raise SystemExit(code)


@contextmanager
def _quiet(file: Path) -> Iterator[None]:
    """Within it, stderr goes to a file: torch's store prints 30 lines there when the other end has left."""
    sys.stderr.flush()
    before = os.dup(2)
    with file.open("wb") as quiet:
        os.dup2(quiet.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(before, 2)
        os.close(before)


class Copies:
    """The processes of one machine.

    Args:
        module: what each runs, with its words.
        number: how many.
        folder: where they say how they left.
    """

    def __init__(self, module: str, words: list[str], number: int, folder: Path) -> None:
        self.command = [sys.executable, "-m", module, *words]
        self.number = number
        self.folder = folder
        self.said = folder / "stderr"  # before they have begun

    def train(self, meeting: Meeting, asked: Event) -> Word:
        """Start them, and wait for their end; exit code 0 is a good one."""
        machine = meeting.machine
        if machine.number:
            print(f"machine {machine.number} of {machine.count}: it trains, machine 0 writes and speaks", flush=True)
        with self.said.open("wb") as errors:
            started = [
                subprocess.Popen(
                    self.command,
                    env=copies.environment(self.folder, self.number, **variables(local, self.number, machine)),
                    stderr=errors,
                    # What is sent to the whole group, to stop a stage, goes to the copies by way of us.
                    start_new_session=True,
                )
                for local in range(self.number)
            ]
        try:
            self._wait(started, meeting, asked)
            codes = [copy.poll() for copy in started]
        finally:
            for copy in started:
                if copy.poll() is None:
                    copy.kill()
                copy.wait()
        if codes == [0] * self.number:
            return 0, ""
        return self._ending(codes, meeting, asked.is_set())

    def _wait(self, started: list[subprocess.Popen], meeting: Meeting, asked: Event) -> None:
        """Until all have left, or one of any machine has and the rest had time to follow."""
        deadline = None
        while any(copy.poll() is None for copy in started):
            time.sleep(POLL)
            if asked.is_set() and self._begun() < self.number:
                for copy in started:  # no file says yet whom to ask
                    copy.terminate()
            if deadline is None and (any(copy.poll() for copy in started) or meeting.ended()):
                deadline = time.monotonic() + GRACE
            if deadline and time.monotonic() > deadline:
                return

    def _ending(self, codes: list[int | None], meeting: Meeting, asked: bool) -> Word:
        """What ended them: one of them, another machine, or the network.

        Args:
            codes: their exit codes; None of those that had to be killed at last.
        """
        left = copies.reports(self.folder)
        own = [report for report in left if not report["lost"]]
        if any(report["code"] != EXIT_FAULT for report in own):
            return copies.ending(own, self.number)
        if asked:
            return EXIT_TRANSIENT, f"asked to end (SIGTERM); {AGAIN}"
        if own:
            return EXIT_FAULT, ""
        if any(code is not None and code < 0 for code in codes):
            return EXIT_TRANSIENT, f"one of {self.number} processes was killed; {AGAIN}"
        if self._begun() < self.number and meeting.ended() is None:
            print(self.said.read_text(encoding="utf-8", errors="replace"), flush=True)
            return EXIT_FAULT, ""
        if other := meeting.word():
            return other
        why = next((report["message"] for report in left), "no word of why")
        return EXIT_TRANSIENT, f"the connection to another machine broke: was it stopped? ({why}); {AGAIN}"

    def _begun(self) -> int:
        return len(list(self.folder.glob("*.pid")))


def variables(local: int, number: int, machine: Machine) -> dict[str, str]:
    """What makes a process one of several for torch and accelerate.

    Args:
        local: which of this machine.
        number: of processes on each machine.
    """
    own = {
        "RANK": machine.number * number + local,
        "WORLD_SIZE": machine.count * number,
        "LOCAL_RANK": local,
        "LOCAL_WORLD_SIZE": number,
        "GROUP_RANK": machine.number,
        "GROUP_WORLD_SIZE": machine.count,
        "MASTER_ADDR": "localhost" if machine.number == 0 and not machine.hosted else machine.address,
        "MASTER_PORT": machine.port,
        "TORCHELASTIC_USE_AGENT_STORE": True,  # no process opens a store of its own
        "ACCELERATE_MIXED_PRECISION": "no",
        "ACCELERATE_DYNAMO_BACKEND": "no",
    }
    if interface := interface_to(machine.address, machine.port):
        # gloo would take what this machine's own name says, which on many is loopback.
        own |= {"GLOO_SOCKET_IFNAME": interface, "NCCL_SOCKET_IFNAME": f"={interface}"}
    return {name: str(value) for name, value in own.items()}
