"""A model's results on each row of its validation split, kept with its version: so any two are compared row by row.

Classes and scores: `actual,predicted`, where a class is its place among the data's labels. Questions: `answerable`,
`exact` and `f1` of the answer that was given, `best_exact` and `best_f1` of the best answer there was, whether that was
one at all (`best_given`), and `null_odds`. One CSV file, a line a row, in the order of the data.
"""

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stillhouse.errors import InputError

FILE = "rows.csv"
Rows = Mapping[str, NDArray]  # a column per fact, (N,) each


def label_rows(report: Path, data: Path) -> Rows:
    """The rows of a report on classes or scores, from its predictions.csv.

    Raises:
        InputError: it is missing, or not of these data.
    """
    file = report / "predictions.csv"
    columns = _read(file)
    labels = label_names(data)
    if not labels:
        return {name: _numbers(file, columns, name) for name in ("actual", "predicted")}
    places = {label: float(place) for place, label in enumerate(labels)}
    try:
        return {name: np.array([places[label] for label in columns[name]]) for name in ("actual", "predicted")}
    except KeyError as unknown:
        raise InputError(f"'{file}': {unknown} is neither a column nor a label of '{data}': evaluate again") from None


def answer_rows(report: Path, data: Path) -> Rows:
    """The rows of a report on questions, from its folder `answers` and the right answers in the data.

    Raises:
        InputError: it is missing, or not of these data.
    """
    from pyarrow import parquet

    from tasks.evaluation.squad_metrics import exact, f1, normalize

    questions = parquet.read_table(data / "validation.parquet", columns=["id", "answers"]).to_pylist()
    given, odds, best = (_read_json(report / "answers" / f"{name}.json") for name in ("answers", "null_odds", "n_best"))
    lines: list[dict[str, float]] = []
    for question in questions:
        name = question["id"]
        if name not in given:
            raise InputError(f"'{report / 'answers'}' has no answer to question '{name}' of '{data}': evaluate again")
        right = [text for text in question["answers"]["text"] if normalize(text)] or [""]
        first = best[name][0]["text"] if best[name] else ""
        scores = {
            f"{kind}{score.__name__}": max(score(text, one) for one in right)
            for kind, text in (("", given[name]), ("best_", first))
            for score in (exact, f1)
        }
        has = float(bool(question["answers"]["text"]))
        lines.append({"answerable": has, **scores, "best_given": float(bool(first)), "null_odds": float(odds[name])})
    return {key: np.array([line[key] for line in lines]) for key in lines[0]}


def label_names(data: Path) -> list[str]:
    """The data's label names in order; [] for scores.

    Raises:
        InputError: the data are missing.
    """
    from pyarrow import parquet

    file = data / "validation.parquet"
    if not file.is_file():
        raise InputError(f"'{file}' is missing: run dvc repro prepare")
    # `datasets` stores its features there.
    described = (parquet.read_schema(file).metadata or {}).get(b"huggingface", b"{}")
    features = json.loads(described).get("info", {}).get("features", {})
    return features.get("label", {}).get("names") or []


def write_rows(rows: Rows, file: Path) -> None:
    """Write them, every number as Python would read it back."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        lines = csv.writer(stream, lineterminator="\n")
        lines.writerow(rows)
        lines.writerows(zip(*(column.tolist() for column in rows.values()), strict=True))


def read_rows(file: Path) -> Rows:
    """What `write_rows` wrote.

    Raises:
        InputError: it is missing or damaged.
    """
    columns = _read(file)
    return {name: _numbers(file, columns, name) for name in columns}


def _read(file: Path) -> dict[str, list[str]]:
    if not file.is_file():
        raise InputError(f"'{file}' is missing: run dvc repro -f evaluate@{file.parent.name}")
    with file.open(encoding="utf-8", newline="") as stream:
        head, *lines = list(csv.reader(stream)) or [[]]
    if not lines or any(len(line) != len(head) for line in lines):
        raise InputError(f"'{file}' is damaged: run dvc repro -f evaluate@{file.parent.name}")
    return {name: [line[at] for line in lines] for at, name in enumerate(head)}


def _numbers(file: Path, columns: dict[str, list[str]], name: str) -> np.ndarray:
    try:
        numbers = np.array([float(value) for value in columns[name]])
    except (KeyError, ValueError) as fault:
        raise InputError(f"'{file}': column '{name}' is no column of numbers ({fault}): evaluate again") from None
    if not np.isfinite(numbers).all():
        raise InputError(f"'{file}': column '{name}' has a value that is not finite: evaluate again")
    return numbers


def _read_json(file: Path) -> dict:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"'{file}' is missing: run dvc repro -f evaluate@{file.parents[1].name}") from None
    except json.JSONDecodeError as error:
        raise InputError(f"'{file}' is not JSON ({error}): run dvc repro -f evaluate@{file.parents[1].name}") from None
