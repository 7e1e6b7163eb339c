"""What a busy neighbour costs a training, by how its threads wait for each other.

    python -m benchmarks.neighbours --data sst2/train.tsv

The reference work of `benchmarks.throughput`, in a process of its own: alone, and beside another program that is the
same work with threads that spin, as any other's do. Ways to wait take turns, and medians are compared.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tasks.phases.teacher import teacher_source

# How OpenMP's threads wait, by variables of the environment; the last takes one thread less than there are cores.
WAYS = {
    "default": {},
    "GOMP_SPINCOUNT=3000": {"GOMP_SPINCOUNT": "3000"},
    "GOMP_SPINCOUNT=0": {"GOMP_SPINCOUNT": "0"},
    "OMP_WAIT_POLICY=PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread less": {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 2) - 1))},
}
VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="TSV with a header: text (or sentence) and label")
    parser.add_argument("--sentences", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    rates: dict[str, dict[str, list[float]]] = {way: {"alone": [], "beside": []} for way in WAYS}
    for turn in range(args.rounds):
        for way, variables in WAYS.items():
            rates[way]["alone"].append(trained(args, variables))
            with neighbour(args):
                rates[way]["beside"].append(trained(args, variables))
            alone, beside = (rates[way][name][-1] for name in ("alone", "beside"))
            print(f"round {turn + 1}/{args.rounds}  {way:24} {alone:6.1f} alone  {beside:6.1f} beside", flush=True)
    best = statistics.median(rates["default"]["alone"])
    print(f"\n{'samples/s, medians':24} {'alone':>8} {'beside':>8}")
    for way, both in rates.items():
        alone, beside = (statistics.median(both[name]) for name in ("alone", "beside"))
        print(f"{way:24} {alone:8.1f} {beside:8.1f}   {alone / best:.2f} and {beside / best:.2f} of default alone")


def trained(args: argparse.Namespace, variables: dict[str, str]) -> float:
    """Samples/s of the reference work in a process with these variables."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rates.json"
        command = [*_command(args, args.sentences), "--out", str(out)]
        subprocess.run(command, env=_environment(variables), check=True, stdout=subprocess.DEVNULL)
        return json.loads(out.read_text(encoding="utf-8"))["samples_per_second"]["stillhouse"]


class neighbour:
    """Another program for as long: the same work without end, its threads waiting as they do by default."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args

    def __enter__(self) -> None:
        self.process = subprocess.Popen(
            [*_command(self.args, 20 * self.args.sentences), "--warmup", "32"],
            env=_environment({}), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(15)  # until it trains

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is not None:
            raise RuntimeError("the neighbour ended before the training beside it: give it more --sentences")
        _stop(self.process)


def _stop(process: subprocess.Popen) -> None:
    import psutil

    both = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for each in both:
        each.kill()
    process.wait()


def _command(args: argparse.Namespace, sentences: int) -> list[str]:
    words = ["--data", str(args.data), "--sentences", str(sentences), "--rounds", "1", "--only", "stillhouse"]
    # Named, so that the program imports nothing of a stage's.
    return [sys.executable, "-m", "benchmarks.throughput", *words, "--teacher", str(teacher_source("builtin"))]


def _environment(variables: dict[str, str]) -> dict[str, str]:
    # What stages would set for themselves on a busy machine is what is measured here.
    plain = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    return plain | {"TOKENIZERS_PARALLELISM": "true"} | variables


if __name__ == "__main__":
    main()
