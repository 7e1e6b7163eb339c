"""Datasets from the Hugging Face hub, by id (or a local folder in a form that `datasets` knows). No remote code."""

from collections.abc import Iterator

import datasets
import httpx2
from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import disable_progress_bars

from stillhouse.errors import InputError
from tasks.sources.split import QUESTIONS, Row, Source, Split, pick, wrong_column

NETWORK = (ConnectionError, TimeoutError, httpx2.TransportError, HfHubHTTPError)


def read_hub(
    name: str, config: str | None, revision: str | None, splits: tuple[str, str], columns: dict[str, str]
) -> Source:
    """A task from the hub.

    Args:
        name: dataset id, or a local folder.
        config: its configuration.
        revision: a commit, tag or branch; None: the newest.
        splits: names of the training and the validation split.
        columns: our name of a column → the dataset's.

    Raises:
        InputError: no such dataset, configuration, split or column, or it needs code of its own to load.
        ConnectionError: the hub cannot be reached.
    """
    train, validation = (load_split(name, config, revision, split) for split in splits)
    for data in (train, validation):
        for column in columns.values():
            if column not in data.column_names:
                raise wrong_column(f"dataset '{name}'", column, data.column_names)
    feature = train.features[columns["label"]]
    labels = tuple(feature.names) if isinstance(feature, datasets.ClassLabel) else None
    return Source(
        pick(_split(name, splits[0], train, columns["label"]), columns),
        pick(_split(name, splits[1], validation, columns["label"]), columns),
        tuple(columns),
        labels,
    )


def read_hub_questions(name: str, config: str | None, revision: str | None, splits: tuple[str, str]) -> Source:
    """Question answering in SQuAD's columns; arguments as for `read_hub`, and raises as that does."""
    train, validation = (load_split(name, config, revision, split) for split in splits)
    for data in (train, validation):
        for column in QUESTIONS:
            if column not in data.column_names:
                raise wrong_column(f"dataset '{name}'", column, data.column_names)
    columns = list(QUESTIONS)
    return Source(
        _split(name, splits[0], train.select_columns(columns), None),
        _split(name, splits[1], validation.select_columns(columns), None),
        QUESTIONS,
        None,
    )


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


def _split(name: str, split: str, data: datasets.Dataset, label: str | None) -> Split:
    feature = data.features[label] if label else None
    names = feature.names if isinstance(feature, datasets.ClassLabel) else None

    def rows() -> Iterator[tuple[int, Row]]:
        for number, row in enumerate(data):
            if names is not None and row[label] is not None:
                if row[label] < 0:
                    raise InputError(
                        f"dataset '{name}', split '{split}', row {number}: it has no labels: choose another"
                    )
                row[label] = names[row[label]]
            yield number, row

    return Split(f"dataset '{name}', split '{split}'", "row", rows)
