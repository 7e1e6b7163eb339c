"""`python -m flows.search.registration RECIPE`: register a recipe's model from the copy of the project it is in."""

import argparse

from flows.registry.versions import register
from tasks.stage import program


def main() -> None:
    """Register, and say which version that is."""
    parser = argparse.ArgumentParser(prog="python -m flows.search.registration", description=main.__doc__)
    parser.add_argument("recipe", help="a slug")
    parser.add_argument("--run", default="", help="the MLflow run that the version belongs to")
    arguments = parser.parse_args()
    version = register(arguments.recipe, arguments.run)
    print(f"candidate: {version.name} version {version.version}" + ("" if version.new else " (known already)"))


if __name__ == "__main__":
    program.run(main)
