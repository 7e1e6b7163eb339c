"""The first pass over a source of questions: every row is what it says it is, before anything is written."""

from collections.abc import Mapping
from typing import Any

from stillhouse.errors import InputError
from tasks.sources.split import QUESTIONS, Source, Split, text_fault
from tasks.sources.survey import Survey, refuse_empty


def survey_questions(source: Source) -> dict[str, Survey]:
    """Read all splits once; give their surveys.

    Raises:
        InputError: a split is empty, two questions have one id, or a row that `check` refuses.
    """
    ids: dict[str, str] = {}
    found = {name: _survey(split, ids) for name, split in source.splits.items()}
    refuse_empty(found, source.cut)
    return found


def check(row: Mapping[str, Any], where: str) -> None:
    """Refuse a row that is no question on its context.

    Raises:
        InputError: id, question or context has no text, or an answer is empty or not at its place.
    """
    for column in ("id", "question", "context"):
        if fault := text_fault(row[column]):
            raise InputError(f"{where}: column '{column}' {fault}")
    answers = row["answers"]
    if not isinstance(answers, Mapping) or {"text", "answer_start"} - set(answers):
        raise InputError(f"{where}: 'answers' is {str(answers)[:80]!r}: lists 'text' and 'answer_start' are expected")
    texts, starts = answers["text"], answers["answer_start"]
    if len(texts) != len(starts):
        raise InputError(f"{where}: {len(texts)} answers at {len(starts)} places: each answer has one 'answer_start'")
    for text, start in zip(texts, starts, strict=True):
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"{where}: an answer has no text: a question without an answer has empty lists")
        if not isinstance(start, int) or isinstance(start, bool):
            raise InputError(f"{where}: 'answer_start' is {str(start)[:40]!r}: a whole number is expected")
        if start < 0 or row["context"][start : start + len(text)] != text:
            raise InputError(f"{where}: answer '{text[:80]}' is not at {start} in its context")


def _survey(split: Split, ids: dict[str, str]) -> Survey:
    found = Survey(split)
    for number, row in split.rows():
        where = f"{split.where}, {split.unit} {number}"
        missing = set(QUESTIONS) - set(row)
        if missing:
            raise InputError(f"{where}: no column '{sorted(missing)[0]}': it has {', '.join(row)}")
        check(row, where)
        if row["id"] in ids:
            raise InputError(f"{where}: id '{row['id']}' is that of {ids[row['id']]} too: each question has its own")
        ids[row["id"]] = where
        found.rows += 1
    return found
