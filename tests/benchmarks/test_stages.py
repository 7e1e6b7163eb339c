"""The benchmark of a stage's overhead reads what DVC would run, and what a process has used."""

import sys
from pathlib import Path

import pytest

from benchmarks.stages import first_stage, programs, run

DRY = """Stage 'code' didn't change, skipping
Running stage 'prepare':
> python -m tasks.prepare task --out data/task

Running stage 'export@hinton':
> python -m tasks.export --kind classes --model models/hinton --out models/onnx/hinton
"""


def test_the_next_stage_and_its_program_are_read_of_a_dry_run() -> None:
    assert first_stage(DRY) == ("prepare", "tasks.prepare")
    assert first_stage("Stage 'code' didn't change, skipping\nData and pipelines are up to date.\n") is None


def test_every_program_of_the_pipeline_is_there() -> None:
    found = programs()
    assert {"tasks.code", "tasks.evaluate", "tasks.finetune"} <= set(found) and len(found) >= 19


def test_what_a_process_used_is_that_of_those_it_waited_for_too(tmp_path: Path) -> None:
    busy = "import time\nwhile time.process_time() < 0.3: pass"
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}], check=True)"
    assert run([sys.executable, "-c", nested], tmp_path).cpu >= 0.3
    with pytest.raises(RuntimeError, match="exit 3"):
        run([sys.executable, "-c", "raise SystemExit(3)"], tmp_path)
