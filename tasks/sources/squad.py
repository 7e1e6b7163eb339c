"""SQuAD 1.1 and 2.0: articles of paragraphs of questions, to one row a question."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stillhouse.errors import InputError
from tasks.sources.files import existing
from tasks.sources.json_stream import elements
from tasks.sources.split import QUESTIONS, Row, Source, Split, sources

FILES = {"train": "train.json", "validation": "dev.json", "test": None}


def read_squad_folder(folder: Path, files: Mapping[str, str | None]) -> Source:
    """The files of a folder; None is the usual name, and for test that there is none. Raises as `read_squad` does."""
    names = {split: files.get(split) or usual for split, usual in FILES.items()}
    splits = {split: read_squad(folder / name) if name else None for split, name in names.items()}
    return Source(sources(splits), QUESTIONS, None, ("question", "context"), ("context",))


def read_squad(file: Path) -> Split:
    """The questions of a file. One that has no answer in its context has empty lists.

    Text is not stripped here: answers are places in it.

    Raises:
        InputError: no such file. Reading raises it for a file that is not SQuAD's.
    """

    existing(file)

    def rows() -> Iterator[tuple[int, Row]]:
        try:
            yield from enumerate(_questions(file), start=1)
        except (KeyError, TypeError, AttributeError) as fault:
            raise InputError(f"{file}: not in SQuAD's layout of articles, paragraphs and questions ({fault})") from None

    return Split(str(file), "question", rows)


def _questions(file: Path) -> Iterator[Row]:
    for article in elements(file, "data"):
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                yield _row(file, paragraph["context"], question)


def _row(file: Path, context: str, question: dict[str, Any]) -> Row:
    answers = [] if question.get("is_impossible", False) else question["answers"]
    if answers is None:
        raise InputError(
            f"{file}: question '{question['id']}': 'answers' is null: an empty list says that there is none"
        )
    return {
        "id": str(question["id"]),
        "question": question["question"].strip(),
        "context": context,
        "answers": {
            "text": [answer["text"] for answer in answers],
            "answer_start": [answer["answer_start"] for answer in answers],
        },
    }
