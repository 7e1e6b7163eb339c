"""`import stillhouse` and transformers' own imports go together in any order."""

import subprocess
import sys
from pathlib import Path

import pytest

from stillhouse.surgery import slice_heads
from tests import tiny

LOAD = "model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1])"
ORDERS = {
    "stillhouse, then the model of the family": "import stillhouse\nfrom transformers import BertModel",
    "stillhouse, then the configs": "import stillhouse\nfrom transformers import AutoConfig",
    "stillhouse, then the trainer": "import stillhouse\nfrom transformers import Trainer",
    "stillhouse last": "from transformers import AutoModel\nimport stillhouse",
    "surgery first": "import stillhouse.surgery",
}


# A process that imports transformers anew takes five seconds: the others run with the slow tests.
FAST = ("stillhouse last",)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compact")
    slice_heads(tiny.bert(), [[0], [1, 2]]).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    "order", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in ORDERS]
)
def test_a_compressed_model_loads_whatever_was_imported_first(checkpoint: Path, order: str) -> None:
    lines = ["import sys", ORDERS[order], "from transformers import AutoModelForSequenceClassification", LOAD]
    code = "\n".join([*lines, "print(type(model).__name__, model.config.layer_heads)"])
    done = subprocess.run([sys.executable, "-c", code, str(checkpoint)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "CompactBertForSequenceClassification [1, 2]\n"


def test_importing_stillhouse_imports_neither_torch_nor_transformers() -> None:
    code = "import sys, stillhouse; print(sorted({'torch', 'transformers'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
