"""`python -m flows.reproduce models:/NAME@champion`: make a registered model again (`flows.registry.reproduction`)."""

import shutil
import tempfile
from argparse import ArgumentParser
from pathlib import Path

from flows.registry.reproduction import reproduce
from flows.registry.versions import find_version, reach_store
from tasks.stage import program
from tasks.stage.commands import command_parser


def main() -> None:
    """Make a registered model again in a fresh folder, and compare the two."""
    arguments = parser().parse_args()
    client, _ = reach_store()
    version = find_version(client, arguments.model)
    folder = arguments.to or Path(tempfile.mkdtemp(prefix="reproduce-")) / "project"
    differences = reproduce(client, version, folder, arguments.source)
    what = f"{version.name} version {version.version}"
    if differences:
        print("\n".join(f"differs: {line}" for line in differences))
        print(f"not reproduced: {what}; look at {folder}")
        raise SystemExit(1)
    print(f"reproduced: {what}, weights sha256 {version.tags['weights_sha256']}")
    if arguments.to is None:
        shutil.rmtree(folder.parent)


def parser() -> ArgumentParser:
    """The options of this program."""
    own = command_parser("flows.reproduce", main.__doc__)
    own.add_argument("model", help="models:/NAME@champion, or models:/NAME/VERSION")
    own.add_argument(
        "--to", type=Path, help="a folder that does not exist yet; default: a temporary one, removed on success"
    )
    own.add_argument("--source", default=".", help="a clone or URL of the project that has the commit")
    return own


if __name__ == "__main__":
    program.run(main)
