"""fp16 with its scaler, through `fit`: whether training is that of fp32, and how often the scaler left a step out."""

import tempfile
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from benchmarks.gpu import scene
from benchmarks.gpu.phases import Size, fresh
from benchmarks.gpu.setting import NotHereError, Row, Setting
from stillhouse.training.batches import collator
from stillhouse.training.loop import fit

PHASES = ("hinton.task", "tinybert.states", "int8.task", "minilm.corpus")
CLOSE = 0.02  # of the loss


def measure(setting: Setting) -> list[Row]:
    """A row a phase and precision."""
    if not setting.card:
        raise NotHereError("fp16 with a scaler needs a card")
    size = Size(scene.TINY if setting.tiny else scene.SMALL, tokens=32, count=320)
    rows: list[Row] = []
    for name in PHASES:
        exact, _, _ = trained(name, size, "fp32")
        loss, scale, steps = trained(name, size, "fp16")
        off = abs(loss - exact) / abs(exact)
        rows.append(
            {
                "what": name,
                "loss in fp32": exact,
                "loss in fp16": loss,
                "off": off,
                "scale": scale,
                "steps taken": steps,
            }
        )
        if not off < CLOSE:
            raise RuntimeError(f"{name}: the loss in fp16 is {loss}, in fp32 {exact}")
    return rows


def trained(name: str, size: Size, precision: str) -> tuple[float, float | None, str | None]:
    """The mean loss of the last steps, the scaler's scale at the end, and how many of the steps the optimizer took."""
    phase, scaler = fresh(name, size), Scaler()
    with tempfile.TemporaryDirectory() as folder:
        result = fit(
            phase.model, phase.step, phase.rows, collator(0), epochs=1, batch_size=16, learning_rate=1e-4, seed=0,
            checkpoints=Path(folder), checkpoint_steps=10**6, precision=precision,
            callbacks=[*phase.callbacks, scaler],
        )  # fmt: skip
    return result.loss, scaler.scale, scaler.taken and f"{scaler.taken} of {result.steps}"


class Scaler(TrainerCallback):
    """Reads the gradient scaler's scale at the end, and the optimizer's own count of its steps."""

    def __init__(self) -> None:
        self.scale: float | None = None
        self.taken: int | None = None

    def on_train_end(self, args: Any, state: Any, control: Any, *, optimizer: Any = None, **_: Any) -> None:
        scaler = getattr(optimizer, "scaler", None)
        if scaler is not None:
            self.scale = scaler.get_scale()
            counts = [int(each["step"]) for each in optimizer.state.values() if "step" in each]
            self.taken = max(counts, default=0)
