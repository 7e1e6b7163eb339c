"""A page for each family of encoder: which models are of it, what differs from BERT, what is not done with it."""

import importlib
import re
from pathlib import Path

from docs.generate.docstrings import docstring, markdown
from docs.generate.tables import facts, tables
from stillhouse.families.contract import Family
from stillhouse.families.find import COMPACT_FAMILIES, FAMILIES


def families(root: Path) -> dict[str, list[str]]:
    """The model types of each file of stillhouse/families that has a family."""
    found: dict[str, list[str]] = {}
    for file in sorted((root / "stillhouse" / "families").glob("[a-z]*.py")):
        module = importlib.import_module(f"stillhouse.families.{file.stem}")
        names = [value.name for name, value in vars(module).items() if name.isupper() and isinstance(value, Family)]
        if names:
            found[file.stem] = names
    return found


def family_pages(root: Path) -> dict[str, str]:
    """The pages of all families; links start from the project's folder."""
    return {f"families/{stem}.md": _page(root, stem, names) for stem, names in families(root).items()}


def linked_table(root: Path, text: str) -> str:
    """The README's section on families, whose table links to their pages."""
    pages = {name: stem for stem, names in families(root).items() for name in names}
    lines = text.splitlines()
    for at, line in enumerate(lines):
        if line.startswith("| `"):
            first, rest = line[2:].split(" |", 1)
            linked = re.sub(r"`([a-z0-9-]+)`", lambda name: f"[{name[0]}](docs/families/{pages[name[1]]}.md)", first)
            lines[at] = f"| {linked} |{rest}"
    return "\n".join(lines) + "\n"


def _page(root: Path, stem: str, names: list[str]) -> str:
    (table,) = [each for each in tables(root / "README.md") if each.head[0] == "`model_type`"]
    left = {
        not_done or "nothing"
        for types, not_done in table.rows
        if set(names) & set(re.findall(r"`([a-z0-9-]+)`", types))
    }
    unknown = set(names) - FAMILIES.keys()
    if len(left) != 1 or unknown:
        raise ValueError(
            f"stillhouse/families/{stem}.py: {names} are not in one row of the README's table and in find.py"
        )
    compressed = [f"`{name}`" for name in names if name in COMPACT_FAMILIES]
    file = f"stillhouse/families/{stem}.py"
    return "\n".join(
        [
            f"# {stem}\n",
            markdown(docstring(root / file)),
            facts(
                [
                    ("`model_type`", ", ".join(f"`{name}`" for name in names)),
                    ("What is not done with it", left.pop()),
                    ("Compressed shapes of", ", ".join(compressed) or "none"),
                    ("File", f"[{file}]({file})"),
                ],
            ),
            f"In Python: [`stillhouse.families.{stem}`](docs/api/families.md#stillhouse.families.{stem})\n",
        ]
    )
