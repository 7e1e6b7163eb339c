"""Files that were damaged on their way: a reader takes them, or refuses them in one line and leaves nothing half-made.

Each case flips, cuts, repeats or re-encodes parts of a good file, as a seed draws them. By hand, more of them:

    STILLHOUSE_MUTATIONS=200 STILLHOUSE_SEED=2 python -m pytest tests/guards/test_mutations.py
"""

import json
import random
import sys
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from tasks import export, prepare
from tasks.stage import program
from tasks.stage.params import PARAMS, read_yaml
from tests import tiny
from tests.mutations import COUNT, SEED, mutated
from tests.tasks import project

TEXTS = ["a fine film", "it is dull", "naïve, and “good”", "so it goes", "quite bad", "the plot", "café", "a scene"]
ROWS = [{"text": text, "label": "yn"[number % 2]} for number, text in enumerate(TEXTS)]


def squad(letter: str) -> str:
    """Questions in SQuAD's layout whose ids begin with a letter."""
    paragraphs = [
        {
            "context": f"the film {number} is very {letter}",
            "qas": [
                {"id": f"{letter}{number}", "question": "what is it", "answers": [{"text": "film", "answer_start": 4}]}
            ],
        }
        for number in range(4)
    ]
    return json.dumps({"data": [{"paragraphs": paragraphs}]})


def tables(folder: Path) -> None:
    frame = pd.DataFrame(ROWS)
    frame.to_csv(folder / "rows.tsv", sep="\t", index=False)
    frame.to_csv(folder / "rows.csv", index=False)
    frame.to_parquet(folder / "rows.parquet")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS))
    (folder / "rows.json").write_text(json.dumps(ROWS))
    (folder / "squad.json").write_text(squad("a"))
    words = [(text.split(), ["B-ART", *["O"] * (len(text.split()) - 1)]) for text in TEXTS]
    sentences = ("".join(f"{word}\t{tag}\n" for word, tag in zip(*row, strict=True)) for row in words)
    (folder / "words.conll").write_text("\n".join(sentences))
    spans = [
        {"text": text, "label": [{"start": 0, "end": len(row[0]), "label": "ART"}]}
        for text, (row, _) in zip(TEXTS, words, strict=True)
    ]
    (folder / "words.jsonl").write_text("".join(json.dumps(row) + "\n" for row in spans))
    shares = [{**row, "label": None, "shares": [0.25, 0.75]} for row in ROWS]
    (folder / "shares.jsonl").write_text("".join(json.dumps(row) + "\n" for row in shares))


def of_a_table(root: Path, file: Path) -> None:
    files = {"folder": "raw", "train": file.name, "validation": None, "test": None, "layout": "table"}
    data = {"kind": "classes", "source": "files", "files": files, "validation_share": 0.4, "overlap": "say"}
    data |= {"columns": {"text": "text", "text_pair": None, "label": "label", "probabilities": None}, "labels": None}
    if file.stem == "squad":
        files["layout"], data["kind"] = "squad", "answers"
        # Its layout has a validation file by a usual name.
        (root / "raw/dev.json").write_text(squad("b"))
    if file.stem == "words":
        data["kind"] = "tokens"
    if file.suffix == ".conll":
        files["layout"] = "conll"
        (root / "raw/dev.conll").write_text("x\tB-ART\ny\tO\n")
    if file.stem == "shares":
        data |= {"labels": ["n", "y"], "columns": data["columns"] | {"label": None, "probabilities": "shares"}}
    tree = json.loads((root / "params.yaml").read_text())
    (root / "params.yaml").write_text(json.dumps(tree | {"data": tree["data"] | data}))


def run(stage: ModuleType, *words: str) -> int:
    """The exit code of a program in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["stage", *words])
        try:
            program.run(stage.main)
        except SystemExit as left:
            return int(left.code or 0)
    return 0


def holds(code: int, shown: str, out: Path, what: str) -> None:
    """It was taken, or refused as the README says."""
    if code == 0:
        assert out.is_dir(), what
        return
    assert code in (2, 75) and shown.startswith("error: ") and shown.count("\n") == 1, f"{what}: {code} {shown}"
    assert len(shown) < 1500 and "Traceback" not in shown, what
    assert not out.exists() and not list(out.parent.glob(f"{out.name}*")), what


@pytest.mark.parametrize(
    "name",
    [
        *("rows.tsv", "rows.csv", "rows.parquet", "rows.jsonl", "rows.json", "squad.json"),
        *("words.conll", "words.jsonl", "shares.jsonl"),
    ],
)
def test_a_damaged_table_is_read_or_refused_in_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project.params(tmp_path)
    (tmp_path / "raw").mkdir()
    tables(tmp_path / "raw")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STILLHOUSE_TRACKING", "off")
    file = tmp_path / "raw" / name
    of_a_table(tmp_path, file)
    good, draw = file.read_bytes(), random.Random(f"{SEED} {name}")
    assert run(prepare, "task", "--out", "out/whole") == 0, capsys.readouterr().err
    for number in range(COUNT):
        file.write_bytes(mutated(good, draw))
        capsys.readouterr()
        code = run(prepare, "task", "--out", f"out/{number}")
        holds(code, capsys.readouterr().err, tmp_path / "out" / str(number), f"{name}, seed {SEED}, mutation {number}")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"])
def test_a_damaged_checkpoint_is_loaded_or_refused_in_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project.params(tmp_path)
    tiny.save(tiny.bert(width=8, heads=2), tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STILLHOUSE_TRACKING", "off")
    file = tmp_path / "model" / name
    good, draw = file.read_bytes(), random.Random(f"{SEED} {name}")
    for number in range(COUNT):
        file.write_bytes(mutated(good, draw))
        capsys.readouterr()
        code = run(export, "--kind", "classes", "--model", "model", "--out", f"out/{number}")
        holds(code, capsys.readouterr().err, tmp_path / "out" / str(number), f"{name}, seed {SEED}, mutation {number}")


def test_damaged_parameters_are_read_or_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "raw").mkdir()
    tables(tmp_path / "raw")
    project.params(tmp_path)
    of_a_table(tmp_path, tmp_path / "raw" / "rows.tsv")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STILLHOUSE_TRACKING", "off")
    good, draw = PARAMS.read_bytes(), random.Random(f"{SEED} params")
    for number in range(COUNT * 2):
        PARAMS.write_bytes(mutated(good, draw))
        capsys.readouterr()
        code = run(prepare, "task", "--out", f"out/{number}")
        holds(code, capsys.readouterr().err, tmp_path / "out" / str(number), f"params, seed {SEED}, mutation {number}")
    PARAMS.write_bytes("data: {kind: café}\n".encode("latin-1"))
    assert run(prepare, "task", "--out", "out/x") == 2 and "not UTF-8 text (byte 0xe9)" in capsys.readouterr().err
    PARAMS.write_bytes(good)
    assert read_yaml(PARAMS)["data"]["kind"] == "classes"
