"""Stages `prepare`, `corpus` and `corpus-pairs`: from any source to the one schema.

    python -m tasks.prepare task --out data/task
    python -m tasks.prepare corpus --out data/corpus
    python -m tasks.prepare pairs --out data/corpus-pairs

What a task's rows are its kind says, `tasks/kinds/`; what the others write, `tasks/sources/make_corpus.py` and
`make_pairs.py`.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.sources.blocks import DataParams
from tasks.sources.make_corpus import CorpusParams, prepare_corpus
from tasks.sources.make_pairs import prepare_pairs
from tasks.stage import program
from tasks.stage.params import PARAMS, load
from tasks.tracking.journal import stage_run


def main() -> None:
    args = arguments()
    started = time.monotonic()
    params: Any
    prepare: Callable[[Any, Path], dict[str, float]]
    if args.what == "task":
        from tasks.kinds.find import kind_class  # torch and transformers come with it: a corpus needs neither

        params = load("data", DataParams, args.params)
        prepare = kind_class(params.kind).prepare
    else:
        params = load("corpus", CorpusParams, args.params)
        prepare = {"corpus": prepare_corpus, "pairs": prepare_pairs}[args.what]
    with stage_run(kind="prepare", params=params) as run:
        run.log_metrics(prepare(params, args.out))
    print(f"{args.out}: done in {time.monotonic() - started:.1f} s", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tasks.prepare", description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["task", "corpus", "pairs"])
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=PARAMS)
    return parser.parse_args()


if __name__ == "__main__":
    program.run(main)
