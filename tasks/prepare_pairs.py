"""Pairs of consecutive sentences of the corpus's source: `python -m tasks.prepare_pairs --out data/corpus-pairs`.

Sentence-order prediction needs what the corpus does not keep, since its sentences are drawn one by one: which follows
which. So pairs are drawn of the same source, as many as make `corpus.sentences`, and written as corpus.parquet with the
columns text and text_pair.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from stillhouse.errors import InputError
from tasks.prepare import CORPUS_SURPLUS, CorpusParams, file_lines, hub_lines
from tasks.sources.docstrings import digest
from tasks.sources.neighbours import Pair, pairs_of_docstrings, pairs_of_lines
from tasks.sources.write import choose, features, write_rows
from tasks.stage import program
from tasks.stage.outputs import fresh_dir
from tasks.stage.params import PARAMS, load


def main() -> None:
    args = arguments()
    params = load("corpus", CorpusParams, args.params)
    from tasks.tracking.journal import stage_run  # here, so that a fault in the input shows before MLflow has loaded

    started = time.monotonic()
    with stage_run(kind="prepare_pairs", params=params, reads=[]) as run:
        run.log_metrics(prepare_pairs(params, args.out))
    print(f"{args.out}: done in {time.monotonic() - started:.1f} s", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tasks.prepare_pairs", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=PARAMS)
    return parser.parse_args()


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


if __name__ == "__main__":
    program.run(main)
