"""`python -m flows.compare`: every recipe, what they share once, then a table and a picture."""

from argparse import ArgumentParser
from pathlib import Path

from flows.dag.graph import lineage, load_graph, stale
from flows.dag.recipe_run import UI, warm_up
from flows.dag.remote import remote_of
from flows.registry.reports import REPORTS
from tasks.stage import program
from tasks.stage.commands import command_parser


def main() -> None:
    """Bring all recipes up to date and compare them."""
    pool = parser().parse_args().pool
    root = Path.cwd()
    graph = load_graph(root)
    stages = lineage(graph, "compare")
    if stale(root, stages):
        from flows.dag.prefect import prefect_flow

        warm_up()
        with prefect_flow(root):
            from flows.pipeline import compare

            compare(pool)
    else:
        print(f"all {len(stages)} stages are up to date")
        if remote := remote_of(root):
            remote.finish()
    folder = REPORTS / "compare"
    print(f"\n{(folder / 'report.md').read_text(encoding='utf-8')}")
    print(f"\npicture:  {folder / 'report.png'}")
    print(f"page:     {folder / 'report.html'}")
    print(f"MLflow:   {UI}")


def parser() -> ArgumentParser:
    """The options of this program."""
    own = command_parser("flows.compare", main.__doc__)
    own.add_argument("--pool", default="", metavar="NAME", help="the work pool whose runners run the stages")
    return own


if __name__ == "__main__":
    program.run(main)
