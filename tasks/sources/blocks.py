"""Block `data` of params.yaml: which kind of task, where its rows come from, and how they are split."""

from typing import Any, Literal

from pydantic import Field, model_validator

from tasks.stage.params import Block

Layout = Literal[
    "table",
    "squad",
    "sst2",
    "cola",
    "mrpc",
    "stsb",
    "qqp",
    "mnli",
    "mnli-mm",
    "qnli",
    "rte",
    "wnli",
    "sick",
    "goemotions",
    "conll",
]

NAME = r"^[a-z0-9][a-z0-9._-]*$"  # safe in file names, filters and addresses


class HubParams(Block):
    """`data.hub`: a dataset of the Hugging Face hub."""

    name: str | None = Field(description="Dataset id, such as nyu-mll/glue, or a local folder that `datasets` can read")
    config: str | None = Field(description="Its configuration, such as sst2")
    revision: str | None = Field(description="A commit, tag or branch; null: the newest")
    train_split: str = Field(description="Name of the training split")
    validation_split: str | None = Field(description="Of the validation split; null: it has none")
    test_split: str | None = Field(description="Of the test split; null: it has none with labels")


class DocstringParams(Block):
    """`data.docstrings`: which library is this sentence from? of multi-label: what does the function take? of answers:
    what do they say of a parameter? of tokens: which words are a name, a type, a default?"""

    libraries: list[str] = Field(min_length=1, description="Import names of installed packages; of classes the labels")
    train_per_library: int = Field(gt=0, description="Training rows of each")
    validation_per_library: int = Field(gt=0, description="Validation rows of each")
    min_words: int = Field(gt=0, description="Shorter sentences are left out")
    max_words: int = Field(gt=0, description="Longer sentences, and contexts of answers, are left out")
    unanswerable: float = Field(ge=0, lt=1, description="Of answers: share of questions that the context leaves open")

    @model_validator(mode="after")
    def _consistent(self) -> "DocstringParams":
        check_word_limits(self.min_words, self.max_words)
        if len(set(self.libraries)) < len(self.libraries):
            raise ValueError("a library is named twice")
        return self


class FileParams(Block):
    """`data.files`: local files."""

    folder: str | None = Field(description="Where they are")
    train: str | None = Field(description="Name of the training file; null: the layout's usual one")
    validation: str | None = Field(description="Of the validation file; null: the layout's usual one")
    test: str | None = Field(description="Of the test file; null: there is none")
    layout: Layout | None = Field(
        description="table: TSV, CSV, JSON or Parquet, by suffix, with data.columns; conll: a word a line; the others: "
        "as published"
    )


class ColumnParams(Block):
    """`data.columns`: columns of a hub dataset or a table; by position, from 1, of a .tsv or .csv without a header."""

    text: str | int | None = Field(description="The sentence, or the first of a pair; of tokens: its words")
    text_pair: str | int | None = Field(description="The second of a pair; null for single sentences")
    label: str | int | list[str] | None = Field(
        description="Class name, class index, or score; of multi-label several labels, or a list of columns with 0 or "
        "1; of tokens a label a word, or spans"
    )
    probabilities: str | int | list[str] | None = Field(
        description="Of classes and multi-label: a list or mapping of each label's, or a column of each; null: none"
    )

    @model_validator(mode="after")
    def _consistent(self) -> "ColumnParams":
        named = [value for value in self.model_dump().values() if value is not None]
        given = [each for value in named for each in (value if isinstance(value, list) else [value])]
        if len({type(value) for value in given}) > 1:
            raise ValueError("names and positions are mixed: a file has a header, or it has none")
        if any(isinstance(value, int) and value < 1 for value in given):
            raise ValueError("positions count from 1")
        return self


class DataParams(Block):
    """`data`: the task."""

    kind: str = Field(description="Of task: a file of tasks/kinds")
    name: str | None = Field(pattern=NAME, description="Of the task, in the registry; null: made from its source")
    source: Literal["docstrings", "hub", "files"] = Field(description="Where the rows come from")
    seed: int = Field(ge=0, description="Which rows are drawn, and which are cut for validation and test")
    train_limit: int | None = Field(gt=0, description="Rows kept of the training split, null for all")
    validation_limit: int | None = Field(gt=0, description="Rows kept of the validation split, null for all")
    test_limit: int | None = Field(gt=0, description="Rows kept of the test split, null for all")
    validation_share: float | None = Field(gt=0, lt=1, description="Cut from train where a source has no validation")
    test_share: float | None = Field(gt=0, lt=1, description="Cut from train where a source has no test; null: none is")
    overlap: Literal["say", "refuse", "drop"] = Field(
        description="What to do where a row is in two of train, validation and test; drop: it leaves the earlier one"
    )
    docstrings: DocstringParams
    hub: HubParams
    files: FileParams
    columns: ColumnParams
    labels: list[str] | dict[str | int, str] | str | None = Field(
        description="Names in order, or what each label of the data is called, or a file with a name a line; "
        "null: from the data"
    )
    label_separator: str = Field(min_length=1, description="Of multi-label: what stands between the labels of a cell")

    @model_validator(mode="after")
    def _consistent(self) -> "DataParams":
        if self.labels == []:
            raise ValueError("labels = []: scores are said by data.kind: scores now; set data.labels to null")
        names = list(self.labels.values()) if isinstance(self.labels, dict) else self.labels
        if isinstance(names, list) and len(set(names)) < len(names):
            raise ValueError("labels: a name stands twice")
        if (self.validation_share or 0) + (self.test_share or 0) >= 1:
            raise ValueError("validation_share and test_share leave nothing to train on: lower one")
        return self

    def limit(self, split: str) -> int | None:
        """Rows kept of a split, None for all."""
        limits: dict[str, Any] = {
            "train": self.train_limit, "validation": self.validation_limit, "test": self.test_limit
        }  # fmt: skip
        return limits[split]


def check_word_limits(fewest: int, most: int) -> None:
    """Refuse limits between which no sentence lies.

    Raises:
        ValueError: `fewest` is above `most`; pydantic adds the block and the key.
    """
    if fewest > most:
        raise ValueError(f"min_words ({fewest}) is above max_words ({most})")
