"""What grows with the data, with the stages and with the runs, and how fast: measured small, and carried on by lines.

    python -m benchmarks.scale corpus dvc prefect --work FOLDER --out scale.json
    python -m benchmarks.scale corpus --work FOLDER --out tried.json --quick

Each measurement is kept in the JSON file as soon as it is made: a run that was stopped goes on after its last one. Give
another file for another machine. What is printed are tables in Markdown, for docs/scale.md.
"""

import argparse
import os
import platform
from pathlib import Path

from benchmarks.scales import corpus, pipeline, server
from benchmarks.scales.book import Book

PARTS = {"corpus": corpus.tables, "dvc": pipeline.tables, "prefect": server.tables}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="+", choices=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for what is made meanwhile; each part needs 4 GB"
    )
    parser.add_argument("--out", type=Path, required=True, help="JSON file of the measurements")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, to see that it works; its figures say nothing"
    )
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    book = Book(given.out)
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}", flush=True)
    for part in given.parts:
        for line in PARTS[part](book, given.work.resolve(), given.quick):
            print(line, flush=True)


if __name__ == "__main__":
    main()
