"""Toy projects: DVC repositories whose stages sleep, copy and fail, and one whose stages copy a real tiny model."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from flows.registry.versions import register
from tasks.evaluation.rows import Rows, write_rows
from tasks.exported.card import card
from tasks.kinds.find import kind_class
from tasks.stage.json_files import write_json
from tests import clones, tiny

Toy = Callable[..., Path]
ROOT = Path(__file__).parents[2]
TIMES = {"p50_ms": 1.5, "p99_ms": 2.5, "throughput_per_s": 600.0}
LATENCY = {"date": "2026-11-28", "hardware": "a toy", "threads": 1, "runtime": "none", "tokens": 8}
LATENCY |= {which: {"1": TIMES, "32": TIMES} for which in ("batches", "teacher")}
METRICS = {
    "recipe": "hinton",
    "kind": "classes",
    "split": "validation",
    "task_metric": "accuracy",
    "value": 0.9,
    "kept": 0.99,
    "parameters": 12_000,
    "nonzero_parameters": 12_000,
    "flops": 80_000,
    "tokens": 8,
    "checkpoint_bytes": 50_000,
    "onnx_bytes": 60_000,
    "onnx_max_difference": 1e-6,
    "onnx_rounding": 0.0,
    "examples": 400,
    "metrics": {"accuracy": 0.9},
}
SERVED = {"kind": "classes", "split": "validation", "columns": ["text"], "numbers": {}, "judged_by": {"max_length": 16}}

TRAIN = {"precision": "fp32", "max_length": 16, "eval_batch_size": 64, "checkpoint_steps": 100}
TRAIN |= {
    "warmup": 0.1,
    "weight_decay": 0.01,
    "max_grad_norm": 1.0,
    "processes": 1,
    "machines": 1,
    "soft_labels": "instead",
}
EVALUATE = {"metric": "accuracy", "batch_sizes": [1], "tokens": 8, "repeats": 2, "threads": 1}
DATA = {"source": "docstrings", "kind": "classes"}
PARAMS = {"data": DATA, "teacher": {"model": "builtin"}, "kinds": {"classes": {}}, "train": TRAIN, "evaluate": EVALUATE}
PROMOTE = {
    "min_kept": 0.95,
    "margin": None,
    "noise": {"standard_errors": 1.0, "resamples": 50, "seed": 1},
    "max_bytes": None,
    "max_latency_p50_ms": None,
    "max_onnx_difference": 1e-3,
    "approval": {"required": False, "hours": 1.0},
}


def rows_of_accuracy(value: float, count: int = 400) -> Rows:
    """What a model of this accuracy did: right on the first rows, wrong on the rest."""
    actual = np.arange(count) % 2.0
    return {"actual": actual, "predicted": np.where(np.arange(count) < round(value * count), actual, 1 - actual)}


def write_evaluated(
    folder: Path, value: float = 0.9, rows: Rows | None = None, served: Mapping[str, Any] | None = None, **figures: Any
) -> Path:
    """All that `tasks.evaluate` writes of a model: by default a classifier of this accuracy, called as the folder is.

    Args:
        served: keys of details/served.json that are others; kind and split go into metrics.json too.
        figures: keys of metrics.json that are others.
    """
    rows = rows_of_accuracy(value) if rows is None else rows
    told = SERVED | dict(served or {})
    judged = {"recipe": folder.name, "kind": told["kind"], "split": told["split"], "value": value}
    write_json(folder / "metrics.json", METRICS | judged | figures)
    write_json(folder / "latency.json", LATENCY)
    (folder / "predictions.csv").write_text("actual,predicted\ngood,good\n")
    write_json(folder / "details" / "served.json", told)
    write_rows(rows, folder / "details" / "rows.csv")
    return folder


@pytest.fixture(scope="session")
def empty_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder under git and DVC with nothing in it: three processes make it, and a copy is as good."""
    root = tmp_path_factory.mktemp("empty") / "project"
    root.mkdir()
    for command in ("git init -q", "dvc init -q", "dvc config core.analytics false"):
        subprocess.run(command.split(), cwd=root, check=True)
    return root


