"""One training step by itself, without the loop: what the card makes of a model, a loss and an optimizer."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu.setting import Row, Setting, kernels, matrix_peak, seconds_a_call, waits
from stillhouse.training.batches import Batch
from stillhouse.training.step import Step


class Training:
    """Trains a model on one batch over and over, as `fit` would: autocast, clipping, fused AdamW.

    Args:
        setting: where.
        model: moved there.
        step: gives the loss.
        batch: moved there, (B, L).
        capturable: whether the optimizer can be part of a CUDA graph.
    """

    def __init__(self, setting: Setting, model: nn.Module, step: Step, batch: Batch, capturable: bool = False) -> None:
        self.setting, self.step = setting, step
        self.model = model.train().to(setting.device)
        self.batch = {name: tensor.to(setting.device) for name, tensor in batch.items()}
        self.weights = [weight for weight in model.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(self.weights, lr=1e-5, fused=True, capturable=capturable)
        self.capturable = capturable
        self.teacher: nn.Module | None = None  # for whoever compiles it

    def loss(self) -> Tensor:
        """Of the batch; the sum of the step's terms."""
        # In a graph the casts of weights must not be those that were cached before it was captured.
        with torch.autocast(self.setting.device, dtype=self.setting.half, cache_enabled=not self.capturable):
            terms = self.step(self.model, self.batch)
            return terms if isinstance(terms, Tensor) else torch.stack([term.float() for term in terms.values()]).sum()

    def __call__(self) -> Tensor:
        """Take a step; gives its loss."""
        loss = self.loss()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0, foreach=True)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=not self.capturable)
        return loss.detach()


def measured(setting: Setting, what: str, training: Training, call: Callable[[], Any] | None = None) -> Row:
    """A row of the table of a training's step.

    Args:
        call: what takes a step in its place, such as the replay of a graph.
    """
    step = call or training
    warmup, calls = (2, 2) if setting.tiny else (10, 30)
    step()  # a compiled one, compiles
    setting.forget()
    seconds = seconds_a_call(setting, step, warmup=warmup, calls=calls, rounds=1 if setting.tiny else 3)
    memory = setting.peak_memory()
    with waits(setting) as found:
        step()
    return {
        "what": what,
        "samples/s": round(len(training.batch["input_ids"]) / seconds, 1),
        "ms a step": round(1000 * seconds, 2),
        "kernels": kernels(setting, step),
        "GiB": memory,
        "waits": len(found) if setting.card else None,
        "where": ", ".join(sorted(set(found))[:3]) or None,
    }


def with_share(setting: Setting, rows: list[Row], work: int, samples: int) -> list[Row]:
    """The rows, each with its share of the measured peak.

    Args:
        work: floating point operations of a step.
        samples: of a step.
    """
    assert setting.half is not None
    peak = matrix_peak(setting, setting.half)
    for row in rows:
        reached = work * row["samples/s"] / samples / 1e12
        row["TFLOP/s"], row["% of peak"] = round(reached, 2), round(100 * reached / peak, 1)
    return rows


def operations(training: Training) -> int:
    """Floating point operations of a step, forward and backward, teacher and student: products alone."""
    counter = FlopCounterMode(display=False)
    with counter:
        training.loss().backward()
    training.optimizer.zero_grad()
    return counter.get_total_flops()
