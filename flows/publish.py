"""`python -m flows.publish models:/NAME@champion --to OWNER/NAME`: push a registered model to the Hugging Face hub.

Pushed are the checkpoint, the exported folder as `onnx/`, and the card, after their digests were checked. It never
happens by itself: no flow calls this. The token is huggingface_hub's own (HF_TOKEN, or `hf auth login`).
"""

import tempfile
from argparse import ArgumentParser
from collections.abc import Mapping
from pathlib import Path

from flows.registry.files import fetch
from flows.registry.hub import Standing, check_id, push, reach_hub, repository_files, standing
from flows.registry.versions import find_version, reach_store, stored_card
from stillhouse.errors import InputError
from tasks.stage import program
from tasks.stage.commands import command_parser

PUBLISHED = "published"  # the version's tag


def main() -> None:
    """Push a registered model to the Hugging Face hub."""
    arguments = parser().parse_args()
    check_id(arguments.to)
    client, _ = reach_store()
    version = find_version(client, arguments.model)
    card = _licensed(stored_card(client, version), arguments.license)
    with tempfile.TemporaryDirectory() as scratch:
        folder, written = (Path(scratch) / name for name in ("version", "card"))
        folder.mkdir()
        written.mkdir()
        files = repository_files(fetch(client, version, folder), card, written)
        what = f"{version.name} version {version.version}"
        if arguments.check:
            print("\n".join([f"{what} would be pushed to {arguments.to}:", *_listed(files), "", card]))
            return
        hub = reach_hub()
        found = standing(hub, arguments.to, files)
        if found.commit is not None and not found.missing and not set(found.other) & set(files):
            print(f"{what} lies at {arguments.to} already, commit {found.commit}")
            commit = found.commit
        else:
            _refuse_other(arguments.to, found, again=arguments.again)
            commit = push(hub, arguments.to, files, found, f"{what}, by Stillhouse", arguments.public)
            print("\n".join([f"{what} is at {arguments.to}, commit {commit}:", *_listed(files)]))
        if left := [path for path in found.other if path not in files]:
            print(f"left there, as it is not of this model: {', '.join(left)}")
        client.set_model_version_tag(version.name, version.version, PUBLISHED, f"{arguments.to}@{commit}")


def parser() -> ArgumentParser:
    """The options of this program."""
    own = command_parser("flows.publish", main.__doc__)
    own.add_argument("model", help="models:/NAME@champion, or models:/NAME/VERSION")
    own.add_argument("--to", required=True, metavar="OWNER/NAME", help="the repository; a new one is private")
    own.add_argument("--public", action="store_true", help="make a new repository public")
    own.add_argument("--license", metavar="ID", help="what the card says, such as apache-2.0 or mit")
    own.add_argument("--again", action="store_true", help="push over what lies there with other contents")
    own.add_argument("--check", "--dry-run", action="store_true", help="say what would be pushed; ask no hub")
    return own


def _licensed(card: str, name: str | None) -> str:
    """The card with another licence in its metadata."""
    from huggingface_hub import ModelCard

    if name is None:
        return card
    changed = ModelCard(card)
    changed.data["license"] = name
    return str(changed)


def _refuse_other(repository: str, found: Standing, again: bool) -> None:
    """Raise where something else lies there.

    Raises:
        InputError: it does, and nobody said that it may be pushed over.
    """
    if found.other and not again:
        raise InputError(
            f"'{repository}' holds something else ({len(found.other)} files, such as {found.other[0]}): name another "
            "repository, or push over it with --again"
        )


def _listed(files: Mapping[str, Path]) -> list[str]:
    return [f"  {file.stat().st_size:>12,}  {path}" for path, file in sorted(files.items())]


if __name__ == "__main__":
    program.run(main)
