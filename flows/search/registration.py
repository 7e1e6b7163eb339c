"""`python -m flows.search.registration RECIPE`: register a recipe's model from the copy of the project it is in."""

import argparse

from flows.registry.reports import table
from flows.registry.versions import register
from flows.search.trial import is_finished
from tasks.stage import program


def main() -> None:
    """Show what came out, register the form that was searched, and say which version that is."""
    parser = argparse.ArgumentParser(prog="python -m flows.search.registration", description=main.__doc__)
    parser.add_argument("recipe", help="a slug")
    parser.add_argument("--run", default="", help="the MLflow run that the version belongs to")
    arguments = parser.parse_args()
    print(f"{table(arguments.recipe)}\n")
    version = register(arguments.recipe, arguments.run, is_finished(arguments.recipe))
    print(f"candidate: {version.name} version {version.version}" + ("" if version.new else " (known already)"))


if __name__ == "__main__":
    program.run(main)