@pytest.fixture
def toy(empty_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """Make a project of the given stages in an empty folder, and go there: `toy({"name": {"cmd": …}}, seed="text")`."""

    def make(stages: dict[str, dict], **files: str) -> Path:
        root = shutil.copytree(empty_project, tmp_path / "project", symlinks=True)
        for name, text in files.items():
            (root / name).write_text(text)
        # JSON is YAML too.
        (root / "dvc.yaml").write_text(json.dumps({"stages": stages}))
        monkeypatch.chdir(root)
        return root

    for name in ("STILLHOUSE_TRACKING", "MLFLOW_TRACKING_URI", "STILLHOUSE_RECIPE", "STILLHOUSE_PARENT_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    return make


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which DVC has made report@hinton: to be read, or copied. The first of all processes makes it."""
    root = tmp_path_factory.getbasetemp()
    # pytest-xdist gives each of its processes a folder in one that is theirs together.
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    folder = root / "reproduced"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            draft = clones.clone(tmp_path_factory.mktemp("draft") / "clone")
            clones.run(draft, "dvc", "repro", "report@hinton")
            draft.rename(folder)
    return folder


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an MLflow store with nothing in it: its tables take seconds to make, and no time to copy."""
    from mlflow.tracking import MlflowClient

    from tasks.tracking.store import prepare_environment

    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    prepare_environment()
    MlflowClient(f"sqlite:///{file}").search_experiments(max_results=1)
    return file


@pytest.fixture(scope="session")
def made(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the stages of `recipe_project` copy: a random two-layer BERT, its ONNX file, its data and reports."""
    from matplotlib import pyplot

    from stillhouse.onnx.export import export_onnx

    folder = tmp_path_factory.mktemp("made")
    model = tiny.bert(width=16, heads=2)
    tiny.save(model, folder / "model")
    (folder / "onnx").mkdir()
    export_onnx(model, tiny.tokenizer(), folder / "onnx" / "model.onnx")
    write_exported(folder / "model", folder / "onnx", folder / "exported", labels=["bad", "good"])
    tiny.write_task(folder / "task", train=8, validation=8)
    write_evaluated(folder / "evaluated", recipe="hinton")
    (folder / "report.md").write_text("# A report\n")
    (folder / "report.html").write_text("<title>A report</title>\n")
    pyplot.figure(figsize=(1, 1)).savefig(folder / "report.png")
    copy_store(empty_store, folder)
    return folder


def write_exported(checkpoint: Path, onnx: Path, out: Path, **told: Any) -> None:
    """The exported folder, as `tasks.evaluate` makes it of a checkpoint and its graph.

    Args:
        told: what inference.json says more, or otherwise.
    """
    shutil.copytree(onnx, out, dirs_exist_ok=True)
    shutil.copy(checkpoint / "tokenizer.json", out)
    told = {"kind": "classes", "columns": ["text"], "padding": 0, "max_length": 16} | told
    write_json(out / "inference.json", told)
    config = json.loads((checkpoint / "config.json").read_text())
    (out / "README.md").write_text(card(kind_class(told["kind"]), told, METRICS, config))


def refuse_unstated(model: str, rows: pd.DataFrame, given: list[dict[str, Any]]) -> None:
    """Fail unless a registered model states a schema and an example of its input, and `rows` and `given` fit it.

    Args:
        given: what the model answers to `rows`.
    """
    from mlflow.models import get_model_info, validate_schema
    from mlflow.pyfunc import load_model

    info = get_model_info(model)
    assert info.signature is not None and info.signature.outputs is not None
    validate_schema(rows, info.signature.inputs)
    validate_schema(pd.DataFrame(given), info.signature.outputs)
    loaded = load_model(model)
    assert loaded.input_example is not None
    answered = pd.DataFrame(loaded.predict(loaded.input_example))
    assert len(answered) == 1
    validate_schema(answered, info.signature.outputs)


def copy_store(file: Path, root: Path) -> None:
    """Give a project an MLflow store with nothing in it."""
    (root / "mlruns").mkdir(parents=True)
    shutil.copy(file, root / "mlruns")


def lock_data(root: Path, md5: str) -> None:
    """A dvc.lock that says no more than the task's hash."""
    outs = [{"path": "data/task", "md5": md5}]
    (root / "dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": {"prepare": {"cmd": "x", "outs": outs}}}))


def evaluate_again(root: Path, recipe: str, value: float, **more: Any) -> None:
    """As if a recipe had been evaluated again, with this accuracy; `more` as `write_evaluated` takes it."""
    write_evaluated(root / "reports" / "evaluated" / recipe, value, **more)


def train_again(root: Path, recipe: str, value: float, **more: Any) -> None:
    """As if a recipe had been trained and evaluated again."""
    import torch
    from safetensors.torch import load_file, save_file

    file = root / "models" / recipe / "model.safetensors"
    weights = load_file(file)
    save_file({name: tensor + torch.rand(1) for name, tensor in weights.items()}, file)
    evaluate_again(root, recipe, value, **more)


FINISH = {
    "trim": {"floor": 1, "first": 0},
    "corpus": "data/task",
    "factorize": None,
    "int8": None,
    "of": {"hinton": {}},
}


def finish(root: Path, recipe: str, value: float, **more: Any) -> None:
    """As if a recipe's student had a finished form too, of this accuracy; `more` as `write_evaluated` takes it."""
    import torch
    from safetensors.torch import load_file, save_file

    for folder in ("models", "models/onnx", "models/exported"):
        shutil.copytree(root / folder / recipe, root / folder / "finished" / recipe, dirs_exist_ok=True)
    file = root / "models" / "finished" / recipe / "model.safetensors"
    save_file({name: tensor + torch.ones(1) for name, tensor in load_file(file).items()}, file)
    told = {"recipe": recipe, "form": "finished", "onnx_bytes": 6_000} | more
    write_evaluated(root / "reports" / "evaluated" / recipe / "finished", value, **told)
    tree = json.loads((root / "params.yaml").read_text())
    (root / "params.yaml").write_text(json.dumps(tree | {"finish": FINISH}))


def fill_project(made: Path, root: Path) -> Path:
    """What hinton and tinybert have made, without a pipeline that makes it."""
    (root / "data").mkdir(parents=True)
    shutil.copytree(made / "task", root / "data" / "task")
    for recipe in ("hinton", "tinybert"):
        shutil.copytree(made / "model", root / "models" / recipe)
        shutil.copytree(made / "onnx", root / "models" / "onnx" / recipe)
        shutil.copytree(made / "exported", root / "models" / "exported" / recipe)
    for name in ("teacher", "hinton", "tinybert"):
        write_evaluated(root / "reports" / "evaluated" / name)
    copy_store(made / "mlruns" / "mlflow.db", root)
    lock_data(root, "abc.dir")
    (root / "params.yaml").write_text(json.dumps(PARAMS | {"promote": PROMOTE}))
    return root


def registered_project(made: Path, root: Path) -> Path:
    """As `fill_project`; its hinton is version 1."""
    fill_project(made, root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        register("hinton")
    return root


@pytest.fixture
def recipe_project(toy: Toy, made: Path) -> Path:
    """A project with the recipes hinton and tinybert, whose stages copy what a real run would make."""

    def copy(source: str, target: str, *deps: str, dvc_key: str = "outs") -> dict:
        parent = Path(target).parent
        return {
            "cmd": f"mkdir -p {parent} && rm -rf {target} && cp -r {made / source} {target}",
            "deps": list(deps),
            dvc_key: [target],
        }

    slugs = ["hinton", "tinybert"]
    root = toy(
        {
            "prepare": copy("task", "data/task", "seed"),
            "teacher": copy("model", "models/teacher", "data/task"),
            "evaluate-teacher": copy(
                "evaluated/metrics.json", "reports/evaluated/teacher/metrics.json", "models/teacher"
            ),
            "hinton": copy("model", "models/hinton", "models/teacher"),
            "tinybert": copy("model", "models/tinybert", "models/teacher"),
            "export": {"foreach": slugs, "do": copy("onnx", "models/onnx/${item}", "models/${item}")},
            "evaluate": {
                "foreach": slugs,
                "do": {
                    "cmd": "mkdir -p reports/evaluated/${item} models/exported && "
                    f"cp -r {made}/evaluated/. reports/evaluated/${{item}} && "
                    f"cp -r {made}/exported models/exported/${{item}}",
                    "deps": ["models/onnx/${item}", "reports/evaluated/teacher/metrics.json"],
                    "metrics": ["reports/evaluated/${item}/metrics.json", "reports/evaluated/${item}/latency.json"],
                    "outs": [
                        *("reports/evaluated/${item}/predictions.csv", "reports/evaluated/${item}/details"),
                        "models/exported/${item}",
                    ],
                },
            },
            "report": {
                "foreach": slugs,
                "do": {
                    "cmd": "mkdir -p reports/${item} && "
                    f"cp {made / 'report.md'} {made / 'report.png'} {made / 'report.html'} reports/${{item}}",
                    "deps": ["reports/evaluated/${item}/metrics.json"],
                    "outs": [f"reports/${{item}}/report.{kind}" for kind in ("md", "png", "html")],
                },
            },
            "compare": {
                "cmd": f"mkdir -p reports/compare && cp {made}/report.* reports/compare",
                "deps": [f"reports/evaluated/{slug}/metrics.json" for slug in slugs],
                "outs": ["reports/compare/report.md", "reports/compare/report.png", "reports/compare/report.html"],
            },
        },
        seed="x",
    )
    params = PARAMS | {"promote": PROMOTE}
    (root / "params.yaml").write_text(json.dumps(params))
    return root
