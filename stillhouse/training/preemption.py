"""On SIGTERM, which comes before a machine is taken away, training ends with a checkpoint of the step it is at."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import TrainerCallback

from stillhouse.errors import Preempted
from stillhouse.training import processes

ASKED_EVERY = 10  # steps, of several processes on GPUs


class StopsWhenAsked(TrainerCallback):
    """Saves and ends the run after the step in which `asked` became true."""

    def __init__(self) -> None:
        self.asked = False
        self.step = 0  # after which the run was ended

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        # A GPU is not made to wait at every step until all processes have answered.
        if processes.count() > 1 and args.device.type != "cpu" and state.global_step % ASKED_EVERY:
            return
        if processes.any_of(self.asked, args.device) and state.global_step < state.max_steps:
            control.should_save = control.should_training_stop = True
            self.step = state.global_step


@contextmanager
def preemptible() -> Iterator[StopsWhenAsked]:
    """Within it, SIGTERM asks the callback that it gives to stop, instead of ending the process.

    Only a process's main thread can be told of signals; elsewhere SIGTERM does what it did.

    Raises:
        Preempted: at the end, if the run was stopped so.
    """
    stops = StopsWhenAsked()

    def ask(*_: Any) -> None:
        stops.asked = True

    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, ask) if main else None
    try:
        yield stops
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)
    if stops.step:
        raise Preempted(f"asked to end (SIGTERM): stopped with a checkpoint at step {stops.step}")
