"""Ten steps of every method's every phase, in fp32: the loss of the card beside that of the CPU."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.gpu.setting import Row, Setting

CLOSE = 2e-3  # of the loss, after ten steps that each round differently
STEPS, BATCH = 10, 16
# What torch and transformers raise of tensors that do not go together: one phase's is none of the others'.
FAULTS = (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError, NotImplementedError)


def measure(setting: Setting) -> list[Row]:
    """A row a phase.

    Raises:
        RuntimeError: a phase failed, or its losses are apart.
    """
    with tempfile.TemporaryDirectory() as folder:
        both = [start(setting, place, Path(folder) / place) for place in ("cpu", "there")]
        for process in both:
            process.wait()
            if process.returncode:
                raise RuntimeError(f"the phases' process ended with {process.returncode}")
        cpu, there = (json.loads((Path(folder) / place).read_text()) for place in ("cpu", "there"))
    rows: list[Row] = []
    for name, one in cpu.items():
        other = there[name]
        apart = None if isinstance(one, str) or isinstance(other, str) else abs(one - other) / max(abs(one), 1e-12)
        verdict = "yes" if apart is not None and apart < CLOSE else "no"
        rows.append({"what": name, "CPU": one, "there": other, "apart": apart, "agrees": verdict})
    return rows


def start(setting: Setting, place: str, file: Path) -> Any:
    """A process that trains all phases, on the CPU or where the section runs, and writes its losses to a file."""
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if place == "cpu" else {}
    command = [sys.executable, "-m", __spec__.name, str(file), str(int(setting.tiny))]
    return subprocess.Popen(command, env={**os.environ, **hidden}, stdout=subprocess.DEVNULL)


def main() -> None:
    """Train each phase and write its mean loss, or what it failed of."""
    file, tiny = Path(sys.argv[1]), bool(int(sys.argv[2]))
    from stillhouse.training import batches

    batches.MULTIPLE = 8  # before anyone has read it: masks are drawn for padding too, so it is the same everywhere
    from benchmarks.gpu import scene
    from benchmarks.gpu.phases import PHASES, Size

    size = Size(scene.TINY if tiny else scene.SMALL, tokens=16 if tiny else 64, count=STEPS * BATCH)
    losses: dict[str, float | str] = {}
    for name in PHASES:
        try:
            losses[name] = trained(name, size)
        except FAULTS as error:
            losses[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    file.write_text(json.dumps(losses), encoding="utf-8")


def trained(name: str, size: Any) -> float:
    """The mean loss of a phase's ten steps."""
    from benchmarks.gpu.phases import fresh
    from stillhouse.training.batches import collator
    from stillhouse.training.loop import fit

    phase = fresh(name, size)
    with tempfile.TemporaryDirectory() as folder:
        result = fit(
            phase.model, phase.step, phase.rows, collator(0), epochs=1, max_steps=STEPS, batch_size=BATCH,
            learning_rate=1e-4, seed=0, checkpoints=Path(folder), checkpoint_steps=10**6, precision="fp32",
            callbacks=phase.callbacks,
        )  # fmt: skip
    return result.loss


if __name__ == "__main__":
    main()
