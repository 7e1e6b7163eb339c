from types import SimpleNamespace

import pytest
import torch
from transformers import TrainerCallback

from stillhouse.training.loop import fit
from stillhouse.training.schedules import Scheduled, linear


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
