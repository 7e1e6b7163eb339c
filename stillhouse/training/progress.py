"""Progress of a training run: a plain line every few seconds, readable in a terminal, a log and a CI page alike."""

import time
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback

Log = Callable[[int, dict[str, float]], None]

REPORT_SECONDS = 5.0


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
        self.began = self.reported = time.monotonic()
        self.samples_a_step = args.train_batch_size * args.gradient_accumulation_steps * args.world_size

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        now = time.monotonic()
        if now - self.reported < REPORT_SECONDS and state.global_step < state.max_steps:
            return
        self.reported = now
        self.steps = state.global_step
        self.rate = (self.steps - self.first_step) * self.samples_a_step / (now - self.began)
        terms = self.drain()
        self.loss = terms["loss"]
        if self.log is not None:
            self.log(self.steps, {**terms, "samples_per_second": self.rate, "epoch": state.epoch})
        if state.is_world_process_zero:
            left = round((state.max_steps - self.steps) * self.samples_a_step / self.rate)
            losses = "  ".join(f"{name} {value:.4f}" for name, value in terms.items())
            print(
                f"step {self.steps}/{state.max_steps}  {losses}  {self.rate:.0f} samples/s"
                f"  {left // 60}:{left % 60:02d} left",
                flush=True,
            )
