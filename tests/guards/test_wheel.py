"""The built wheel of the library, in an environment that holds it and what it says that it needs, and nothing else."""

import json
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PIPELINE = (
    *("prefect", "mlflow", "dvc", "datasets", "pandas", "sklearn", "ruamel"),
    *("onnx", "onnxruntime", "onnxscript", "matplotlib", "pyarrow"),
)

PROGRAM = """
import importlib, importlib.util, json, pkgutil, sys

work, *absent = sys.argv[1:]
there = [name for name in absent if importlib.util.find_spec(name)]

import stillhouse

names = [found.name for found in pkgutil.walk_packages(stillhouse.__path__, "stillhouse.")]
modules = [importlib.import_module(name) for name in names]

from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, BertConfig, BertForSequenceClassification
from stillhouse.methods.hinton import distillation_loss
from stillhouse.surgery import drop_layers, slice_ffn, slice_heads
from stillhouse.training.loop import fit

torch.manual_seed(0)
config = BertConfig(vocab_size=20, hidden_size=16, num_hidden_layers=3, num_attention_heads=4, intermediate_size=32)
teacher = BertForSequenceClassification(config).eval()
model = slice_heads(drop_layers(teacher, [0, 2]), [[0], [1, 2]])
model = slice_ffn(model, [list(range(8)), list(range(12))])
before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

def step(student, batch):
    with torch.no_grad():
        wanted = teacher(batch["input_ids"]).logits
    given = student(batch["input_ids"]).logits
    return distillation_loss(given, wanted, batch["labels"], alpha=0.5, temperature=2.0)

rows = [{"input_ids": torch.randint(1, 20, (8,)), "labels": torch.tensor(number % 2)} for number in range(8)]

def collate(batch):
    return {key: torch.stack([row[key] for row in batch]) for key in ("input_ids", "labels")}

done = fit(
    model, step, rows, collate, epochs=3, batch_size=4, learning_rate=1e-3, seed=1,
    checkpoints=Path(work, "unfinished"), precision="fp32",
)
model.eval().save_pretrained(Path(work, "model"))
loaded, told = AutoModelForSequenceClassification.from_pretrained(Path(work, "model"), output_loading_info=True)
words = torch.arange(8)[None]
print(json.dumps({
    "there": there,
    "names": names,
    "files": [stillhouse.__file__, *(module.__file__ for module in modules)],
    "steps": done.steps,
    "trained": any(not torch.equal(before[name], tensor) for name, tensor in model.state_dict().items()),
    "heads": loaded.config.layer_heads,
    "same": all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())
    and torch.allclose(model(words).logits, loaded.eval()(words).logits, atol=1e-6),
    "unloaded": [*told["missing_keys"], *told["unexpected_keys"]],
}))
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_wheel_alone_compresses_a_model_in_an_empty_environment(tmp_path: Path) -> None:
    # Without isolation: the build takes the setuptools that is installed. From a copy of what git would commit, since
    # setuptools leaves its build folder in the sources.
    sources = tmp_path / "sources"
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (sources / name).parent.mkdir(parents=True, exist_ok=True)
            (sources / name).write_bytes((ROOT / name).read_bytes())
    pip = ["-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = ["wheel", str(sources), "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path)]
    subprocess.run([sys.executable, *pip, *build], check=True, capture_output=True)
    [wheel] = tmp_path.glob("stillhouse-*.whl")

    python = str(tmp_path / "venv" / "bin" / "python")
    venv.create(tmp_path / "venv", with_pip=True)
    install = [python, *pip, "install", "--constraint", str(ROOT / "constraints.txt"), str(wheel)]
    installed = subprocess.run(install, capture_output=True, text=True, check=False)
    assert installed.returncode == 0, installed.stderr

    # -I: nothing of the folder that it is called from, nor of PYTHONPATH.
    run = [python, "-I", "-c", PROGRAM, str(tmp_path), *PIPELINE]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["there"] == []
    assert all(Path(file).is_relative_to(tmp_path / "venv") for file in found["files"])
    files = sorted((ROOT / "stillhouse").rglob("*.py"))
    modules = {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files}
    assert set(found["names"]) == modules - {"stillhouse"}
    assert len(found["names"]) > 70
    assert found["steps"] == 6 and found["trained"]
    assert found["heads"] == [1, 2]
    assert found["unloaded"] == [] and found["same"]

    # The console script is there too, and says what its commands need.
    script = str(tmp_path / "venv" / "bin" / "stillhouse")
    helped = subprocess.run([script, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "compress" in helped.stdout
    done = subprocess.run([script, "compress", "hinton"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert re.fullmatch(r"error: stillhouse compress needs \w+, which is not installed: .*\n", done.stderr), done.stderr
