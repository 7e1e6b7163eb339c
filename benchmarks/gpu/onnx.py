"""The exported graph in ONNX Runtime's CUDA provider (with `--device cpu`, in its CPU's): logits and time."""

import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from benchmarks.gpu import scene
from benchmarks.gpu.bert import Work
from benchmarks.gpu.setting import NotHereError, Row, Setting, seconds_a_call
from stillhouse.training.batches import collate, model_inputs

CLOSE = 0.02  # of the largest logit: TF32 on a card


def measure(setting: Setting) -> list[Row]:
    """One row."""
    for package in ("onnx", "onnxruntime"):
        if find_spec(package) is None:
            raise NotHereError(f"{package} is not installed")
    import onnxruntime

    from stillhouse.onnx.export import export_onnx
    from stillhouse.onnx.sessions import CPU, feed, open_session

    wanted = "CUDAExecutionProvider" if setting.card else CPU
    if wanted not in onnxruntime.get_available_providers():
        raise NotHereError("this onnxruntime has no CUDA provider: install onnxruntime-gpu")
    work = Work.of(setting)
    model = work.models()[0]
    batch = model_inputs(collate(work.rows(work.batch), 0))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        export_onnx(model, scene.tokenizer(300), file)
        session = open_session(file, 1, wanted)
    if session.get_providers()[0] != wanted:
        raise RuntimeError(f"ONNX Runtime fell back to {session.get_providers()[0]}")
    given = feed(session, {name: tensor.numpy() for name, tensor in batch.items()})
    logits = session.run(["logits"], given)[0]
    exact = model(**batch).logits.detach().numpy()
    off = float(np.abs(logits - exact).max() / np.abs(exact).max())
    calls = 2 if setting.tiny else 20
    seconds = seconds_a_call(setting, lambda: session.run(["logits"], given), warmup=2, calls=calls, rounds=1)
    if not off < CLOSE:
        raise RuntimeError(f"logits are off by {off:.3g} of the largest")
    return [{"what": wanted, "logits off": round(off, 6), "ms a batch": round(1000 * seconds, 2)}]
