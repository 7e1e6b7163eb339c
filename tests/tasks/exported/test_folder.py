"""The exported folder is run by the README's lines, and gives what evaluation gave."""

import json
import subprocess
import venv
from pathlib import Path

import numpy as np
import pytest

from tasks.kinds.sentences import RUN
from tests.tasks.exported.conftest import Exported
from tests.tasks.exported.readme import FOLDER, as_written, block, given, lines, predicted, rows
from tests.tasks.project import ROOT

SENTENCES = ["classes", "pairs", "labels in another order", "multi-label", "scores"]


def test_every_cards_lines_are_the_readmes_but_for_the_folder() -> None:
    assert f"```python\n{block().replace(FOLDER, '.')}```" == RUN


@pytest.mark.parametrize("case", SENTENCES)
def test_the_readmes_lines_give_what_evaluation_gave(exported: Exported, case: str) -> None:
    exported(case)
    found, wanted = given(rows()), predicted()
    assert len(found) == 32
    assert len(set(wanted)) > 1, "a model that says one thing shows nothing"
    if case == "scores":
        np.testing.assert_allclose(found, np.array(wanted, dtype=float), atol=2e-4)
    else:
        assert as_written(found) == wanted


def test_what_inference_says_of_each_kind(exported: Exported) -> None:
    told = {}
    for case in ("labels in another order", "multi-label", "scores", "tokens", "answers"):
        exported(case)
        told[case] = json.loads(Path(FOLDER, "inference.json").read_text())
    assert told["labels in another order"] == {
        **{"kind": "classes", "columns": ["text"], "padding": 0, "labels": ["good", "bad"], "max_length": 8}
    }
    several = told["multi-label"]
    assert several["labels"] == ["good", "long"] and len(set(several["thresholds"])) == 2
    assert told["scores"] == {**{"kind": "scores", "columns": ["text", "text_pair"], "padding": 0, "max_length": 8}}
    assert set(told["tokens"]) == {"kind", "columns", "padding", "labels", "max_length", "overlap"}
    numbers = {"max_length", "overlap", "question_length", "null_threshold", "max_answer_length"}
    assert set(told["answers"]) == {"kind", "columns", "padding", *numbers}


def test_the_same_evaluation_writes_the_same_bytes(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks import evaluate
    from tests.tasks.project import run

    exported("classes")
    first = {file.name: file.read_bytes() for file in Path(FOLDER).iterdir()}
    assert set(first) == {"model.onnx", "tokenizer.json", "inference.json", "README.md"}
    words = ("--data", "data/task", "--model", "models/tinybert", "--onnx", "models/onnx/tinybert")
    run(evaluate, "tinybert", *words, "--out", "reports/tinybert", "--exported", FOLDER)
    assert {file.name: file.read_bytes() for file in Path(FOLDER).iterdir()} == first


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_new_environment_of_three_packages_gives_what_evaluation_gave(exported: Exported, tmp_path: Path) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    venv.create(python.parents[1], with_pip=True)
    packages = ("onnxruntime", "tokenizers", "numpy")
    install = [python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", *packages]
    subprocess.run(list(map(str, install)), check=True, capture_output=True)
    # -I: nothing of this environment, nor of the folder that it is called from.
    absent = "import importlib.util as u\nassert not any(map(u.find_spec, ('torch', 'transformers', 'stillhouse')))\n"
    for case in SENTENCES:
        exported(case)
        Path("lines.py").write_text(f"{absent}{lines(rows())}\nprint(json.dumps(given))\n", encoding="utf-8")
        done = subprocess.run([str(python), "-I", "lines.py"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        if case == "scores":
            np.testing.assert_allclose(json.loads(done.stdout), np.array(predicted(), dtype=float), atol=2e-4)
        else:
            assert as_written(json.loads(done.stdout)) == predicted()
