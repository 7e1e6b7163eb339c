"""Lay profiles over params.yaml: another task, another teacher, another size.

    python -m tasks.profile sst2 bert-base
    python -m tasks.profile mrpc --folder ~/glue/mrpc
    python -m tasks.profile --list

params.yaml itself is changed, with its comments and order kept: what runs is always what stands there, and
`git diff params.yaml` shows it.
"""

from argparse import ArgumentParser
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from stillhouse.errors import InputError
from tasks.stage import program
from tasks.stage.commands import command_parser
from tasks.stage.outputs import fresh_file
from tasks.stage.outside import refuse_outputs
from tasks.stage.params import PARAMS, read_yaml

PROFILES = Path("profiles")


def main() -> None:
    """Lay profiles over params.yaml."""
    arguments = parser().parse_intermixed_args()
    if arguments.list:
        shipped = list_profiles(arguments.profiles)
        widest = max((len(name) for name, _ in shipped), default=0)
        for name, about in shipped:
            print(f"{name:{widest}}  {about}")
        return
    overlays = [read_profile(name, arguments.profiles) for name in arguments.names]
    overlays += local_overlays(overlays, arguments.folder, arguments.corpus)
    if not overlays:
        raise InputError("no profile named: name one, or see them all with --list")
    changes = apply(overlays, arguments.params)
    for key, old, new in changes:
        print(f"{key}: {_text(old)} -> {_text(new)}")
    print(f"{arguments.params}: {len(changes)} values changed" if changes else f"{arguments.params}: says so already")


def parser() -> ArgumentParser:
    """The options of this program."""
    own = command_parser("tasks.profile", main.__doc__)
    own.add_argument("names", nargs="*", metavar="NAME", help="profiles, laid one over the other in this order")
    own.add_argument("--list", action="store_true", help="show the profiles there are")
    own.add_argument("--folder", type=Path, help="read the task from this folder, not from the hub")
    own.add_argument("--corpus", type=Path, help="read the corpus from the .txt files of this folder")
    own.add_argument("--params", type=Path, default=PARAMS)
    own.add_argument("--profiles", type=Path, default=PROFILES, help="folder of the profiles")
    return own


def list_profiles(folder: Path) -> list[tuple[str, str]]:
    """Name and first comment line of every profile."""
    found = sorted(folder.glob("*.yaml"))
    return [(file.stem, file.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")) for file in found]


def read_profile(name: str, folder: Path) -> dict[str, Any]:
    """Read one profile, its numbers as they are written.

    Raises:
        InputError: there is none of this name, or it is no mapping.
    """
    file = folder / f"{name}.yaml"
    if Path(name).name != name or not file.is_file():
        known = ", ".join(profile for profile, _ in list_profiles(folder)) or "none"
        raise InputError(f"profile '{name}': no such profile in {folder}: there are {known}")
    read_yaml(file)  # for its errors
    return _round_trip().load(file)  # which keeps 3.0e-5 as it is written


def local_overlays(overlays: list[dict[str, Any]], task: Path | None, corpus: Path | None) -> list[dict[str, Any]]:
    """What `--folder` and `--corpus` add to the profiles.

    Raises:
        InputError: no such folder, or no profile that says how its files are laid out.
    """
    added: list[dict[str, Any]] = []
    if task is not None:
        if not any((each.get("data", {}).get("files") or {}).get("layout") for each in overlays):
            raise InputError(
                f"--folder {task}: none of the profiles says how its files are laid out (data.files.layout)"
            )
        added.append({"data": {"source": "files", "files": {"folder": _folder("--folder", task)}}})
    if corpus is not None:
        added.append({"corpus": {"source": "files", "folder": _folder("--corpus", corpus)}})
    return added


def apply(overlays: list[dict[str, Any]], params: Path) -> list[tuple[str, Any, Any]]:
    """Lay the overlays over a params.yaml, in place and at once.

    Returns:
        (key, old value, new value) of all that changed.

    Raises:
        InputError: an overlay has a key that params.yaml has not, or names what a stage writes as a source; nothing is
            changed then.
    """
    before = read_yaml(params)
    yaml = _round_trip()
    tree = yaml.load(params.read_text(encoding="utf-8"))
    for overlay in overlays:
        _merge(tree, overlay, "")
    text = StringIO()
    yaml.dump(tree, text)
    after = YAML(typ="safe", pure=True).load(text.getvalue())
    refuse_outputs(after, params.parent)
    changes = list(_differences(before, after, ""))
    if changes:
        with fresh_file(params) as file:
            file.write_text(text.getvalue(), encoding="utf-8")
            file.chmod(params.stat().st_mode)
    return changes


def _merge(tree: CommentedMap, overlay: dict[str, Any], path: str) -> None:
    for key, value in overlay.items():
        name = f"{path}{key}"
        if key not in tree:
            raise InputError(f"profile sets {name} = {_text(value)}: params.yaml has no such key: {_way_out(name)}")
        if isinstance(tree[key], dict) and isinstance(value, dict):
            _merge(tree[key], value, f"{name}.")
        elif tree[key] != value:
            tree[key] = _in_flow(value)


def _way_out(key: str) -> str:
    # Imported here: they import torch, which laying a profile does without.
    from tasks.phases.moved import places
    from tasks.phases.recipe import load_recipe

    slug = key.split(".")[0]
    try:
        now = places(key, load_recipe(slug).Params)
    except InputError:  # no recipe's block
        now = []
    return f"it is now {' and '.join(now)}" if now else "check its spelling"


def _in_flow(value: Any) -> Any:
    """Lists and mappings on one line, as params.yaml writes them."""
    if isinstance(value, dict):
        node: Any = CommentedMap({key: _in_flow(inner) for key, inner in value.items()})
    elif isinstance(value, list):
        node = CommentedSeq([_in_flow(inner) for inner in value])
    else:
        return value
    node.fa.set_flow_style()
    return node


def _differences(before: Any, after: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    for key, new in after.items():
        old = before[key]
        if isinstance(old, dict) and isinstance(new, dict) and old.keys() == new.keys():
            yield from _differences(old, new, f"{path}{key}.")
        elif old != new:
            yield f"{path}{key}", old, new


def _round_trip() -> YAML:
    yaml = YAML()
    yaml.width = 4096  # no line is broken that was not
    yaml.preserve_quotes = True
    yaml.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    return yaml


def _folder(option: str, folder: Path) -> str:
    if not folder.is_dir():
        raise InputError(f"{option} {folder}: no such folder")
    return str(folder)


def _text(value: Any) -> str:
    return "null" if value is None else str(value)


if __name__ == "__main__":
    program.run(main)
