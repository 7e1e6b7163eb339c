"""The README's lines that run an exported folder, and what they give; and what evaluation wrote, to compare it with."""

import csv
import re
from pathlib import Path

from tasks.data.dataset import load_split
from tests.tasks.project import ROOT

FOLDER = "models/exported/tinybert"


def block() -> str:
    """The README's lines."""
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    (found,) = [each for each in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "inference.json" in each]
    return found


def lines(rows: list, folder: str = FOLDER) -> str:
    """The README's lines, with other rows to read, of another folder."""
    changed = re.sub(r"^rows = .*$", lambda _: f"rows = {rows!r}", block(), flags=re.MULTILINE)
    assert changed != block() and FOLDER in changed
    return changed.replace(FOLDER, folder)


def given(rows: list, folder: str = FOLDER) -> list:
    """The labels or scores that they give."""
    names: dict = {}
    exec(lines(rows, folder), names)
    return names["given"]


def rows() -> list:
    """What the model was evaluated on: texts, or pairs."""
    data = load_split(Path("data/task/validation.parquet"))
    texts = data["text"][:]
    return list(zip(texts, data["text_pair"], strict=True)) if "text_pair" in data.column_names else texts


def predicted(report: str = "reports/tinybert") -> list[str]:
    """What evaluation wrote that the model said of each."""
    with Path(report, "predictions.csv").open(newline="") as stream:
        return [row["predicted"] for row in csv.DictReader(stream)]


def as_written(given: list) -> list[str]:
    """Labels or scores, as predictions.csv has them."""
    return [
        f"{each:.4f}" if isinstance(each, float) else each if isinstance(each, str) else ", ".join(each) or "none"
        for each in given
    ]
