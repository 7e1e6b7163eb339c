"""Every compressed model comes back as it was: in a fresh process, as ONNX, and out of MLflow."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from flows.registry.files import served_digests
from stillhouse.encoders.checkpoint import load_model, save_model
from stillhouse.onnx.export import export_onnx
from stillhouse.onnx.sessions import feed, open_session
from stillhouse.surgery import quantize
from tests import tiny
from tests.shapes import SURGERY

ROOT = Path(__file__).parents[3]
KINDS = SURGERY | {"int8": quantize, "all of it, int8": lambda model: quantize(SURGERY["all of it"](model))}
TEXTS = ["the film is very good", "a dull plot"]
FRESH = """
import json, sys
import stillhouse
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
logits = {}
for folder in sys.argv[1:]:
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    batch = AutoTokenizer.from_pretrained(folder)(%r, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits[folder] = model(**batch).logits.tolist()
print(json.dumps(logits))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints, graphs and, from before they were saved, logits of every kind."""
    root = tmp_path_factory.mktemp("compressed")
    coder = tiny.tokenizer()
    batch = coder(TEXTS, padding=True, return_tensors="pt")
    for number, cut in enumerate(KINDS.values()):
        model = cut(tiny.bert(layers=3))
        save_model(model, coder, root / str(number) / "model")
        (root / str(number) / "onnx").mkdir()
        export_onnx(model, coder, root / str(number) / "onnx" / "model.onnx")
        with torch.no_grad():
            np.save(root / str(number) / "logits.npy", model(**batch).logits.numpy())
    return root


def logits(folder: Path, what: str) -> np.ndarray:
    """(2, 2), of the model before it was saved."""
    return np.load(place(folder, what) / "logits.npy")


def place(folder: Path, what: str) -> Path:
    return folder / str(list(KINDS).index(what))


@pytest.fixture(scope="module")
def fresh(folder: Path) -> dict[str, list]:
    """What another process reads from the checkpoints."""
    models = [str(place(folder, what) / "model") for what in KINDS]
    done = subprocess.run(
        [sys.executable, "-c", FRESH % TEXTS, *models], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("what", KINDS)
def test_a_fresh_process_loads_it(folder: Path, fresh: dict[str, list], what: str) -> None:
    given = np.array(fresh[str(place(folder, what) / "model")])
    assert np.allclose(given, logits(folder, what), atol=1e-6)


@pytest.mark.parametrize("what", KINDS)
def test_onnx_gives_its_logits(folder: Path, what: str) -> None:
    session = open_session(place(folder, what) / "onnx" / "model.onnx", threads=1)
    batch = tiny.tokenizer()(TEXTS, padding=True, return_tensors="np")
    given = session.run(["logits"], feed(session, dict(batch)))[0]
    assert np.allclose(given, logits(folder, what), atol=1e-4)


@pytest.mark.parametrize("what", KINDS)
def test_mlflow_gives_it_back(folder: Path, what: str) -> None:
    import mlflow

    saved = place(folder, what) / "mlflow"
    artifacts = {
        name: (place(folder, what) / part).as_posix() for name, part in (("checkpoint", "model"), ("onnx", "onnx"))
    }
    mlflow.pyfunc.save_model(
        saved,
        python_model=str(ROOT / "flows" / "serving" / "labels.py"),
        artifacts=artifacts,
        model_config={"kind": "classes"} | served_digests({name: Path(part) for name, part in artifacts.items()}),
        pip_requirements=[],
    )
    served = mlflow.pyfunc.load_model(str(saved)).predict(pd.DataFrame({"text": TEXTS}))
    given = [list(row["scores"].values()) for row in served]
    before = logits(folder, what).astype(np.float64)
    assert np.allclose(given, np.exp(before) / np.exp(before).sum(1, keepdims=True), atol=1e-4)
    # The weights travel with it: the checkpoint in the registry is the checkpoint.
    assert load_model(saved / "artifacts" / "model", _auto()).num_parameters() == _parameters(folder, what)


def _auto() -> type:
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification


def _parameters(folder: Path, what: str) -> int:
    return load_model(place(folder, what) / "model", _auto()).num_parameters()
