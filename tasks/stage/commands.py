"""The parser of a program that a person calls: as a module, or as a command of the console script `stillhouse`."""

import sys
from argparse import ArgumentParser

SCRIPT = "stillhouse"


def command_parser(module: str, about: str | None) -> ArgumentParser:
    """A parser without options, whose usage names the program as it was called.

    Args:
        module: what `python -m` runs, such as `flows.compress`.
    """
    called = sys.argv[0].startswith(f"{SCRIPT} ")  # as flows/cli.py leaves it
    return ArgumentParser(prog=sys.argv[0] if called else f"python -m {module}", description=about)
