"""Reports of models, as `tasks.evaluate` writes them."""

import json
import random
from pathlib import Path

# accuracy, MB, p50 in ms, share of zeros
MODELS = {
    "teacher": (0.912, 438.0, 40.0, 0.0),
    "hinton": (0.897, 267.0, 20.0, 0.0),
    "tinybert": (0.901, 58.0, 4.0, 0.0),
    "prune-recover": (0.880, 438.0, 40.2, 0.7),
}


def write(root: Path, models: dict[str, tuple[float, float, float, float]] = MODELS, **changes: object) -> list[Path]:
    """The reports of some models; the machine had another speed when each was timed."""
    teacher = models.get("teacher", MODELS["teacher"])
    for name, (value, size, p50, zeros) in models.items():
        folder = root / name
        folder.mkdir(parents=True)
        figures = {
            "recipe": name,
            "kind": "classes",
            "split": "validation",
            "task_metric": "accuracy",
            "value": value,
            "kept": value / teacher[0],
            "parameters": int(size * 250_000),
            "sparsity": zeros,
            "flops": int(p50 * 5e8),
            "tokens": 32,
            "checkpoint_bytes": int(size * 1e6),
            "onnx_bytes": int(size * 1e6),
            "onnx_max_difference": 0.0,
            "examples": 872,
            "metrics": {"accuracy": value, "f1": value - 0.01},
        }
        pace = random.Random(name).uniform(0.5, 2)
        times = {
            "hardware": "a processor, 2 cores",
            "threads": 2,
            "runtime": "a runtime",
            "batches": timed(p50 * pace),
            "teacher": timed(teacher[2] * pace),
            "speedup": dict.fromkeys(("1", "32"), teacher[2] / p50),
        }
        (folder / "metrics.json").write_text(json.dumps(figures | changes))
        (folder / "latency.json").write_text(json.dumps(times))
    return [root / name for name in models]


def timed(p50: float) -> dict[str, dict[str, float]]:
    return {
        "1": {"p50_ms": p50, "p99_ms": 2 * p50, "throughput_per_s": 1000 / p50},
        "32": {"p50_ms": 20 * p50, "p99_ms": 40 * p50, "throughput_per_s": 1600 / p50},
    }


def write_finished(root: Path, models: dict[str, tuple[float, float, float, float]]) -> None:
    """Reports of finished students, each in the folder of the plain one."""
    for name, figures in models.items():
        write(root / "aside" / name, {name: figures}, form="finished")
        (root / "aside" / name / name).rename(root / name / "finished")
