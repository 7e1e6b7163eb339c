"""What a large vocabulary takes: the peak memory of an XLM-R of two layers, with as many pieces as the published one.

    python -m benchmarks.vocabulary
    python -m benchmarks.vocabulary --pieces 30522        # BERT's, to compare

Weights are random and most pieces are never used: memory asks for neither. The rows are sentences of installed
libraries' docstrings. Every measurement is a process of its own, as the pipeline runs it; its peak is the kernel's
figure, Python and its libraries included.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ruamel.yaml import YAML
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaForSequenceClassification

from benchmarks.memory import UNTRACKED, read_sentences
from benchmarks.usage import used_by
from stillhouse.encoders.checkpoint import save_model
from tasks.sources.write import features, write_rows
from tasks.stage.params import PARAMS, read_yaml

PIECES = 250_002  # of xlm-roberta-base
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
LABELS = ("even", "odd")
LOAD = """
import sys
from pathlib import Path
from tasks.kinds.find import kind_class
from stillhouse.encoders.checkpoint import load_model, load_tokenizer
if len(sys.argv) > 1:
    model = load_model(Path(sys.argv[1]), kind_class("classes").auto, whole=True)
    if len(sys.argv) > 2:
        print(sum(float(weight.detach().sum()) for weight in model.parameters()))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Peak memory of an XLM-R of two layers.")
    parser.add_argument("--pieces", type=int, default=PIECES, help=f"default: {PIECES:,}")
    parser.add_argument("--rows", type=int, default=256, help="training rows; default: 256")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, arguments.pieces, arguments.rows)
        size = (folder / "teacher/model.safetensors").stat().st_size
        print(f"2 layers, 768 wide, {arguments.pieces:,} pieces: {size / 2**20:,.0f} MiB of weights", flush=True)
        for what, command in commands(folder).items():
            peak = used_by(command, variables=UNTRACKED | {"STILLHOUSE_CACHE": str(folder / "cache")}).peak
            print(f"  {what:58}{peak / 2**20:8,.0f} MiB", flush=True)


def make(folder: Path, pieces: int, rows: int) -> None:
    """A checkpoint, a task and its params.yaml."""
    sentences = read_sentences(None)[: rows + 64]
    tokens = tokenizer(sentences, pieces)
    shape = {"hidden_size": 768, "num_hidden_layers": 2, "num_attention_heads": 12, "intermediate_size": 3072}
    config = XLMRobertaConfig(
        vocab_size=len(tokens), max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5, **shape
    )  # type: ignore[arg-type]
    config.id2label = dict(enumerate(LABELS))
    config.label2id = {label: place for place, label in enumerate(LABELS)}
    save_model(XLMRobertaForSequenceClassification(config), tokens, folder / "teacher")
    (folder / "task").mkdir()
    for split, part in (("train", sentences[:rows]), ("validation", sentences[rows:])):
        labelled = ({"text": text, "label": i % 2} for i, text in enumerate(part))
        write_rows(labelled, features(("text", "label"), LABELS), folder / "task" / f"{split}.parquet", "classes")
    tree = read_yaml(PARAMS)
    phase = {"epochs": 1, "batch_size": 32, "learning_rate": 1e-5, "seed": 1}
    tree["data"]["kind"] = "classes"
    tree["teacher"] |= {"model": str(folder / "teacher"), "phase": phase, "floor": 0.0}
    tree["hinton"]["distill"]["student"] |= {"layers": 2}
    tree["hinton"]["distill"]["phase"] = phase
    YAML().dump(tree, folder / "params.yaml")


def commands(folder: Path) -> dict[str, list[str]]:
    """What is measured, and how it is run."""
    paths = {"--data": "task", "--out": "out", "--params": "params.yaml"}
    words = [part for option, path in paths.items() for part in (option, str(folder / path))]
    teacher, module = str(folder / "teacher"), [sys.executable, "-m"]
    return {
        "imports alone": [sys.executable, "-c", LOAD],
        "load: weights are mapped": [sys.executable, "-c", LOAD, teacher],
        "load, and read every weight": [sys.executable, "-c", LOAD, teacher, "read"],
        "finetune: AdamW on all word vectors": [*module, "tasks.finetune", *words],
        "hinton: teacher and student, word vectors of seen pieces": [
            *(*module, "tasks.task_phase", "hinton", "--teacher", teacher, *words),
        ],
        "trim": [*module, "tasks.trim", "trim", "--model", teacher, "--corpus", str(folder / "task"), *words],
    }


def tokenizer(sentences: Sequence[str], pieces: int) -> PreTrainedTokenizerFast:
    """A Unigram tokenizer of this size: letters and words of the sentences, then pieces that no text has."""
    words = dict.fromkeys(f"▁{word}" for sentence in sentences for word in sentence.split())
    letters = sorted({letter for word in words for letter in word})
    known = list(dict.fromkeys([*letters, *words]))[: pieces - len(SPECIAL) - 1]
    rest = [f"▁{number:x}§" for number in range(pieces - len(SPECIAL) - 1 - len(known))]
    scored = [(piece, 0.0) for piece in SPECIAL]
    scored += [(piece, -4.0 - 10.0 * (len(piece) == 1)) for piece in known] + [(piece, -20.0) for piece in rest]
    core = Tokenizer(models.Unigram([*scored, ("<mask>", 0.0)], unk_id=3))
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    core.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    names = {"bos": "<s>", "cls": "<s>", "eos": "</s>", "sep": "</s>", "unk": "<unk>", "pad": "<pad>"}
    special = {f"{name}_token": piece for name, piece in names.items()} | {"mask_token": AddedToken("<mask>")}
    return PreTrainedTokenizerFast(tokenizer_object=core, model_input_names=["input_ids", "attention_mask"], **special)


if __name__ == "__main__":
    main()
