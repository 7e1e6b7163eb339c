"""Pairs of consecutive sentences of the corpus's source, as corpus.parquet with the columns text and text_pair.

Sentence-order prediction needs what the corpus does not keep, since its sentences are drawn one by one: which follows
which. So pairs are drawn of the same source, as many as make `corpus.sentences`.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

from stillhouse.errors import InputError
from tasks.sources.builtin.docstrings import digest
from tasks.sources.make_corpus import CORPUS_SURPLUS, CorpusParams, file_lines, hub_lines
from tasks.sources.neighbours import Pair, pairs_of_docstrings, pairs_of_lines
from tasks.sources.write import choose, features, write_rows
from tasks.stage.outputs import fresh_dir


def prepare_pairs(params: CorpusParams, out: Path) -> dict[str, float]:
    """Write corpus.parquet into `out`; give the count.

    Raises:
        InputError: the parameters or the data cannot be used, or no two sentences follow each other.
        ConnectionError: the hub cannot be reached.
    """
    limit = None if params.sentences is None else max(1, params.sentences // 2)
    pairs = _docstring_pairs(params, limit) if params.source == "docstrings" else _line_pairs(params)
    available = sum(1 for _ in pairs())
    if not available:
        raise InputError(
            f"corpus.source = {params.source}: no two sentences of {params.min_words} words or more follow each other: "
            "give text with several sentences a line"
        )
    chosen = choose(available, limit, params.seed)
    with fresh_dir(out) as folder:
        drawn = (pair for take, pair in zip(chosen, pairs(), strict=True) if take)
        rows = ({"text": first, "text_pair": second} for first, second in drawn)
        count = write_rows(rows, features(("text", "text_pair"), ()), folder / "corpus.parquet")
    short = "" if limit is None or count == limit else f" (asked: {limit:,})"
    print(f"corpus: {count:,} of {available:,} pairs of consecutive sentences{short}", flush=True)
    return {"pairs": count}


def _docstring_pairs(params: CorpusParams, limit: int | None) -> Callable[[], Iterator[Pair]]:
    each = math.inf if limit is None else CORPUS_SURPLUS * limit / len(params.libraries)
    found = pairs_of_docstrings(params.libraries, each, (params.min_words, params.max_words))
    mixed = sorted(found, key=lambda pair: digest(f"{params.seed}\n{pair[0]}\n{pair[1]}"))
    return lambda: iter(mixed)


def _line_pairs(params: CorpusParams) -> Callable[[], Iterator[Pair]]:
    lines = (hub_lines if params.source == "hub" else file_lines)(params)
    return lambda: pairs_of_lines(lines(), (params.min_words, params.max_words))
