"""`python -m flows.completion bash`: what a shell reads to complete the commands of `stillhouse`.

    source <(stillhouse completion bash)

The commands' own parsers are asked. Recipes and profiles are those of the folder in which a word is completed.
"""

import importlib
from argparse import ArgumentParser

import shtab

from flows.cli import COMMANDS, about
from tasks.stage import program
from tasks.stage.commands import SCRIPT, command_parser

# What completes an argument, by its name: files of the clone one stands in.
FOUND = {
    "recipe": "ls tasks/recipes 2>/dev/null | sed -n '/^__/d; s/_/-/g; s/\\.py$//p'",
    "names": "ls profiles 2>/dev/null | sed -n 's/\\.yaml$//p'",
}


def main() -> None:
    """Print a shell's completion of these commands."""
    shell = parser().parse_args().shell
    print(shtab.complete(whole_parser(), shell))


def parser() -> ArgumentParser:
    """The options of this program."""
    own = command_parser("flows.completion", main.__doc__)
    own.add_argument("shell", choices=shtab.SUPPORTED_SHELLS)
    return own


def whole_parser() -> ArgumentParser:
    """All commands with all their options."""
    whole = ArgumentParser(prog=SCRIPT)
    commands = whole.add_subparsers(dest="command")
    for name, module in COMMANDS.items():
        own = importlib.import_module(module).parser()
        command = commands.add_parser(name, help=about(module), parents=[own], add_help=False)
        for action in command._actions:  # argparse has no other way to them; shtab reads them here too
            if action.dest in FOUND:
                action.complete = shtab.cmd(FOUND[action.dest])  # type: ignore[attr-defined]
    return whole


if __name__ == "__main__":
    program.run(main)
