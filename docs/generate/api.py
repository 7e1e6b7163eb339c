"""The Python API: a page for each room of `stillhouse`, made of its docstrings by mkdocstrings."""

from pathlib import Path

from docs.generate.docstrings import docstring, prose
from docs.generate.tables import written


def api_pages(root: Path) -> dict[str, str]:
    """An index of all modules, and a page for each room; modules that stand in no room are in the index."""
    package = root / "stillhouse"
    rooms = {
        folder.name: [file for file in sorted(folder.glob("*.py")) if file.stem != "__init__"]
        for folder in sorted(package.iterdir())
        if (folder / "__init__.py").is_file()
    }
    made = {f"api/{room}.md": _room(room, files) for room, files in rooms.items()}
    lines = ["# Python API\n", "`stillhouse` is a library of its own: torch and transformers, no pipeline.\n"]
    for room, files in rooms.items():
        lines += [f"## [{room}](docs/api/{room}.md)\n"]
        names = [f"stillhouse.{room}.{file.stem}" for file in files]
        rows = [
            (f"[`{name}`](docs/api/{room}.md#{name})", _first(file)) for name, file in zip(names, files, strict=True)
        ]
        lines += [written(("", ""), rows)]
    lines += ["## errors\n", "::: stillhouse.errors\n    options:\n      show_root_heading: false\n"]
    return {"api/index.md": "\n".join(lines)} | made


def _room(room: str, files: list[Path]) -> str:
    return "\n".join([f"# stillhouse.{room}\n", *(f"::: stillhouse.{room}.{file.stem}\n" for file in files)])


def _first(file: Path) -> str:
    """The first sentence of a module's docstring, on one line."""
    first = docstring(file).split("\n\n")[0].replace("\n", " ")
    return prose(first).replace("|", "\\|")
