"""Progress of work that takes long: a plain line every few seconds, for terminals, logs and CI pages alike."""

import time
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback

Log = Callable[[int, dict[str, float]], None]

REPORT_SECONDS = 5.0


class Meter:
    """Says when a line of progress is due, and prints it with the time that is left.

    Args:
        total: units of work in all, such as steps or rows.
        skipped: how many of them an earlier run has done; they do not count for the speed.
        now: a clock, in seconds.
    """

    def __init__(self, total: int, skipped: int = 0, now: Callable[[], float] = time.monotonic) -> None:
        self.total = total
        self.skipped = self.done = skipped
        self.rate = 0.0  # units/s
        self.now = now
        self.began = self.reported = now()

    def skip(self, units: int) -> None:
        """Take note of units that an earlier run has done."""
        self.skipped += units

    def reached(self, done: int) -> bool:
        """Whether a line is due, every few seconds and at the end, now that `done` units are done, skipped ones too."""
        now = self.now()
        if now - self.reported < REPORT_SECONDS and done < self.total:
            return False
        self.reported, self.done = now, done
        self.rate = (done - self.skipped) / max(now - self.began, 1e-9)
        return True

    def print(self, text: str) -> None:
        """Print a line that is due, and the time left."""
        left = round((self.total - self.done) / self.rate)
        print(f"{text}  {left // 60}:{left % 60:02d} left", flush=True)


class Progress(TrainerCallback):
    """Prints the step, the mean losses since the last line, the speed and the time left, and hands them to `log`.

    Args:
        drain: gives the mean of each loss term since its last call.
        log: takes the step and the numbers, or None.
    """

    def __init__(self, drain: Callable[[], dict[str, float]], log: Log | None) -> None:
        self.drain = drain
        self.log = log
        self.steps = self.first_step = 0
        self.loss = float("nan")
        self.rate = 0.0  # samples/s

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.steps = self.first_step = state.global_step
        self.meter = Meter(state.max_steps, state.global_step)
        self.samples_a_step = args.train_batch_size * args.gradient_accumulation_steps * args.world_size

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not self.meter.reached(state.global_step):
            return
        self.steps = state.global_step
        self.rate = self.meter.rate * self.samples_a_step
        terms = self.drain()
        self.loss = terms["loss"]
        if self.log is not None:
            self.log(self.steps, {**terms, "samples_per_second": self.rate, "epoch": state.epoch})
        if state.is_world_process_zero:
            losses = "  ".join(f"{name} {value:.4f}" for name, value in terms.items())
            self.meter.print(f"step {self.steps}/{state.max_steps}  {losses}  {self.rate:.0f} samples/s")
