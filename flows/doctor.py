"""`python -m flows.doctor [RECIPE]`: check the whole set-up before any GPU hour is spent.

One line a finding, and what to do about it. Nothing is changed: probes are deleted. Exit code 0 without faults, 2 with.
"""

import importlib
import sys
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from flows.checks.finding import Finding, Setup, fault, reason
from flows.dag.graph import known_recipe, lineage, load_graph, recipes
from stillhouse.errors import InputError
from tasks.stage import program
from tasks.stage.commands import command_parser
from tasks.stage.params import PARAMS, read_yaml

# What is looked at, in this order: its name, its file in flows/checks, its function. What is quick comes first.
CHECKS = (
    ("versions", "machine", "versions"),
    ("cache", "storage", "cache"),
    ("disk", "storage", "disk"),
    ("remote", "storage", "remote"),
    ("prefect", "servers", "prefect"),
    ("mlflow", "servers", "mlflow"),
    ("devices", "machine", "devices"),
    ("params", "project", "params"),
    ("dvc.yaml", "project", "pipeline"),
    ("teacher", "teacher", "teachers"),
    ("data", "data", "sources"),
    ("labels", "data", "labels"),
    ("changed", "data", "changed"),
    ("durations", "durations", "durations"),
)
# What a check meets that is not as it should be, and that it does not know: its fault, and the others go on.
BROKEN = (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError, ImportError)


def main() -> None:
    """Check versions, devices, disk, remote, servers, teacher and data; show how long stale stages took before."""
    recipe = parser().parse_args().recipe
    if not Path(".dvc").is_dir():
        raise InputError(f"{Path.cwd()}: not a DVC project: run from its folder")
    setup = set_up(Path.cwd(), recipe)
    levels: Counter[str] = Counter()
    for finding in examine(setup):
        print(finding, flush=True)
        levels[finding.level] += 1
    print(f"\n{levels['fault']} faults, {levels['warning']} warnings", flush=True)
    if levels["fault"]:
        sys.exit(program.EXIT_INPUT)


def parser() -> ArgumentParser:
    """The options of this program."""
    own = command_parser("flows.doctor", main.__doc__)
    own.add_argument("recipe", nargs="?", help="a slug, such as tinybert; default: all")
    return own


def set_up(root: Path, recipe: str | None) -> Setup:
    """The project, as far as it can be read: the checks of params.yaml and dvc.yaml say why where it cannot.

    Raises:
        InputError: there is no such recipe.
    """
    try:
        params = read_yaml(PARAMS)
    except InputError:
        params = {}
    try:
        graph = load_graph(root)
    except InputError:
        return Setup(root, recipe, params)
    if recipe is None:
        return Setup(root, None, params, graph, graph)
    return Setup(root, recipe, params, graph, lineage(graph, f"report@{known_recipe(recipe, recipes(graph))}"))


def examine(setup: Setup) -> Iterator[Finding]:
    """What all checks find, in their order."""
    for name, module, function in CHECKS:
        try:
            # Imported when its turn comes: a library that is missing or broken stops only what needs it.
            yield from getattr(importlib.import_module(f"flows.checks.{module}"), function)(setup)
        except InputError as error:
            yield fault(name, str(error))
        except BROKEN as error:
            yield fault(name, f"this could not be checked ({reason(error)})", "see whether another line says why")


if __name__ == "__main__":
    program.run(main)
