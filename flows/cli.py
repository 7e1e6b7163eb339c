"""`stillhouse COMMAND …`: the console script. Each command is a program that `python -m` runs as well.

A program states its options in its `parser()` and what it does in the docstring of its `main()`. Neither is said again
here, and no program is imported but the one that is called: some take seconds, and need what `pipeline` installs.
"""

import ast
import importlib
import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import stillhouse
from stillhouse.errors import InputError
from tasks.stage import program
from tasks.stage.commands import SCRIPT

# What `stillhouse --help` lists, in this order.
COMMANDS = {
    "doctor": "flows.doctor",
    "profile": "tasks.profile",
    "compress": "flows.compress",
    "compare": "flows.compare",
    "search": "flows.search.__main__",
    "join": "flows.join",
    "watch": "flows.watch",
    "promote": "flows.promote",
    "serve": "flows.serve",
    "reproduce": "flows.reproduce",
    "publish": "flows.publish",
    "servers": "flows.servers",
    "completion": "flows.completion",
}


def main() -> None:
    """Run the command that is named first on the command line, with the rest of it."""
    _prefer_this_folder()
    name = parser().parse_args(sys.argv[1:2]).command
    sys.argv = [f"{SCRIPT} {name}", *sys.argv[2:]]
    program.run(lambda: _load(name)())


def parser() -> ArgumentParser:
    """The commands, each with its line and without its options."""
    whole = ArgumentParser(prog=SCRIPT, description="Compress transformer encoders by recipes; run from a clone.")
    whole.add_argument("--version", action="version", version=f"{SCRIPT} {stillhouse.__version__}")
    commands = whole.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module in COMMANDS.items():
        commands.add_parser(name, help=about(module), add_help=False)
    return whole


def about(module: str) -> str:
    """The first line of the docstring of a program's `main`, read without running the file."""
    spec = find_spec(module)
    assert spec and spec.origin, module
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    (found,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main"]
    return (ast.get_docstring(found) or "").partition("\n")[0].rstrip(".")


def _load(name: str) -> Callable[[], None]:
    try:
        return importlib.import_module(COMMANDS[name]).main
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in ("", "flows", "tasks", SCRIPT):
            raise
        raise InputError(
            f"{SCRIPT} {name} needs {missing}, which is not installed: commands run in a clone of the project, "
            "where pip install -c constraints.txt -e '.[pipeline]' installs all they need"
        ) from None


def _prefer_this_folder() -> None:
    """In a clone that this environment was not installed from, run that clone's code, as `python -m` does."""
    here = Path.cwd()
    code = here / "flows" / "__init__.py"
    if code.is_file() and not code.parent.samefile(Path(__file__).parent):
        paths = os.pathsep.join(part for part in (str(here), os.environ.get("PYTHONPATH")) if part)
        command = [sys.executable, "-m", "flows.cli", *sys.argv[1:]]
        os.execve(sys.executable, command, os.environ | {"PYTHONPATH": paths})


if __name__ == "__main__":
    main()
