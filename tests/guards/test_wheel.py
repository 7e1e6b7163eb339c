"""The built wheel of the library, without the project around it and without what only the pipeline needs."""

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PIPELINE = (
    *("tasks", "flows", "tests", "prefect", "mlflow", "dvc", "datasets", "pydantic", "ruamel", "pandas", "sklearn"),
    *("onnx", "onnxruntime", "onnxscript", "matplotlib", "pyarrow"),
)

# It runs isolated, so neither PYTHONPATH nor the working folder nor the editable install gives it the project.
PROGRAM = """
import importlib, json, pkgutil, sys

wheel, packages, work, *blocked = sys.argv[1:]

sys.modules.update(dict.fromkeys(blocked))  # None: to import them fails, and to look for them finds nothing
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
sys.path = [wheel, *(path for path in sys.path if path != packages), packages]

import stillhouse

names = [found.name for found in pkgutil.walk_packages(stillhouse.__path__, "stillhouse.")]
modules = [importlib.import_module(name) for name in names]

import torch
from transformers import AutoModelForSequenceClassification, BertConfig, BertForSequenceClassification
from stillhouse.surgery import drop_layers, slice_heads

config = BertConfig(vocab_size=20, hidden_size=16, num_hidden_layers=3, num_attention_heads=4, intermediate_size=32)
model = slice_heads(drop_layers(BertForSequenceClassification(config).eval(), [0, 2]), [[0], [1, 2]])
model.save_pretrained(work)
loaded = AutoModelForSequenceClassification.from_pretrained(work).eval()
words = torch.arange(8)[None]
same = torch.equal(model(words).logits, loaded(words).logits)
files = [stillhouse.__file__, *(module.__file__ for module in modules)]
print(json.dumps({"names": names, "files": files, "heads": loaded.config.layer_heads, "same": same}))
"""


@pytest.mark.slow
def test_the_wheel_compresses_a_model_without_the_project_and_the_pipelines_packages(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    # Without isolation: the build takes the setuptools that is installed, and needs no network. From a copy of what git
    # would commit, since setuptools leaves its build folder in the sources.
    sources = tmp_path / "sources"
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (sources / name).parent.mkdir(parents=True, exist_ok=True)
            (sources / name).write_bytes((ROOT / name).read_bytes())
    build = [*pip, "wheel", str(sources), "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path)]
    subprocess.run(build, check=True, capture_output=True)
    [wheel] = tmp_path.glob("stillhouse-*.whl")
    installed = tmp_path / "installed"
    subprocess.run([*pip, "install", "--no-deps", "--target", str(installed), str(wheel)], check=True)

    packages = sysconfig.get_paths()["purelib"]
    options = [str(installed), packages, str(tmp_path / "model"), *PIPELINE]
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM, *options], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert all(Path(file).is_relative_to(installed) for file in found["files"])
    files = sorted((ROOT / "stillhouse").rglob("*.py"))
    modules = {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files}
    assert set(found["names"]) == modules - {"stillhouse"}
    assert len(found["names"]) > 70
    assert found["heads"] == [1, 2]
    assert found["same"]
