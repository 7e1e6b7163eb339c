"""Which code each stage runs: `python -m tasks.code --out code`.

Writes a file for each program (`code/finetune`) and for each recipe (`code/recipes/hinton`): a line for each module of
the project that it runs, with a digest of that module's source without comments and docstrings. Stages depend on these
files, so an edit makes just those stages stale that run what it changed.

It is the first stage of all, so it also looks at what the others cannot: whether a source that params.yaml names is
what a stage writes. DVC would clear it.
"""

import argparse
from pathlib import Path

from tasks.stage import program
from tasks.stage.modules import digest, modules_of
from tasks.stage.outputs import fresh_dir
from tasks.stage.outside import refuse_outputs
from tasks.stage.params import PARAMS, read_yaml


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tasks.code", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="where the lists of modules go")
    parser.add_argument("--params", type=Path, default=PARAMS)
    args = parser.parse_args()
    refuse_outputs(read_yaml(args.params), Path.cwd())
    with fresh_dir(args.out) as out:
        write_code(Path.cwd(), out)


def write_code(root: Path, out: Path) -> None:
    """Write the files of all programs and recipes of the project in `root` into the folder `out`."""
    (out / "recipes").mkdir(parents=True)
    for file in sorted((root / "tasks").glob("*.py")):
        if file.stem != "__init__":
            (out / file.stem).write_text(listing(root, f"tasks.{file.stem}"), encoding="utf-8")
    for file in sorted((root / "tasks" / "recipes").glob("*.py")):
        if file.stem != "__init__":
            slug = file.stem.replace("_", "-")
            (out / "recipes" / slug).write_text(listing(root, f"tasks.recipes.{file.stem}"), encoding="utf-8")


def listing(root: Path, module: str) -> str:
    """A line for each module that this one runs: its path and its digest."""
    return "".join(f"{file} {digest(root / file)}\n" for file in modules_of(root, module))


if __name__ == "__main__":
    program.run(main)
