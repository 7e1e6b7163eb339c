"""Does a method show what its paper says it shows? Real data, several seeds, a line a claim.

    python -m benchmarks.fidelity hinton rco --data sst2 --seeds 5 --jobs 2
    python -m benchmarks.fidelity --all --data sst2 --corpus wikitext2/valid.txt --seeds 3
    python -m benchmarks.fidelity albert-order --data sst2 --corpus data/corpus-pairs/corpus.parquet
    python -m benchmarks.fidelity --page

A claim (`benchmarks/claims/SLUG.py`) names variants that differ in one thing, relations between their scores, and the
set-up: rows, passes, rates, the teacher's rows. `benchmarks/held_out.py` says which rows are judged on,
`benchmarks/judging.py` when a relation holds.

What was trained is kept in `--work` for as long as code, teacher, set-up and data stay the same, so after a kill the
same command makes what misses, and a larger `--seeds` adds to what is there. `--page` writes the page and its picture
anew from the JSON files alone; below the table it has docs/results/fidelity/SLUG.md, where someone wrote one.
"""

import argparse
import datetime
import json
import logging
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.claims import Claim
from benchmarks.fidelity_page import write_page
from benchmarks.judging import UNKNOWN, judge, summary
from benchmarks.lab import hardware
from benchmarks.trainings import Setting, lab_of, load_claim, make_all, set_up_of, slugs, trainings


def main() -> None:
    args = arguments()
    if not args.page:
        logging.disable(logging.INFO)
        setting = Setting(args.data, args.test, args.teacher, args.corpus, args.work, args.rows, args.epochs)
        chosen = slugs() if args.all else args.slugs
        seeds = list(range(1, args.seeds + 1))
        make_all(setting, trainings(chosen, seeds), args.jobs)
        args.out.mkdir(parents=True, exist_ok=True)
        for slug in chosen:
            result = result_of(setting, slug, seeds)
            (args.out / f"{slug}.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
            print(line(slug, result), flush=True)
    print(f"page: {write_page(args.out)}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fidelity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("slugs", nargs="*", metavar="SLUG", help=f"claims: {', '.join(slugs())}")
    parser.add_argument("--all", action="store_true", help="every claim")
    parser.add_argument("--page", action="store_true", help="train nothing: the page alone")
    parser.add_argument("--data", type=Path, help="folder with train.tsv and dev.tsv (text, label)")
    parser.add_argument("--test", type=int, default=10_000, help="rows of train.tsv to judge on; 0: dev.tsv")
    parser.add_argument("--corpus", type=Path, help="plain text, or data/corpus-pairs/corpus.parquet, to train on")
    parser.add_argument("--teacher", type=Path, help="checkpoint folder; default: the built-in teacher")
    parser.add_argument("--seeds", type=int, default=3, help="how many: 1, 2, …")
    parser.add_argument("--jobs", type=int, default=1, help="processes, which share the cores")
    parser.add_argument("--rows", type=int, help="training rows, the teacher's too, in place of the claims' own")
    parser.add_argument("--epochs", type=float, help="passes of the variants, in place of the claims' own")
    parser.add_argument("--work", type=Path, default=Path(".cache/fidelity"), help="where trainings are kept")
    parser.add_argument("--out", type=Path, default=Path("docs/results/fidelity"), help="folder for the JSON files")
    args = parser.parse_args()
    if bool(args.slugs) + args.all + args.page != 1:
        parser.error("name claims, or give --all, or --page")
    if unknown := set(args.slugs) - set(slugs()):
        parser.error(f"no claim '{min(unknown)}': one of {', '.join(slugs())}")
    if not args.page and args.data is None:
        parser.error("--data is missing: a folder with train.tsv and dev.tsv")
    for name in ("seeds", "jobs"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} {getattr(args, name)} is less than 1")
    if args.teacher is None and not args.page:
        # Not at the top: with --teacher, this program needs nothing of the pipeline.
        from tasks.phases.teacher import teacher_source

        args.teacher = Path(teacher_source("builtin"))
    return args


def result_of(setting: Setting, slug: str, seeds: list[int]) -> dict:
    """What stands in a claim's JSON file."""
    claim, lab = load_claim(slug), lab_of(setting, slug)
    return check(claim, lab, seeds) | {
        "data": ", ".join([setting.data.name, *([setting.corpus.parent.name] if setting.corpus else [])]),
        "judged": lab.task.split,
        "set_up": asdict(set_up_of(setting, claim)),
        "hardware": hardware(),
        "date": datetime.date.today().isoformat(),
    }


def check(claim: Claim, lab: Any, seeds: list[int]) -> dict:
    """The scores of every variant with every seed, and what they say of the relations."""
    scores: dict[str, np.ndarray] = {}  # (seeds, N) of each variant
    for name, variant in claim.variants.items():
        given = [lab.outcome(f"{claim.slug}/{name}-{seed}", partial(variant, lab, seed)) for seed in seeds]
        scores[name] = np.stack([claim.score(each, lab.truth) for each in given])
    found = []
    for relation in claim.relations:
        rows = scores[relation.better].shape[1]
        # What is measured of anything but the judged rows has no sentences.
        sentences = np.array(lab.task.sentences) if rows == len(lab.task.sentences) else np.arange(rows)
        found.append(judge(relation, scores, sentences))
    return {
        "slug": claim.slug,
        "says": claim.says,
        "measure": claim.measure,
        "verdict": summary([relation["verdict"] for relation in found]),
        "relations": found,
        "variants": {
            name: {"mean": float(np.nanmean(rows)), "seeds": [float(np.nanmean(row)) for row in rows]}
            for name, rows in scores.items()
        },
        "seeds": seeds,
    }


def line(slug: str, result: dict) -> str:
    """What is printed of a claim."""
    parts = []
    for r in result["relations"]:
        low, high = r["interval"]
        seen = f": {r['would_be_seen']:.3f} would have been seen" if r["verdict"] == UNKNOWN else ""
        interval = f"{r['difference']:+.3f} [{low:+.3f}, {high:+.3f}]"
        parts.append(f"{r['better']} − {r['worse']} = {interval} ({r['verdict']}{seen})")
    return f"{slug}: {result['verdict']}: " + "; ".join(parts)


if __name__ == "__main__":
    main()
