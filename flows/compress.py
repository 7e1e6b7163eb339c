"""`python -m flows.compress SLUG`: one recipe from data to registered candidate, with a table of what came out."""

from argparse import ArgumentParser
from pathlib import Path

from flows.dag.graph import known_recipe, lineage, load_graph, recipes, stale
from flows.dag.recipe_run import UI, warm_up
from flows.dag.remote import remote_of
from flows.dag.sources import changed_on_disk
from flows.promotion.forms import choose
from flows.registry.reports import REPORTS, table
from flows.registry.versions import is_registered
from tasks.stage import program
from tasks.stage.commands import command_parser


def main() -> None:
    """Bring one recipe up to date, register what came out, and show it."""
    given = parser().parse_args()
    recipe, pool = given.recipe, given.pool
    root = Path.cwd()
    graph = load_graph(root)
    stages = lineage(graph, f"report@{known_recipe(recipe, recipes(graph))}")
    # Prefect and MLflow take many seconds to start: not for nothing.
    outdated = stale(root, stages)
    changed, remember = changed_on_disk(root, recipe, stages)
    news = [name for name in changed if name not in outdated]
    standing = "" if outdated else _standing(recipe)
    if not standing:
        names = [stage.name for stage in stages if stage.name in outdated]
        print(f"{recipe}: {len(names)} of {len(stages)} stages to run: {', '.join(names) or 'just the registration'}")
        print("starting Prefect and MLflow …", flush=True)
        _run(root, recipe, pool)
    else:
        print(f"{recipe}: all {len(stages)} stages are up to date, and {standing}\n")
        if remote := remote_of(root):
            remote.finish()
    if news:
        print(
            f"CHANGED on disk since {recipe} was last run: what {', '.join(news)} reads, which DVC does not follow: "
            f"python -m flows.watch {recipe} runs it again\n"
        )
    else:
        remember()
    print(table(recipe))
    print(f"\npicture:  {REPORTS / recipe / 'report.png'}")
    print(f"page:     {REPORTS / recipe / 'report.html'}")
    print(f"MLflow:   {UI}")
    print(f"next:     python -m flows.promote {recipe}")


def parser() -> ArgumentParser:
    """The options of this program."""
    own = command_parser("flows.compress", main.__doc__)
    own.add_argument("recipe", help="a slug, such as tinybert")
    own.add_argument("--pool", default="", metavar="NAME", help="the work pool whose runners run the stages")
    return own


def _standing(recipe: str) -> str:
    """Where the model stands in the registry, in words; empty where it is to be registered."""
    try:
        finished = choose(recipe).finished
        return f"its {'finished ' if finished else ''}model is registered" if is_registered(recipe, finished) else ""
    except ConnectionError as away:
        return f"its model was registered; whether it still is cannot be asked: {away}"


def _run(root: Path, recipe: str, pool: str) -> None:
    from flows.dag.prefect import prefect_flow

    warm_up()
    with prefect_flow(root):
        from flows.pipeline import compress

        version = compress(recipe, pool=pool)
    print(f"\n{version}\n")


if __name__ == "__main__":
    program.run(main)
