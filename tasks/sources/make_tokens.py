"""Tokens: train.parquet, validation.parquet, and test.parquet where there is one.

Their columns are text, words with a space between each two, and label: the place of each word's label among the names.
The built-in task: which words of a docstring's section on parameters are a name, a type, a default?
"""

from collections.abc import Iterator
from pathlib import Path

from stillhouse.errors import InputError
from tasks.sources.blocks import DataParams
from tasks.sources.builtin.marked_sections import read_sections
from tasks.sources.conll import read_conll
from tasks.sources.files import read_table
from tasks.sources.hub import read_hub_lists
from tasks.sources.make_task import columns_of, label_names
from tasks.sources.shares import with_shares
from tasks.sources.split import Row, Source, Split, sources, wrong_column
from tasks.sources.tagged import survey_tags, with_tags
from tasks.sources.write import write_task

COLUMNS = ("text", "label")
USUAL = {"train": "train.conll", "validation": "dev.conll"}


def prepare_tokens(params: DataParams, out: Path) -> dict[str, float]:
    """Write the splits into `out`; give the counts of rows.

    Raises:
        InputError: the parameters or the data cannot be used.
        ConnectionError: the hub cannot be reached.
    """
    whole, names = with_shares(tokens(params), params), label_names(params)
    return write_task(whole, lambda source: survey_tags(source, names), params, out)


def tokens(params: DataParams) -> Source:
    """The rows, as params.yaml says where they come from."""
    if isinstance(params.labels, dict):
        raise InputError("data.labels is a mapping: of tokens it is the names in order, or a file of them")
    more = (params.columns.text_pair, params.columns.probabilities)
    if isinstance(params.columns.label, list) or more != (None, None):
        raise InputError("data.columns: tokens are read from one column of words and one of labels: name these alone")
    return with_tags({"docstrings": read_sections, "hub": _hub_tokens, "files": _file_tokens}[params.source](params))


def _hub_tokens(params: DataParams) -> Source:
    if params.hub.name is None:
        raise InputError("data.hub.name = null: name a dataset, such as tner/wnut2017, or choose another data.source")
    columns = columns_of(params)
    return read_hub_lists(params.hub, {name: str(column) for name, column in columns.items()})


def _file_tokens(params: DataParams) -> Source:
    files, columns = params.files, params.columns
    names = {"train": files.train, "validation": files.validation, "test": files.test}
    if files.folder is None or files.layout not in ("conll", "table"):
        raise InputError(
            f"data.files.folder = {files.folder}, data.files.layout = {files.layout}: "
            "tokens are read from files of the layout conll, or table: name both, or choose another data.source"
        )
    folder = Path(files.folder)
    if files.layout == "conll":
        # A name is of a hub dataset: these files name no columns.
        word, label = (each if isinstance(each, int) else None for each in (columns.text, columns.label))
        found = {name: given or USUAL.get(name) for name, given in names.items()}
        splits = {name: read_conll(folder / file, word, label) if file else None for name, file in found.items()}
    else:
        if files.train is None:
            raise InputError("data.files.train = null: name the file; layout 'table' has no names of its own")
        wanted = {name: column for name, column in columns_of(params).items() if isinstance(column, str | int)}
        positions = any(isinstance(column, int) for column in wanted.values())
        splits = {
            name: _picked(read_table(folder / file, positions=positions), wanted) if file else None
            for name, file in names.items()
        }
    return Source(sources(splits), COLUMNS, None, ("text",), ("text",))


def _picked(split: Split, columns: dict[str, str | int]) -> Split:
    """The columns of words and of labels, whatever stands in them."""

    def rows() -> Iterator[tuple[int, Row]]:
        for number, row in split.rows():
            for column in columns.values():
                if column not in row:
                    raise wrong_column(f"{split.where}, {split.unit} {number}", column, row)
            yield number, {name: row[column] for name, column in columns.items()}

    return Split(split.where, split.unit, rows)
