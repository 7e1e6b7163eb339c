"""`python -m flows.promote SLUG`: make a recipe's newest version the champion of its task, if it passes the gate.

`--rollback` gives the task its previous champion back. `flows.promotion.decision` does the work.
"""

import getpass
from argparse import ArgumentParser

from flows.promotion.decision import Verdict, roll_back, serve_command, try_to_promote
from flows.promotion.lock import unlock
from flows.registry.names import registered_model
from flows.registry.versions import reach_store
from stillhouse.errors import InputError
from tasks.stage import program
from tasks.stage.commands import command_parser

WAITS = "promote.approval.required = true: say yes with --approve REASON, or run the deployment promote, which asks"


def main() -> None:
    """Promote a recipe's newest version, or roll back."""
    arguments = parser().parse_args()
    if arguments.unlock:
        _unlock()
    elif arguments.rollback:
        print(roll_back())
    elif arguments.recipe:
        _promote(arguments.recipe, arguments.approve)
    else:
        raise InputError("recipe is missing: give its slug, or --rollback")


def parser() -> ArgumentParser:
    """The options of this program."""
    own = command_parser("flows.promote", main.__doc__)
    own.add_argument("recipe", nargs="?", help="the recipe to promote; to roll back or to unlock none is needed")
    own.add_argument("--rollback", action="store_true", help="give the task its previous champion back")
    own.add_argument("--approve", metavar="REASON", help="say yes, where promote.approval asks for it, and why")
    own.add_argument("--unlock", action="store_true", help="remove the lock of a promotion whose process is gone")
    return own


def _promote(recipe: str, reason: str | None) -> None:
    yes = Verdict(True, getpass.getuser(), reason) if reason else None
    decision = try_to_promote(recipe, verdict=yes)
    print("\n".join(f"passed: {line}" for line in decision.checks))
    if not decision.promoted:
        print("\n".join(f"failed: {line}" for line in decision.failures or [WAITS]))
        print(f"not promoted: {decision.model} version {decision.version} ({decision.shown}); no alias was moved")
        raise SystemExit(1)
    print(f"promoted: {decision.model} version {decision.version} ({decision.shown}) is the champion")
    print(f"serve it: {serve_command(decision.model)}")


def _unlock() -> None:
    client, _ = reach_store()
    name = registered_model()
    if not unlock(client, name):
        print(f"{name} is not locked")


if __name__ == "__main__":
    program.run(main)
