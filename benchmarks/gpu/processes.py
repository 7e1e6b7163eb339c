"""Two processes on one card, as two stages of a pipeline would be: what each loses, and that both train alike."""

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from benchmarks.gpu.bert import Work
from benchmarks.gpu.setting import Row, Setting
from stillhouse.training.attention import quick_attention

barrier: Any = None  # of a process that takes part


def measure(setting: Setting) -> list[Row]:
    """One alone, then two at once."""
    rows: list[Row] = []
    losses = []
    for count in (1, 2):
        context = get_context("spawn")
        with ProcessPoolExecutor(count, context, initializer=begin, initargs=(context.Barrier(count),)) as pool:
            found = [each.result() for each in [pool.submit(train, setting) for _ in range(count)]]
        rates, ends, memory = zip(*found, strict=True)
        losses += ends
        rows.append(
            {
                "what": f"{count} process{'es' if count > 1 else ''}",
                "samples/s together": round(sum(rates), 1),
                "samples/s each": ", ".join(f"{rate:.1f}" for rate in rates),
                "GiB each": memory[0],
                "loss each": ", ".join(f"{loss:.6f}" for loss in ends),
            }
        )
    if max(losses) - min(losses) > 0.01 * abs(losses[0]):
        raise RuntimeError(f"the same training ended in different losses: {losses}")
    return rows


def begin(shared: Any) -> None:
    """What each process is given at its start."""
    global barrier
    barrier = shared


def train(setting: Setting) -> tuple[float, float, float | None]:
    """Samples/s over a few seconds that all processes spend together, the loss after the first steps, GiB."""
    work = Work.of(setting)
    training = work.training(setting)
    with quick_attention(training.model):
        for _ in range(3):
            loss = training()
        first = float(loss)
        barrier.wait(120)
        began, steps = time.perf_counter(), 0
        while time.perf_counter() - began < (0.2 if setting.tiny else 6):
            training()
            steps += 1
            setting.wait()
        seconds = time.perf_counter() - began
        barrier.wait(120)
    return steps * work.batch / seconds, first, setting.peak_memory()
