"""A training that is killed (SIGKILL) and goes on from its checkpoint: whether it ends with an undisturbed one's bytes.

Some of a card's sums have no fixed order, so two undisturbed runs are compared as well: a resumed run can be no closer.
"""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from benchmarks.gpu import scene
from benchmarks.gpu.phases import Size, fresh
from benchmarks.gpu.setting import Row, Setting
from stillhouse.training.batches import collator
from stillhouse.training.loop import fit

STEPS, EVERY, DEATH = 20, 5, 13  # of a training, between its checkpoints, at which it is killed
PHASE = "tinybert.states"
FARTHER = 10  # times as far from an undisturbed run as two such are apart: beyond it, more than sums' order differs


def measure(setting: Setting) -> list[Row]:
    """Two undisturbed runs, and one that is killed and goes on."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for run in ("one", "other"):
            start(setting, folder / run, None)
        killed = start(setting, folder / "killed", DEATH)
        if killed != -signal.SIGKILL:
            raise RuntimeError(f"the run that was to be killed ended with {killed}")
        start(setting, folder / "killed", None)
        rows = [compared("undisturbed, twice", folder / "one", folder / "other")]
        rows.append(compared(f"killed at step {DEATH} and resumed", folder / "one", folder / "killed"))
    between, resumed = (row["largest difference"] for row in rows)
    if resumed > FARTHER * between:
        raise RuntimeError(
            f"a resumed run ends {resumed:.2g} from an undisturbed one, two of these {between:.2g} apart"
        )
    return rows


def start(setting: Setting, folder: Path, death: int | None) -> int:
    """Run a process that trains; gives its exit status.

    Raises:
        RuntimeError: it failed by itself.
    """
    command = [sys.executable, "-m", __spec__.name, str(folder), str(int(setting.tiny)), str(death or 0)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode > 0:
        raise RuntimeError(f"a training failed: {(done.stderr.strip().splitlines() or ['no word of why'])[-1]}")
    return done.returncode


def compared(what: str, one: Path, other: Path) -> Row:
    """How two ends differ."""
    files = [folder / "end.safetensors" for folder in (one, other)]
    weights = [load_file(file) for file in files]
    largest = max(float((weights[0][name] - weights[1][name]).abs().max()) for name in weights[0])
    same = files[0].read_bytes() == files[1].read_bytes()
    return {"what": what, "same bytes": "yes" if same else "no", "largest difference": largest}


def main() -> None:
    """Train, from a checkpoint if there is one, and write the weights."""
    folder, tiny, death = Path(sys.argv[1]), bool(int(sys.argv[2])), int(sys.argv[3])
    size = Size(scene.TINY if tiny else scene.SMALL, tokens=16 if tiny else 64, count=8 * STEPS)
    phase = fresh(PHASE, size)
    fit(
        phase.model, phase.step, phase.rows, collator(0), epochs=1, batch_size=8, learning_rate=1e-4, seed=0,
        checkpoints=folder / "checkpoints", checkpoint_steps=EVERY, callbacks=[*phase.callbacks, Killed(death)],
    )  # fmt: skip
    state = {name: weight.detach().cpu().contiguous() for name, weight in phase.model.state_dict().items()}
    assert all(torch.is_tensor(weight) for weight in state.values())
    save_file(state, folder / "end.safetensors")


class Killed(TrainerCallback):
    """Ends the process at a step, as `kill -9` does: nothing is told, nothing is closed."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
