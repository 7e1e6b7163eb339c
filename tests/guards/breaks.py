"""Ways to break one thing in a copy of a project: each builds a function of the project's folder."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tasks.tracking.store import open_store
from tests.tasks import project

NAME = "stillhouse-docstrings"  # the registered model

Break = Callable[[Path], None]


def nothing(_: Path) -> None:
    """The fault is in the words of the command."""


def params(**changes: object) -> Break:
    """Values of params.yaml by their keys, dots written as __, hyphens as ___."""
    named = {key.replace("___", "-").replace("__", "."): value for key, value in changes.items()}
    return lambda root: project.params(root, **named) and None


def text(name: str, content: str | bytes) -> Break:
    """A file with this content."""

    def write(root: Path) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return write


def gone(name: str) -> Break:
    """A file or folder that is not there."""

    def remove(root: Path) -> None:
        shutil.rmtree(root / name) if (root / name).is_dir() else (root / name).unlink()

    return remove


def block(change: Callable[[dict], object]) -> Break:
    """params.yaml with something done to its tree, which no value of a known key is."""

    def write(root: Path) -> None:
        tree = project.YAML(typ="safe", pure=True).load((root / "params.yaml").read_text())
        change(tree)
        (root / "params.yaml").write_text(json.dumps(tree))

    return write


def table(content: str | bytes, name: str = "train.tsv", **changes: object) -> Break:
    """A task in local files, `text` and `label`, of which one is this."""
    whole = "text\tlabel\na good film\tgood\na dull plot\tbad\n"
    settings: dict[str, object] = {
        "data__source": "files",
        "data__files": {"folder": "raw", "train": name, "validation": "dev.tsv", "test": None, "layout": "table"},
        "data__columns": {"text": "text", "text_pair": None, "label": "label", "probabilities": None},
    }

    def write(root: Path) -> None:
        params(**(settings | changes))(root)
        text("raw/dev.tsv", whole)(root)
        text(f"raw/{name}", content)(root)

    return write


def labelled(row: dict, kind: str, labels: list[str] | None = None) -> Break:
    """A table of some kind whose second row is this; a list of numbers is of probabilities."""
    shares = isinstance(row["label"], list) and any(isinstance(each, float) for each in row["label"])
    good = {"tokens": ["B-PER", "O"] if isinstance(row["text"], list) else [[0, 3, "PER"]], "multi-label": "joy"}
    first = {"text": ["Eve", "sat"] if isinstance(row["text"], list) else "Eve sat", "label": good.get(kind)}
    columns = {"text": "text", "text_pair": None, "label": "label", "probabilities": None}
    if shares:
        first["label"] = [0.5, 0.5]
        columns |= {"label": None, "probabilities": "label"}
    lines = "".join(json.dumps(each) + "\n" for each in (first, row))
    return table(lines, "train.jsonl", data__kind=kind, data__labels=labels, data__columns=columns)


def tagged(content: str) -> Break:
    """A task of words with labels in CoNLL files, of which train is this."""
    files = {"folder": "raw", "train": "train.conll", "validation": "dev.conll", "test": None, "layout": "conll"}
    keys = params(data__kind="tokens", data__source="files", data__files=files)
    return both(keys, text("raw/train.conll", content), text("raw/dev.conll", "Eve\tB-PER\n.\tO\n"))


def squad(context: str, start: int) -> str:
    """A file in SQuAD's layout with one question, whose answer is said to begin at a character."""
    answers = [{"text": "good", "answer_start": start}]
    asked = {"id": context, "question": "how?", "is_impossible": False, "answers": answers}
    return json.dumps(
        {"version": "v2.0", "data": [{"title": "x", "paragraphs": [{"context": context, "qas": [asked]}]}]}
    )


def config(**values: object) -> Break:
    """The teacher's config.json with other values."""

    def write(root: Path) -> None:
        file = root / "models/teacher/config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | values))

    return write


def weights(change: Callable[[bytes], bytes]) -> Break:
    """The teacher's weights, other bytes."""

    def write(root: Path) -> None:
        file = root / "models/teacher/model.safetensors"
        file.write_bytes(change(file.read_bytes()))

    return write


def not_a_number(root: Path) -> None:
    file = root / "models/teacher/model.safetensors"
    save_file({name: tensor * torch.nan for name, tensor in load_file(file).items()}, file, {"format": "pt"})


def tag(**values: str) -> Break:
    """Version 1 with other tags; "" takes one away."""

    def write(_: Path) -> None:
        client, _experiment = open_store()
        for key, value in values.items():
            if value:
                client.set_model_version_tag(NAME, "1", key, value)
            else:
                client.delete_model_version_tag(NAME, "1", key)

    return write


def stranger(_: Path) -> None:
    """A version that somebody made by hand."""
    open_store()[0].create_model_version(NAME, "file:///nowhere", tags={"recipe": "hinton"})


def both(*breaks: Break) -> Break:
    def write(root: Path) -> None:
        for each in breaks:
            each(root)

    return write
