"""Does a method show what its paper says it shows? Real data, several seeds, one line.

    python -m benchmarks.fidelity pkd --data sst2 --seeds 1 2
    python -m benchmarks.fidelity --all --data sst2 --corpus wikitext2/valid.txt
    python -m benchmarks.fidelity albert-order --data sst2 --corpus data/corpus-pairs/corpus.parquet

A claim (`benchmarks/claims/SLUG.py`) names variants that differ in one thing, and relations between their scores. A
relation holds if the difference of the mean accuracies (or of what else a claim measures) is above the noise, does not
hold if it is below minus the noise, else it is within noise; where a little may be lost, that margin is added first.
The noise is 1.645 standard errors of the difference (one-sided 5 %) over the validation rows, each row's accuracy
averaged over the seeds first: the variants answer the same questions, so they are paired. A single number, such as a
file's size, has none. Where two variants should be alike, that holds if their difference is within noise.

Runs that were stopped go on: what a variant predicted is kept in `--work`, for as long as code, teacher and data stay
the same.
"""

import argparse
import datetime
import importlib
import json
import logging
import pkgutil
from pathlib import Path

import numpy as np

import benchmarks.claims
from benchmarks.claims import Claim, Relation
from benchmarks.lab import Lab, Numbers, hardware

CONFIDENCE = 1.645  # standard errors


def main() -> None:
    args = arguments()
    logging.disable(logging.INFO)
    lab = Lab(args.data, args.teacher, args.corpus, args.work, args.rows, args.sentences, Numbers(epochs=args.epochs))
    for slug in claims() if args.all else [args.slug]:
        claim: Claim = importlib.import_module(f"benchmarks.claims.{slug.replace('-', '_')}").CLAIM
        result = check(claim, lab, args.seeds)
        result |= {
            "data": ", ".join([args.data.name, *([args.corpus.parent.name] if args.corpus else [])]),
            "rows": args.rows,
            "epochs": args.epochs,
            "hardware": hardware(),
            "date": datetime.date.today().isoformat(),
        }
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / f"{slug}.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        print(line(slug, result), flush=True)
    page = args.out.with_suffix(".md")
    page.write_text(table([json.loads(file.read_text()) for file in sorted(args.out.glob("*.json"))]), encoding="utf-8")
    print(f"table: {page}")


def claims() -> list[str]:
    """The slugs of all claims."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(benchmarks.claims.__path__))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fidelity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("slug", nargs="?", choices=claims(), help="the method")
    parser.add_argument("--all", action="store_true", help="every method")
    parser.add_argument("--data", type=Path, required=True, help="folder with train.tsv and dev.tsv (text, label)")
    parser.add_argument("--corpus", type=Path, help="plain text, or data/corpus-pairs/corpus.parquet, to train on")
    parser.add_argument("--teacher", type=Path, help="checkpoint folder; default: the built-in teacher")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--rows", type=int, default=3000, help="training rows")
    parser.add_argument("--sentences", type=int, default=2000, help="sentences of the corpus")
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--work", type=Path, default=Path(".cache/fidelity"), help="where unfinished runs are kept")
    parser.add_argument("--out", type=Path, default=Path("docs/results/fidelity"), help="folder for the JSON files")
    args = parser.parse_args()
    if args.all == bool(args.slug):
        parser.error("name one method, or give --all")
    if args.teacher is None:
        # Not at the top: with --teacher, this program needs torch and transformers alone.
        from tasks.phases.teacher import teacher_source

        args.teacher = Path(teacher_source("builtin"))
    return args


def check(claim: Claim, lab: Lab, seeds: list[int]) -> dict:
    """Run every variant with every seed, and judge the relations."""
    right: dict[str, np.ndarray] = {}  # (seeds, N) of each variant
    for name, variant in claim.variants.items():
        rounds = []
        for seed in seeds:
            given = lab.outcome(f"{claim.slug}/{name}-{seed}", lambda variant=variant, seed=seed: variant(lab, seed))
            rounds.append(claim.score(given, lab.truth))
        right[name] = np.stack(rounds)
    found = [judge(relation, right) for relation in claim.relations]
    return {
        "slug": claim.slug,
        "says": claim.says,
        "measure": claim.measure,
        "verdict": summary([relation["verdict"] for relation in found]),
        "relations": found,
        "variants": {
            name: {"mean": float(np.nanmean(rows)), "seeds": [float(np.nanmean(row)) for row in rows]}
            for name, rows in right.items()
        },
        "seeds": seeds,
    }


def judge(relation: Relation, right: dict[str, np.ndarray]) -> dict:
    """One relation: the difference of the means, its noise, and what that says."""
    paired = right[relation.better].mean(0) - right[relation.worse].mean(0)  # (N,)
    paired = paired[~np.isnan(paired)]
    difference = float(paired.mean())
    noise = CONFIDENCE * float(paired.std(ddof=1)) / len(paired) ** 0.5 if len(paired) > 1 else 0.0
    if relation.alike:
        verdict = "holds" if abs(difference) <= noise else "does not hold"
    else:
        ahead = difference + relation.margin
        verdict = "within noise" if abs(ahead) <= noise else "holds" if ahead > 0 else "does not hold"
    return {
        "better": relation.better,
        "worse": relation.worse,
        "alike": relation.alike,
        "margin": relation.margin,
        "difference": difference,
        "noise": noise,
        "verdict": verdict,
    }


def summary(verdicts: list[str]) -> str:
    """The verdict on a claim: it holds if every relation does, and fails if one fails."""
    if "does not hold" in verdicts:
        return "does not hold"
    return "holds" if set(verdicts) == {"holds"} else "within noise"


def line(slug: str, result: dict) -> str:
    """What is printed of a claim."""
    parts = [
        f"{r['better']} − {r['worse']} = {r['difference']:+.3f} ± {r['noise']:.3f} ({r['verdict']})"
        for r in result["relations"]
    ]
    return f"{slug}: {result['verdict']}: " + "; ".join(parts)


def table(results: list[dict]) -> str:
    """A page of all results."""
    lines = [
        "# What each method must show",
        "",
        "Made by `python -m benchmarks.fidelity SLUG --data … [--corpus …]`, which also says how a relation is judged.",
        "In brackets the mean over seeds of what the last column names, on the validation split; the noise is 1.645",
        "standard errors of the difference.",
        "",
        "| method | the paper says | difference | verdict | measured |",
        "|---|---|---|---|---|",
    ]
    for result in results:
        for relation in result["relations"]:
            score = {name: result["variants"][relation[name]]["mean"] for name in ("better", "worse")}
            lines.append(
                f"| `{result['slug']}` | {relation['better']} ({score['better']:.3f}) "
                f"{'like' if relation.get('alike') else 'above'} {relation['worse']} "
                f"({score['worse']:.3f}){_margin(relation)} | {relation['difference']:+.3f} ± {relation['noise']:.3f} "
                f"| {relation['verdict']} | {result['measure']} |"
            )
    lines += ["", "| method | data | rows × epochs | seeds | hardware | date |", f"|{'---|' * 6}"]
    for r in results:
        work = f"{r['data']} | {r['rows']} × {r['epochs']:g} | {len(r['seeds'])}"
        lines.append(f"| `{r['slug']}` | {work} | {r['hardware']} | {r['date']} |")
    return "\n".join(lines) + "\n"


def _margin(relation: dict) -> str:
    margin = relation.get("margin")
    return f" less {margin:g}" if margin else ""


if __name__ == "__main__":
    main()
