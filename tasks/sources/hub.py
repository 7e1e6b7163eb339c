"""Datasets from the Hugging Face hub, by id (or a local folder in a form that `datasets` knows). No remote code."""

from collections.abc import Iterator, Mapping
from typing import Any

import datasets
import httpx2
from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import disable_progress_bars

from stillhouse.errors import InputError
from tasks.sources.blocks import HubParams
from tasks.sources.split import (
    NO_TEXT,
    QUESTIONS,
    Column,
    Row,
    Source,
    Split,
    columns_of_split,
    pick,
    sources,
    wrong_column,
)

SPLITS = ("train", "validation", "test")
NETWORK = (ConnectionError, TimeoutError, httpx2.TransportError, HfHubHTTPError)


def read_hub(hub: HubParams, columns: Mapping[str, Column]) -> Source:
    """A task from the hub.

    Args:
        hub: the dataset and its splits.
        columns: our name of a column → the dataset's.

    Raises:
        InputError: no such dataset, configuration, split or column, or it needs code of its own to load.
        ConnectionError: the hub cannot be reached.
    """
    label = columns.get("label")
    wanted = {name: columns_of_split(name, columns) for name in SPLITS}
    data = _all_splits(hub, {name: _flat(each) for name, each in wanted.items()})
    # Columns of 0 and 1 have no names of classes.
    named = None if label is None or isinstance(label, list) else str(label)
    labels = _names(data["train"].features[named]) if named else None
    splits = {name: pick(_split(hub, name, rows, named), wanted[name]) for name, rows in data.items()}
    texts = tuple(each for each in columns if each not in NO_TEXT)
    return Source(sources(splits), tuple(columns), labels, texts, texts)


def read_hub_questions(hub: HubParams) -> Source:
    """Questions on a context in SQuAD's columns. Raises as `read_hub` does."""
    columns = list(QUESTIONS)
    data = _all_splits(hub, dict.fromkeys(SPLITS, columns))
    splits = {name: _split(hub, name, rows.select_columns(columns), None) for name, rows in data.items()}
    return Source(sources(splits), QUESTIONS, None, ("question", "context"), ("context",))


def read_hub_lists(hub: HubParams, columns: Mapping[str, str]) -> Source:
    """Words and their labels, in columns of lists. Raises as `read_hub` does.

    Args:
        columns: of `text` and `label`, the dataset's names.
    """
    data = _all_splits(hub, {split: list(columns.values()) for split in SPLITS})
    label = columns["label"]
    named = label if _names(data["train"].features[label]) else None

    def split(name: str, rows: datasets.Dataset) -> Split:
        raw = _split(hub, name, rows.select_columns(list(columns.values())), named)

        def renamed() -> Iterator[tuple[int, Row]]:
            for number, row in raw.rows():
                yield number, {ours: row[theirs] for ours, theirs in columns.items()}

        return Split(raw.where, raw.unit, renamed)

    splits = {name: split(name, rows) for name, rows in data.items()}
    labels = _names(data["train"].features[label])
    return Source(sources(splits), tuple(columns), labels, ("text",), ("text",))


def _flat(columns: Mapping[str, Column]) -> list[str]:
    return [str(each) for column in columns.values() for each in (column if isinstance(column, list) else [column])]


def _all_splits(hub: HubParams, columns: Mapping[str, list[str]]) -> dict[str, datasets.Dataset]:
    """The dataset's splits that params.yaml names, each with its columns."""
    assert hub.name is not None
    named = {"train": hub.train_split, "validation": hub.validation_split, "test": hub.test_split}
    data = {name: load_split(hub.name, hub.config, hub.revision, split) for name, split in named.items() if split}
    for split, rows in data.items():
        for column in columns[split]:
            if column not in rows.column_names:
                raise wrong_column(f"dataset '{hub.name}'", column, rows.column_names)
    return data


def load_split(name: str, config: str | None, revision: str | None, split: str) -> datasets.Dataset:
    """One split, memory-mapped. Raises as `read_hub` does."""
    where = f"dataset '{name}'" + (f", configuration '{config}'" if config else "")
    # A stage's output is lines in a log, where a bar that redraws itself is noise.
    datasets.disable_progress_bars()
    disable_progress_bars()
    print(f"{where}: loading split '{split}'", flush=True)
    try:
        return datasets.load_dataset(name, config, split=split, revision=revision)
    except DatasetNotFoundError:
        raise InputError(f"{where}: no such dataset on the hub, and no such folder: check its spelling") from None
    except NETWORK as error:
        raise ConnectionError(f"{where}: {error}") from None
    except DatasetGenerationError as error:
        if isinstance(error.__cause__, NETWORK):
            raise ConnectionError(f"{where}: {error.__cause__}") from None
        raise InputError(f"{where}: cannot be read: {' '.join(str(error.__cause__ or error).split())[:200]}") from None
    except (ValueError, RuntimeError, FileNotFoundError) as error:
        # An unknown configuration or split (the message lists those there are), a dataset that is a script, no data.
        raise InputError(f"{where}: {' '.join(str(error).split())[:300]}") from None


def _names(feature: Any) -> tuple[str, ...] | None:
    """The names of a column of classes, one a row or several; None where it is none."""
    feature = getattr(feature, "feature", feature)
    return tuple(feature.names) if isinstance(feature, datasets.ClassLabel) else None


def _split(hub: HubParams, ours: str, data: datasets.Dataset, label: str | None) -> Split:
    name, split = hub.name, getattr(hub, f"{ours}_split")
    names = _names(data.features[label]) if label else None

    def named(place: int | list[int], number: int) -> str | list[str]:
        assert names is not None
        if isinstance(place, list):
            return [str(named(each, number)) for each in place]
        if place < 0:
            raise InputError(f"dataset '{name}', split '{split}', row {number}: it has no labels: choose another")
        return names[place]

    def rows() -> Iterator[tuple[int, Row]]:
        for number, row in enumerate(data):
            if names is not None and row[label] is not None:
                row[label] = named(row[label], number)
            yield number, row

    return Split(f"dataset '{name}', split '{split}'", "row", rows)
