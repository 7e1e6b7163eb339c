import math
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from torch.optim import SGD
from transformers import TrainerCallback, get_linear_schedule_with_warmup

from stillhouse.training.loop import fit
from stillhouse.training.schedules import Scheduled, first_steps, linear, rise_and_fall


def tenth(steps: int) -> int:
    return math.ceil(0.1 * steps)


def test_a_linear_schedule_has_both_ends_and_the_middle():
    at = linear(4.0, 1.0)
    assert (at(0.0), at(0.5), at(1.0)) == (4.0, 2.5, 1.0)


def test_the_value_follows_the_steps_done_and_starts_at_the_beginning():
    number = Scheduled(linear(4.0, 1.0))
    assert number.value == 4.0
    number.on_step_begin(None, SimpleNamespace(global_step=6, max_steps=12), None)
    assert number.value == 2.5


@pytest.mark.parametrize("stop", [None, 3, 5])
def test_every_step_of_a_run_sees_its_value_interrupted_or_not(tmp_path, stop):
    class StopAt(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            if state.global_step == stop:
                raise KeyboardInterrupt

    def run(callbacks):
        number, seen = Scheduled(linear(8.0, 0.0)), []

        def step(model, batch):
            seen.append(number.value)
            return model(batch["x"]).square().mean()

        rows = [{"x": torch.ones(2)}] * 8
        numbers = {"epochs": 1, "batch_size": 1, "learning_rate": 1e-3, "seed": 0, "precision": "fp32"}
        try:
            fit(
                torch.nn.Linear(2, 1),
                step,
                rows,
                lambda batch: {"x": torch.stack([row["x"] for row in batch])},
                checkpoints=tmp_path,
                checkpoint_steps=2,
                callbacks=[number, *callbacks],
                **numbers,
            )
        except KeyboardInterrupt:
            return [*seen[: (stop - 1) // 2 * 2], *run([])]
        return seen

    assert run([StopAt()]) == [8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]


@pytest.mark.parametrize("steps", [1, 7, 20, 47])
def test_in_one_part_the_rate_is_transformers_linear_schedule(steps):
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs, ours = get_linear_schedule_with_warmup(optimizer, tenth(steps), steps), rise_and_fall(steps, 1, tenth)
    for step in range(steps + 1):
        assert ours(step) == theirs.get_last_lr()[0]
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize(("steps", "parts"), [(20, 2), (22, 4), (9, 9), (188, 4)])
def test_each_part_has_the_schedule_of_a_training_of_its_own_length(steps, parts):
    share, firsts = rise_and_fall(steps, parts, tenth), [*first_steps(steps, parts), steps]
    for first, after in pairwise(firsts):
        alone = rise_and_fall(after - first, 1, tenth)
        assert [share(step) for step in range(first, after)] == [alone(step) for step in range(after - first)]


def test_the_rate_of_two_parts_step_by_step():
    share = rise_and_fall(10, 2, lambda steps: 1)
    assert [share(step) for step in range(11)] == [0, 1, 0.75, 0.5, 0.25, 0, 1, 0.75, 0.5, 0.25, 0]


def rates(folder, parts, stop=None):
    """The learning rate in each of 8 steps, of which a checkpoint is kept every second one."""
    seen = []

    class Watch(TrainerCallback):
        def on_step_begin(self, args, state, control, optimizer, **_):
            seen.append((state.global_step, optimizer.param_groups[0]["lr"]))

        def on_step_end(self, args, state, control, **_):
            if state.global_step == stop:
                raise KeyboardInterrupt

    fit(
        torch.nn.Linear(2, 1), lambda model, batch: model(batch["x"]).square().mean(), [{"x": torch.ones(2)}] * 8,
        lambda batch: {"x": torch.stack([row["x"] for row in batch])},
        epochs=1, batch_size=1, learning_rate=0.5, seed=0, precision="fp32", parts=parts,
        checkpoints=folder, checkpoint_steps=2, callbacks=[Watch()],
    )  # fmt: skip
    return seen


def test_a_training_of_two_parts_has_its_rates_interrupted_or_not(tmp_path):
    whole = rates(tmp_path / "whole", 2)
    assert [step for step, _ in whole] == list(range(8))
    assert [rate for _, rate in whole] == pytest.approx([0, 1 / 2, 1 / 3, 1 / 6] * 2)
    for stop in (3, 5):
        folder = tmp_path / str(stop)
        with pytest.raises(KeyboardInterrupt):
            rates(folder, 2, stop)
        assert rates(folder, 2) == whole[(stop - 1) // 2 * 2 :]
