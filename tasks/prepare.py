"""Stages `prepare`, `prepare-qa`, `corpus` and `corpus-pairs`: from any source to the one schema.

    python -m tasks.prepare task --out data/task
    python -m tasks.prepare qa --out data/qa
    python -m tasks.prepare corpus --out data/corpus
    python -m tasks.prepare pairs --out data/corpus-pairs

What each writes is said in `tasks/sources/make_task.py`, `make_questions.py`, `make_corpus.py` and `make_pairs.py`.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.sources.make_corpus import CorpusParams, prepare_corpus
from tasks.sources.make_pairs import prepare_pairs
from tasks.sources.make_questions import QaParams, prepare_qa
from tasks.sources.make_task import DataParams, prepare_task
from tasks.stage import program
from tasks.stage.params import PARAMS, Block, load
from tasks.tracking.journal import stage_run

# What is prepared: its block of params.yaml, that block's model, and what writes it and gives its counts.
PREPARED: dict[str, tuple[str, type[Block], Callable[[Any, Path], dict[str, float]]]] = {
    "task": ("data", DataParams, prepare_task),
    "qa": ("qa", QaParams, prepare_qa),
    "corpus": ("corpus", CorpusParams, prepare_corpus),
    "pairs": ("corpus", CorpusParams, prepare_pairs),
}


def main() -> None:
    args = arguments()
    block, model, prepare = PREPARED[args.what]
    params = load(block, model, args.params)
    started = time.monotonic()
    with stage_run(kind="prepare", params=params) as run:
        run.log_metrics(prepare(params, args.out))
    print(f"{args.out}: done in {time.monotonic() - started:.1f} s", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tasks.prepare", description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=list(PREPARED))
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=PARAMS)
    return parser.parse_args()


if __name__ == "__main__":
    program.run(main)
