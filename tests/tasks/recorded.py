"""A stage's program, run as a stage is, that also writes the losses of every step to a file.

STAGE=tasks.finetune CURVE=curve.jsonl python -m tests.tasks.recorded --data …
"""

import importlib
import json
import os
from pathlib import Path

from stillhouse.training import processes, progress
from tasks.stage import launch
from tasks.tracking import journal


def record(_run: journal.StageRun, metrics: dict, step: int = 0) -> None:
    if processes.is_first() and "loss" in metrics:
        losses = {name: value for name, value in metrics.items() if name not in ("samples_per_second", "epoch")}
        with Path(os.environ["CURVE"]).open("a") as file:
            file.write(json.dumps({"step": step, **losses}) + "\n")


if __name__ == "__main__":
    progress.REPORT_SECONDS = 0.0
    journal.StageRun.log_metrics = record  # type: ignore[method-assign]
    launch.run(importlib.import_module(os.environ["STAGE"]).main)
