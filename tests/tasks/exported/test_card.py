"""The card says what is so: figures with their rows and split, which checkpoints transformers loads by itself."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from stillhouse.encoders.checkpoint import save_model
from stillhouse.encoders.student import build_student
from stillhouse.families.find import FAMILIES
from stillhouse.surgery import drop_layers, quantize
from stillhouse.surgery.trimming import named_pieces, trim
from stillhouse.text.trimming import needed_pieces
from tasks.exported.card import card, plain
from tasks.kinds.classes import Classes
from tests import families, tiny
from tests.flows.conftest import METRICS
from tests.shapes import SURGERY
from tests.tasks.exported.conftest import Exported
from tests.tasks.exported.readme import FOLDER

TOLD = {"kind": "classes", "columns": ["text"], "padding": 0, "labels": ["bad", "good"], "max_length": 16}
CONFIG = {"model_type": "bert"}
# In a process that has no Stillhouse: None in sys.modules is a package that is not there.
BARE = """
import sys
sys.modules["stillhouse"] = None
import json
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
found = {}
for folder in sys.argv[1:]:
    try:
        model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    except ValueError as error:
        found[folder] = str(error)
        continue
    batch = AutoTokenizer.from_pretrained(folder)("the film is very good", return_tensors="pt")
    with torch.no_grad():
        found[folder] = model(**batch).logits[0].tolist()
print(json.dumps(found))
"""


def test_the_card_has_scores_with_their_rows_and_split_and_metadata_that_hubs_read() -> None:
    whole = ModelCard(card(Classes, TOLD, METRICS, CONFIG))
    for said in ("On the 400 rows of the validation split, as the task has no test split", "| accuracy | 0.9000 |"):
        assert said in whole.text
    assert "It keeps 99.0% of its teacher's accuracy." in whole.text and "of which it reads 16 tokens" in whole.text
    assert whole.data.to_dict() == {
        **{"library_name": "transformers", "pipeline_tag": "text-classification", "metrics": ["accuracy"]},
        "tags": ["stillhouse", "onnx", "model-compression", "hinton", "classes"],
    }


def test_what_evaluation_writes_names_no_times_and_the_split_that_was_scored() -> None:
    said = card(Classes, TOLD, METRICS | {"split": "test"}, CONFIG)
    assert "On the 400 rows of the test split:" in said and "validation" not in said
    assert "Times differ from run to run" in said and "a toy" not in said


def test_names_of_labels_cannot_break_out_of_the_text() -> None:
    labels = ["`x`\n\n# Not a title", *map(str, range(200))]
    said = card(Classes, TOLD | {"labels": labels}, METRICS, CONFIG)
    assert "\n# Not a title" not in said and "`'x' # Not a title`, `0`" in said and "`28`, … (201)" in said


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("tokens", "A word has the\nlikeliest label (`labels` of `inference.json`"),
        ("answers", "is the span of at most `max_answer_length` tokens of the context"),
    ],
)
def test_kinds_that_are_read_in_windows_say_what_it_takes(exported: Exported, case: str, said: str) -> None:
    exported(case)
    page = Path(FOLDER, "README.md").read_text()
    assert said in page and "longer ones are read in windows" in page


@pytest.mark.slow
def test_plain_shapes_load_in_bare_transformers_and_the_cards_of_others_say_what_to_install(tmp_path: Path) -> None:
    wanted: dict[str, list[float]] = {}

    def save(name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        save_model(model, tokenizer, tmp_path / name)
        with torch.no_grad():
            batch = tokenizer("the film is very good", return_tensors="pt")
            wanted[str(tmp_path / name)] = model(**batch).logits[0].tolist()

    for name in FAMILIES:
        teacher = families.model(name, layers=3)
        save(name, build_student(teacher, layers=2, source_layers=[1, 3], seed=1), families.tokenizer(name))
    model, tokenizer = tiny.bert(layers=3), tiny.tokenizer()
    keep = sorted({*needed_pieces(tokenizer, range(12)), *named_pieces(model, tokenizer)})
    save("trimmed", *trim(model, tokenizer, keep))
    save("fewer layers", drop_layers(model, [0, 2]), tokenizer)
    for what, cut in SURGERY.items():
        save(what, cut(model), tokenizer)
    save("int8", quantize(model), tokenizer)
    assert len(wanted) == 10 + 2 + len(SURGERY) + 1

    done = subprocess.run([sys.executable, "-c", BARE, *wanted], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    loaded = {folder for folder, given in found.items() if isinstance(given, list)}
    assert {Path(folder).name for folder in loaded} == {*FAMILIES, "trimmed", "fewer layers"}
    for folder in wanted:
        config = json.loads(Path(folder, "config.json").read_text())
        assert plain(config) == (folder in loaded), folder
        page = card(Classes, TOLD, METRICS, config)
        if folder in loaded:
            np.testing.assert_allclose(found[folder], wanted[folder], atol=1e-5)
            assert "loads in transformers: `AutoModelForSequenceClassification.from_pretrained" in page
        else:
            assert "Transformers does not recognize this architecture" in found[folder]
            assert (
                f"is of the shape `{config['model_type']}`, which transformers does not know: install Stillhouse"
                in page
            )
