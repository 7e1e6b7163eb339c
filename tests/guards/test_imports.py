"""Imports go one way, flows → tasks → stillhouse, and the heavy tools stay where they belong."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN = {
    "stillhouse": {"tasks", "flows", "prefect", "mlflow", "dvc", "datasets", "pydantic", "sklearn", "pandas", "ruamel"},
    "tasks": {"flows", "prefect", "dvc"},
    "benchmarks": {"flows", "prefect", "dvc"},
}
# Programs, and what takes seconds to import and is not theirs.
NOT_IMPORTED = {
    "tasks.code tasks.curve tasks.profile tasks.report tasks.tracking.sender": "torch transformers datasets scipy",
    "tasks.prepare": "torch transformers",
    "tasks.corpus_phase tasks.evaluate tasks.export tasks.kinds.classes tasks.kinds.multi_label tasks.task_phase": (
        "sklearn scipy.stats mlflow matplotlib onnx onnxruntime"
    ),
}
MLFLOW_IN_TASKS = {"tasks/tracking/known.py", "tasks/tracking/sender.py", "tasks/tracking/store.py"}


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports hide where a name comes from"
            yield (node.module or "").split(".")[0]


def files(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found, package
    return found


@pytest.mark.parametrize("package", sorted(FORBIDDEN))
def test_a_package_imports_nothing_that_stands_above_it(package):
    for file in files(package):
        wrong = FORBIDDEN[package] & set(imported(file))
        assert not wrong, f"{file.relative_to(ROOT)} imports {sorted(wrong)}"


@pytest.mark.parametrize("programs", NOT_IMPORTED)
def test_a_program_imports_nothing_heavy_that_it_does_not_use(programs):
    code = f"import gc, sys; gc.disable(); import {', '.join(programs.split())}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert set(programs.split()) <= set(loaded.split())
    assert not set(NOT_IMPORTED[programs].split()) & set(loaded.split())


def test_tracking_alone_imports_mlflow_among_the_tasks():
    using = {str(file.relative_to(ROOT)) for file in files("tasks") if "mlflow" in set(imported(file))}
    assert using and using <= MLFLOW_IN_TASKS


def test_a_method_imports_no_other_method_but_the_losses_they_share():
    for file in files("stillhouse/methods"):
        text = file.read_text(encoding="utf-8")
        assert "stillhouse.methods" not in text, f"{file.name} uses a sibling: move what they share to losses.py"


def test_nothing_loads_a_pickle_or_runs_a_checkpoints_code():
    calls = 0
    for package in ("stillhouse", "tasks", "flows", "benchmarks"):
        for file in files(package):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Call):
                    continue
                calls += 1
                name = ast.unparse(node.func)
                assert name not in ("torch.load", "pickle.load", "pickle.loads", "joblib.load"), f"{file}: {name}"
                for keyword in node.keywords:
                    if keyword.arg == "trust_remote_code":
                        assert ast.unparse(keyword.value) == "False", file
    assert calls > 500
