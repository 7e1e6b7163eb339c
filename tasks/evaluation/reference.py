"""What students are held against: the teacher's report."""

from pathlib import Path
from typing import Any

from stillhouse.errors import InputError
from tasks.stage.json_files import read_json


def read_metrics(folder: Path, metric: str) -> dict[str, Any]:
    """The teacher's metrics.json.

    Raises:
        InputError: it is missing, damaged, or of another metric.
    """
    file = folder / "metrics.json"
    figures = read_json(file, "evaluate the teacher first (dvc repro evaluate-teacher)")
    if figures["task_metric"] != metric:
        raise InputError(
            f"'{file}' is of {figures['task_metric']}, evaluate.metric = '{metric}': evaluate the teacher again"
        )
    return figures
