"""The benchmark of a stage's overhead reads what DVC would run."""

from benchmarks.stages import first_stage, programs

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
