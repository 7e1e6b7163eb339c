"""Multi-label: train.parquet, validation.parquet, and test.parquet where there is one.

Their columns are text, text_pair for pairs, and label: the places of a row's labels among the names. The built-in task:
which of the parameters that many functions have does this one take?
"""

from dataclasses import replace
from pathlib import Path

from stillhouse.errors import InputError
from tasks.sources.blocks import DataParams
from tasks.sources.builtin.functions import read_functions
from tasks.sources.label_sets import survey_label_sets, with_label_sets
from tasks.sources.make_task import label_names, of_tables
from tasks.sources.probabilities import with_probabilities
from tasks.sources.shares import with_shares
from tasks.sources.split import PROBABILITIES, Source
from tasks.sources.write import write_task


def prepare_label_sets(params: DataParams, out: Path) -> dict[str, float]:
    """Write the splits into `out`; give the counts of rows.

    Raises:
        InputError: the parameters or the data cannot be used.
        ConnectionError: the hub cannot be reached.
    """
    whole, names = with_shares(label_sets(params), params), label_names(params)
    return write_task(whole, lambda source: survey_label_sets(source, names), params, out)


def label_sets(params: DataParams) -> Source:
    """The rows, as params.yaml says where they come from."""
    if isinstance(params.labels, dict):
        raise InputError("data.labels is a mapping: of multi-label it is the names in order, or a file of them")
    source = read_functions(params) if params.source == "docstrings" else of_tables(params)
    if PROBABILITIES in source.columns:
        names = params.columns.label if isinstance(params.columns.label, list) else None
        source = with_probabilities(source, label_names(params) or (tuple(names) if names else None), several=True)
    if isinstance(params.columns.label, list):
        source = replace(source, labels=tuple(params.columns.label))
    return with_label_sets(source, params.label_separator)
