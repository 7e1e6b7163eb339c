"""`python -m flows.watch SLUG`: run a recipe again if what lies behind its data has changed; else look, for a second.

`flows.dag.sources` says what is compared.
"""

from argparse import ArgumentParser
from pathlib import Path

from flows.dag.sources import changed, nothing_new
from tasks.stage import program
from tasks.stage.commands import command_parser


def main() -> None:
    """Run a recipe again if what lies behind its data has changed."""
    recipe = parser().parse_args().recipe
    root = Path.cwd()
    new, _ = changed(root, recipe)
    if not new:
        print(nothing_new(recipe))
        return
    print(f"{recipe}: changed since its last watched run: what {', '.join(new)} reads", flush=True)
    from flows.dag.prefect import prefect_flow

    with prefect_flow(root):
        from flows.pipeline import watch

        print(f"\n{watch(recipe)}")


def parser() -> ArgumentParser:
    """The options of this program."""
    own = command_parser("flows.watch", main.__doc__)
    own.add_argument("recipe", help="a slug, such as tinybert")
    return own


if __name__ == "__main__":
    program.run(main)
