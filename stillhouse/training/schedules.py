"""Numbers that change while `fit` trains: a method's step reads them, a callback sets them; and the learning rate's."""

from bisect import bisect_right
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


def first_steps(steps: int, parts: int) -> list[int]:
    """The step that each of `parts` equal parts of `steps` begins with, counted from 0."""
    return [part * steps // parts for part in range(parts)]


def rise_and_fall(steps: int, parts: int, warmup: Callable[[int], int]) -> Callable[[int], float]:
    """The share of the peak learning rate by step, from 0: in each part alone what `fit` has over a whole training.

    A part of n steps, w of them warm-up, has t/w in its steps t < w, then (n − t)/(n − w).

    Args:
        steps: of the whole training.
        parts: how many equal parts it has.
        warmup: w by n.
    """
    firsts = [*first_steps(steps, parts), steps]

    def share(step: int) -> float:
        if step >= steps:
            return 0.0  # asked after the last step
        part = bisect_right(firsts, step) - 1
        length, done = firsts[part + 1] - firsts[part], step - firsts[part]
        warm = warmup(length)
        return done / warm if done < warm else (length - done) / (length - warm)

    return share


def linear(start: float, end: float) -> Callable[[float], float]:
    """From `start` to `end`, linearly over the whole training."""
    return lambda done: start + (end - start) * done
