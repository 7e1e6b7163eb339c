"""`python -m flows.search --bytes 5MB --latency 1ms --kept 0.97`: find a chain under a budget."""

from argparse import ArgumentParser
from pathlib import Path

from flows.dag.recipe_run import UI, warm_up
from flows.search.budget import read_budget
from flows.search.study import require_optuna
from tasks.stage import program
from tasks.stage.commands import command_parser


def main() -> None:
    """Find a chain under a budget: size and time are known before training, what misses them is never trained."""
    given = parser().parse_args()
    read_budget(given.bytes, given.latency, given.kept)
    # Prefect takes many seconds to start: not for what is refused at once.
    require_optuna()
    from flows.dag.prefect import prefect_flow

    warm_up()
    with prefect_flow(Path.cwd()):
        from flows.search.flow import search

        found = search(given.bytes, given.latency, given.kept, given.profile, given.pool)
    print(f"\n{found}\n")
    print("picture:  reports/search/search.png")
    print(f"MLflow:   {UI}")
    print(f"next:     python -m tasks.profile {given.profile}")


def parser() -> ArgumentParser:
    """The options of this program."""
    own = command_parser("flows.search", main.__doc__)
    own.add_argument("--bytes", help="of the ONNX file, at most: 5MB")
    own.add_argument("--latency", help="p50 of the smallest measured batch, at most: 1ms")
    own.add_argument("--kept", help="share of the teacher's metric, at least: 0.97 or 97%%")
    own.add_argument("--pool", default="", metavar="NAME", help="the work pool whose runners run the stages")
    own.add_argument("--profile", default="found", help="what the profile with the winner's numbers is called")
    return own


if __name__ == "__main__":
    program.run(main)
