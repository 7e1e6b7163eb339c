"""Which code each stage runs: `python -m tasks.code --out code`.

Writes a file for each program (`code/finetune`), each recipe (`code/recipes/hinton`) and each kind of task
(`code/kinds/classes`): a line for each module of the project that it runs, with a digest of that module's source
without comments and docstrings. Stages depend on these files, so an edit makes just those stages stale that run what it
changed.

It is the first stage of all, so it also looks at what the others cannot: whether a source that params.yaml names is
what a stage writes, which DVC would clear, whether a shell would read more into a word of a command than it says, and
whether a block is left that nothing reads any more, or another form is asked of what is no recipe.
"""

import argparse
import ast
from collections.abc import Collection
from pathlib import Path
from typing import Any

from stillhouse.errors import InputError
from tasks.stage import program
from tasks.stage.command_words import refuse_words
from tasks.stage.former import refuse_former
from tasks.stage.modules import digest, modules_of
from tasks.stage.outputs import fresh_dir
from tasks.stage.outside import refuse_outputs
from tasks.stage.params import PARAMS, mapping, read_yaml


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tasks.code", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="where the lists of modules go")
    parser.add_argument("--params", type=Path, default=PARAMS)
    args = parser.parse_args()
    params = read_yaml(args.params)
    refuse_former(params)
    refuse_outputs(params, Path.cwd())
    refuse_words(params, Path.cwd())
    check_kind(params, kinds(Path.cwd()))
    check_forms(params, recipes(Path.cwd()))
    with fresh_dir(args.out) as out:
        write_code(Path.cwd(), out)


def write_code(root: Path, out: Path) -> None:
    """Write the files of all programs, recipes and kinds of the project in `root` into the folder `out`."""
    out.mkdir(exist_ok=True)
    for file in sorted((root / "tasks").glob("*.py")):
        if file.stem != "__init__":
            (out / file.stem).write_text(listing(root, f"tasks.{file.stem}"), encoding="utf-8")
    for room, files in (("recipes", recipes(root)), ("kinds", kinds(root))):
        (out / room).mkdir()
        for name, file in files.items():
            (out / room / name).write_text(listing(root, f"tasks.{room}.{file.stem}"), encoding="utf-8")


def recipes(root: Path) -> dict[str, Path]:
    """The files of all recipes, by slug."""
    files = sorted((root / "tasks" / "recipes").glob("*.py"))
    return {file.stem.replace("_", "-"): file for file in files if file.stem != "__init__"}


def kinds(root: Path) -> dict[str, Path]:
    """The files of all kinds of task, by name."""
    files = sorted((root / "tasks" / "kinds").glob("*.py"))
    return {file.stem.replace("_", "-"): file for file in files if is_kind(file)}


def check_kind(params: dict[str, Any], known: Collection[str]) -> None:
    """Raise for a kind of task that has no file: every later stage depends on it.

    Raises:
        InputError: there is none of the name in data.kind, or no name.
    """
    name = str(mapping(params, "data").get("kind"))
    if known and name not in known:
        raise InputError(f"data.kind = '{name[:80]}' is not one of {', '.join(sorted(known))}: check its spelling")


def check_forms(params: dict[str, Any], known: Collection[str]) -> None:
    """Raise for another form of what is no recipe: DVC would say no more than that a file is missing.

    Raises:
        InputError: there is one in finish.of or export.of.
    """
    for block in ("finish", "export"):
        for name in (params.get(block) or {}).get("of") or {}:
            if known and name not in known:
                raise InputError(
                    f"{block}.of.{name}: there is no recipe '{name}': name one of {', '.join(sorted(known))}"
                )


def is_kind(file: Path) -> bool:
    """Whether a module is a kind of task, not something that kinds share."""
    return any(
        isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "KIND"
        for node in ast.parse(file.read_text(encoding="utf-8")).body
    )


def listing(root: Path, module: str) -> str:
    """A line for each module that this one runs: its path and its digest."""
    return "".join(f"{file} {digest(root / file)}\n" for file in modules_of(root, module))


if __name__ == "__main__":
    program.run(main)
