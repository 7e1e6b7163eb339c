"""The schema of data/qa, and its windows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from stillhouse.answers.windows import CLS, answer_place, cut_windows
from stillhouse.encoders.measure import longest_input
from stillhouse.errors import InputError
from tasks.data.dataset import load_split
from tasks.stage.params import WindowParams


@dataclass(frozen=True)
class QaData:
    """Questions: `id`, `question`, `context`, and `answers` {text, answer_start}, empty lists where there is none."""

    train: Dataset
    validation: Dataset


def load_questions(folder: Path) -> QaData:
    """Read what `tasks.prepare qa` wrote.

    Raises:
        InputError: a split is missing or empty, or it is not a question-answering set.
    """
    train, validation = (load_split(folder / f"{split}.parquet") for split in ("train", "validation"))
    if "question" not in train.column_names:
        raise InputError(f"'{folder}' holds no questions ({', '.join(train.column_names)}): give data/qa")
    return QaData(train, validation)


def windows_to_train(data: Dataset, tokenizer: PreTrainedTokenizerBase, params: WindowParams) -> Dataset:
    """One row a window: `input_ids`, maybe `token_type_ids`, `length`, and the places `start` and `end` of the answer.

    Of several right answers the first is learnt, as usual.
    """

    def encode(rows: dict[str, list]) -> dict[str, list]:
        columns = cut_windows(rows["question"], rows["context"], tokenizer, **params.model_dump())
        examples, starts, ends = (columns.pop(name) for name in ("example", "starts", "ends"))
        places = [_first_answer(rows["answers"][example], starts[i], ends[i]) for i, example in enumerate(examples)]
        columns["start"], columns["end"] = (list(part) for part in zip(*places, strict=True))
        return columns | {"length": [len(ids) for ids in columns["input_ids"]]}

    return _mapped(data, encode)


def windows_to_answer(data: Dataset, tokenizer: PreTrainedTokenizerBase, params: WindowParams) -> Dataset:
    """One row a window: `input_ids`, maybe `token_type_ids`, and what `find_answers` wants.

    `example` counts over the whole data set.
    """

    def encode(rows: dict[str, list], places: list[int]) -> dict[str, list]:
        columns = cut_windows(rows["question"], rows["context"], tokenizer, **params.model_dump())
        return columns | {"example": [places[example] for example in columns["example"]]}

    return _mapped(data, encode, with_indices=True)


def check_length(model: PreTrainedModel, params: WindowParams) -> None:
    """A model must have a position for every token of a window.

    Raises:
        InputError: it has not.
    """
    longest = longest_input(model)
    if longest is not None and params.max_length > longest:
        raise InputError(f"windows.max_length = {params.max_length}: the model takes {longest}: lower it")


def _first_answer(answers: dict[str, list], starts: list[int], ends: list[int]) -> tuple[int, int]:
    if not answers["text"]:
        return CLS, CLS
    return answer_place(starts, ends, answers["text"][0], answers["answer_start"][0])


def _mapped(data: Dataset, encode: Any, **options: Any) -> Dataset:
    return data.map(
        encode,
        batched=True,
        remove_columns=data.column_names,
        desc=None,
        keep_in_memory=len(data) <= 100_000,
        load_from_cache_file=False,  # its name would not change with `cut_windows`
        **options,
    )
