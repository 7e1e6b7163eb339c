"""The folder that leaves the project: whoever has it runs the model with onnxruntime, tokenizers and numpy alone.

    model.onnx       the graph
    tokenizer.json   it cuts and pads as the model was evaluated; where rows are read in windows it does neither
    inference.json   how to feed the graph and to read what it gives: see `inference`
    README.md        the card: see `tasks.exported.card`

The same evaluation writes the same bytes.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from stillhouse.encoders.checkpoint import load_tokenizer
from stillhouse.encoders.label_names import label_order, names_in
from tasks.exported.card import card
from tasks.exported.names import CARD, INFERENCE
from tasks.kinds.judging import Judged
from tasks.stage.json_files import read_json, write_json
from tasks.stage.outputs import fresh_dir


def write_exported(judged: Judged, figures: Mapping[str, Any], checkpoint: Path, onnx: Path, out: Path) -> None:
    """Write the folder of an evaluated model.

    Args:
        figures: its metrics.json.
        onnx: folder of its model.onnx.
    """
    tokenizer = load_tokenizer(checkpoint)
    told = inference(judged, tokenizer)
    config = read_json(checkpoint / "config.json", "run the stage that makes it")
    with fresh_dir(out) as folder:
        shutil.copyfile(onnx / "model.onnx", folder / "model.onnx")
        longest = None if judged.kind.in_windows else told["max_length"]
        portable_tokenizer(tokenizer, longest).save(str(folder / "tokenizer.json"))
        write_json(folder / INFERENCE, told)
        (folder / CARD).write_text(card(type(judged.kind), told, figures, config), encoding="utf-8")


def inference(judged: Judged, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """What inference.json says.

    Returns:
        kind: the kind of task.
        columns: what a row has, in the order in which the tokenizer takes it.
        labels: of classes, multi-label and tokens: what each logit is of, in order.
        padding: the token id that fills up a batch.
        max_length: tokens that the model reads at a time, special ones included.
        …: of multi-label `thresholds`, the probability from which each label is given, in the order of `labels`; of
        tokens and answers the numbers of `kinds.NAME` in params.yaml.
    """
    kind, served = judged.kind, judged.served
    numbers = dict(served["numbers"])
    told: dict[str, Any] = {"kind": kind.name, "columns": served["columns"], "padding": tokenizer.pad_token_id}
    names = getattr(kind, "names", ())
    if len(names) == judged.model.config.num_labels:
        # A checkpoint may have its labels in an order of its own, and its graph then has it too.
        order = label_order(names, names_in(judged.model.config.id2label))
        places = sorted(range(len(order)), key=lambda place: order[place])
        told["labels"] = [names[place] for place in places]
        if "thresholds" in numbers:
            numbers["thresholds"] = [numbers["thresholds"][place] for place in places]
    return told | {"max_length": served["judged_by"]["max_length"]} | numbers


def portable_tokenizer(tokenizer: PreTrainedTokenizerBase, max_length: int | None) -> Tokenizer:
    """A copy of the tokenizer that needs no settings.

    Args:
        max_length: tokens at which it cuts a row, and it fills up those of a batch; None: it does neither.
    """
    copy = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    if max_length is None:
        copy.no_truncation()
        copy.no_padding()
        return copy
    copy.enable_truncation(max_length, direction=tokenizer.truncation_side)
    copy.enable_padding(
        pad_id=tokenizer.pad_token_id, pad_token=tokenizer.pad_token, pad_type_id=tokenizer.pad_token_type_id
    )
    return copy
