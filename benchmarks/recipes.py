"""How fast each method trains, next to the foundation's: samples/s, and matrix work per second.

    python -m benchmarks.recipes --data sst2 --corpus wikitext2/valid.txt

Methods differ in what they compute for a row (layers of the teacher, a decoder over the vocabulary, thinner layers), so
samples/s compare badly. Here the floating point operations of each phase are counted, forward and backward, teacher
and student, and divided by the seconds that `fit` takes for the same batches. A method far under the others keeps the
machine busy with something else than its matrices.

Every phase is that of a check in `benchmarks/claims`, over one pass.
"""

import argparse
import importlib
import logging
import statistics
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.held_out import read_task
from benchmarks.lab import Lab, hardware
from benchmarks.set_up import Numbers, SetUp
from stillhouse.encoders.measure import LSTM_FLOPS

# The method's own training among the variants of its check.
VARIANTS = {
    "tinybert": "full",
    "hinton": "distilled",
    "fitnets": "hint → KD",
    "rocket": "light, boosted",
    "bilstm": "MSE",
    "rco": "route of 4",
    "pkd": "PKD, skip",
    "distilbert": "full",
    "subword": "dual",
    "theseus": "linear",
}
REFERENCE = "tinybert"


class Counting(Lab):
    """A lab that counts the operations of each training."""

    def fit(self, *given: Any, **named: Any) -> None:
        """Train, and count."""
        counter = FlopCounterMode(display=False, custom_mapping=LSTM_FLOPS)
        with counter:
            super().fit(*given, **named)
        self.trainings.append(counter.get_total_flops())


class Timing(Lab):
    """A lab that notes each training's rows a second, and its seconds."""

    def fit(self, model: Any, step: Any, rows: Any, **named: Any) -> None:
        """Train, and time."""
        super().fit(model, step, rows, **named)
        rate = self.last_fit.samples_per_second
        self.trainings.append((rate, len(rows) * named.get("epochs", self.numbers.epochs) / rate))


def main() -> None:
    args = arguments()
    logging.disable(logging.INFO)
    once = Numbers(epochs=1)
    set_up = SetUp(args.rows, once, args.rows, once, args.rows)
    given = (read_task(args.data, 0), args.teacher, args.corpus, args.work, set_up)
    found: dict[str, list[tuple[float, float]]] = {}  # of each phase: samples/s, GFLOP/s
    for slug in args.only or VARIANTS:
        train = importlib.import_module(f"benchmarks.claims.{slug}").CLAIM.variants[VARIANTS[slug]]
        rounds = []
        for kind in (Counting, *[Timing] * args.rounds):
            lab = kind(*given)
            lab.trainings = []
            prepare(lab, slug)
            lab.trainings = []
            train(lab, 1)
            rounds.append(lab.trainings)
        operations, *times = rounds
        found[slug] = [
            (
                statistics.median(turn[phase][0] for turn in times),
                flops / statistics.median(turn[phase][1] for turn in times) / 1e9,
            )
            for phase, flops in enumerate(operations)
        ]
        print(
            slug, *(f"{rate:.0f} samples/s, {work:.0f} GFLOP/s" for rate, work in found[slug]), sep="\n  ", flush=True
        )
    print(table(found))


def prepare(lab: Lab, slug: str) -> None:
    """Make what the training shares with others, so that it is neither counted nor timed."""
    lab.route()
    if slug in ("distilbert", "subword"):
        lab.masked_lm()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recipes", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with train.tsv and dev.tsv (text, label)")
    parser.add_argument("--corpus", type=Path, help="plain text, for methods that train on a corpus")
    parser.add_argument("--teacher", type=Path, help="checkpoint folder; default: the built-in teacher")
    parser.add_argument("--rows", type=int, default=1600, help="training rows, and sentences of the corpus")
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds; the median counts")
    parser.add_argument("--only", nargs="*", choices=list(VARIANTS), help="methods; default: all")
    parser.add_argument("--work", type=Path, default=Path(".cache/fidelity"), help="where shared models are kept")
    args = parser.parse_args()
    if args.teacher is None:
        # Not at the top: with --teacher, this program needs torch and transformers alone.
        from tasks.phases.teacher import teacher_source

        args.teacher = Path(teacher_source("builtin"))
    return args


def table(found: dict[str, list[tuple[float, float]]]) -> str:
    """Markdown; the share is that of the reference's first phase."""
    lines = ["", f"{hardware()}, torch {torch.__version__}", "", "| method | phase | samples/s | GFLOP/s | share |"]
    lines.append("|:--|--:|--:|--:|--:|")
    whole = found[REFERENCE][0][1] if REFERENCE in found else None
    for slug, phases in found.items():
        for number, (rate, work) in enumerate(phases, start=1):
            share = f"{work / whole:.2f}" if whole else ""
            lines.append(f"| `{slug}` | {number} | {rate:.0f} | {work:.0f} | {share} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
