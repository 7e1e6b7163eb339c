"""The files of data/task and data/corpus, and texts as token ids."""

import os
from collections.abc import Callable
from pathlib import Path

from datasets import Dataset
from datasets.exceptions import DatasetGenerationError
from pyarrow import ArrowException, parquet
from transformers import PreTrainedTokenizerBase

from stillhouse.errors import InputError

IN_MEMORY = 100_000  # rows whose tokens stay in memory


def load_split(file: Path) -> Dataset:
    """Memory-map one Parquet file.

    Raises:
        InputError: the file is missing, is not Parquet, or has no rows.
    """
    if not file.is_file():
        raise InputError(f"'{file}' is missing: run the stage that makes it (dvc repro prepare)")
    with file.open("rb") as stream:
        magic = stream.read(4)
    if magic != b"PAR1":
        raise InputError(f"'{file}' is not a Parquet file: remove it and run its stage again")
    try:
        rows = parquet.read_metadata(file).num_rows
    except (ArrowException, OSError) as error:
        raise InputError(f"'{file}' is damaged ({error}): remove it and run its stage again") from None
    if rows == 0:
        raise InputError(f"'{file}' has no rows: check the source and the limits in params.yaml")
    cache = Path(os.environ.get("STILLHOUSE_CACHE", ".cache")) / "datasets"
    try:
        data = Dataset.from_parquet(str(file), cache_dir=str(cache))
    except DatasetGenerationError as error:
        reason = " ".join(str(error.__cause__ or error).split())[:200]
        raise InputError(f"'{file}' is damaged ({reason}): remove it and run its stage again") from None
    assert isinstance(data, Dataset)
    return data


def tokenize(data: Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int) -> Dataset:
    """Add `input_ids` (and `token_type_ids` for pairs) and `length` in tokens; the text itself goes, the rest stays.

    Padding is left to the batch: see `stillhouse.training.batches`.
    """
    pair = "text_pair" in data.column_names

    def encode(rows: dict[str, list]) -> dict[str, list]:
        columns = [rows["text"], rows["text_pair"]] if pair else [rows["text"]]
        tokens = tokenizer(*columns, truncation=True, max_length=max_length, return_attention_mask=False)
        keep = {name: tokens[name] for name in tokenizer.model_input_names if name in tokens}
        if not pair:
            # All zero, and the model's own default: not worth carrying through every batch.
            keep.pop("token_type_ids", None)
        return keep | {"length": [len(ids) for ids in tokens["input_ids"]]}

    text = ["text", "text_pair"] if pair else ["text"]
    return data.map(encode, batched=True, remove_columns=text, desc=None, keep_in_memory=len(data) <= IN_MEMORY)


def cut_rows(rows: Dataset, cut: Callable[[dict[str, list], list[int]], dict[str, list]]) -> Dataset:
    """What a kind makes of rows of which each becomes one window or more.

    Args:
        cut: of some rows' columns and their places, the windows' columns.
    """
    return rows.map(
        cut,
        batched=True,
        with_indices=True,
        remove_columns=rows.column_names,
        desc=None,
        keep_in_memory=len(rows) <= IN_MEMORY,
        load_from_cache_file=False,  # its name would not change with the code that cuts
    )
