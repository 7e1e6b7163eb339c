"""BERT-base of random weights teaches its even layers, at 128 tokens: Hinton's loss, the teacher in the step."""

import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn
from transformers import TrainerCallback

from benchmarks.gpu import scene
from benchmarks.gpu.bare import Training, measured, operations, with_share
from benchmarks.gpu.phases import live_step
from benchmarks.gpu.scene import Shape
from benchmarks.gpu.setting import Row, Setting, waits
from benchmarks.rows import Rows
from stillhouse.encoders.student import build_student
from stillhouse.training.attention import quick_attention
from stillhouse.training.batches import collate, collator
from stillhouse.training.loop import fit
from stillhouse.training.step import Step


@dataclass(frozen=True)
class Work:
    """The work of this section: shapes, rows, steps."""

    shape: Shape = scene.BERT_BASE
    tokens: int = 128
    batch: int = 64
    steps: int = 60
    first: int = 20  # steps before the clock runs

    @staticmethod
    def of(setting: Setting) -> "Work":
        return Work(scene.TINY, tokens=16, batch=4, steps=6, first=2) if setting.tiny else Work()

    def models(self) -> tuple[Any, Any]:
        """Teacher and student."""
        teacher = scene.classifier(self.shape, dropout=0.1)
        layers = self.shape.layers // 2
        return teacher, build_student(
            teacher, layers=layers, source_layers=[2 * (n + 1) for n in range(layers)], seed=0
        )

    def rows(self, count: int) -> Rows:
        """Most are as long as they may be, some are shorter."""
        lengths = [self.tokens] * 3 + [self.tokens * 3 // 4]
        return scene.rows(count, lengths, self.shape.vocabulary, columns=False)

    def training(self, setting: Setting, capturable: bool = False) -> Training:
        teacher, student = self.models()
        made = Training(setting, student, live_step(teacher), collate(self.rows(self.batch), 0), capturable)
        made.teacher = teacher
        return made


def measure(setting: Setting) -> list[Row]:
    """The step by itself, with transformers' attention and with ours, and through `fit`."""
    work = Work.of(setting)
    training = work.training(setting)
    flops = operations(training)
    rows = [measured(setting, "step, transformers' SDPA", training)]
    training = work.training(setting)
    with quick_attention(training.model):
        rows.append(measured(setting, "step", training))
    rows.append(through_fit(setting, work))
    return with_share(setting, rows, flops, work.batch)


def through_fit(setting: Setting, work: Work) -> Row:
    """The loop itself: rows from memory, padded and sent as they are needed."""
    teacher, student = work.models()
    clock = Clock(setting, work.first, work.steps)
    with tempfile.TemporaryDirectory() as folder:
        train(student, live_step(teacher), work, clock, Path(folder))
    return {
        "what": "fit",
        "samples/s": round(clock.steps * work.batch / clock.seconds, 1),
        "ms a step": round(1000 * clock.seconds / clock.steps, 2),
        "waits": round(len(clock.found) / max(clock.watched, 1), 2) if setting.card else None,
        "where": ", ".join(sorted(set(clock.found))[:3]) or None,
    }


def train(model: nn.Module, step: Step, work: Work, clock: "Clock", folder: Path) -> None:
    """`fit` for the steps of the work."""
    fit(
        model, step, work.rows(work.batch * work.steps), collator(0), epochs=1, batch_size=work.batch,
        learning_rate=1e-5, seed=0, checkpoints=folder, checkpoint_steps=10**6, callbacks=[clock],
    )  # fmt: skip


class Clock(TrainerCallback):
    """Times the steps after the first ones, and notes what a few of the first ones wait for.

    Args:
        first: steps before the clock runs.
        last: the last step of all.
    """

    def __init__(self, setting: Setting, first: int, last: int) -> None:
        self.setting, self.first, self.last = setting, first, last
        self.steps, self.seconds = last - first, 0.0
        self.watching: Any = nullcontext([])
        self.found: list[str] = []
        # fit looks at the losses at every 20th step: not among these. The first ones move and load.
        self.watch = (first // 2, first - 1)
        self.watched = self.watch[1] - self.watch[0]

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        begin, end = self.watch
        if state.global_step == begin and end > begin:
            self.watching = waits(self.setting)
            self.found = self.watching.__enter__()
        if state.global_step == end and end > begin:
            self.watching.__exit__(None, None, None)
        if state.global_step == self.first:
            self.setting.wait()
            self.began = time.perf_counter()
        if state.global_step == self.last:
            self.setting.wait()
            self.seconds = time.perf_counter() - self.began
