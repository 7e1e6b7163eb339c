"""Numbers that change while `fit` trains: a method's step reads them, a callback sets them."""

from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback


class Scheduled(TrainerCallback):
    """A number that follows the course of training alone, so a resumed run has it too.

    `value` is `at(t/T)` in the step that follows t of T optimizer steps.

    Args:
        at: the number by the share of training that is done, in [0, 1).
    """

    def __init__(self, at: Callable[[float], float]) -> None:
        self.at = at
        self.value = at(0.0)

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.value = self.at(state.global_step / state.max_steps)


def linear(start: float, end: float) -> Callable[[float], float]:
    """From `start` to `end`, linearly over the whole training."""
    return lambda done: start + (end - start) * done
