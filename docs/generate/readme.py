"""The README in pages: it is one page for who meets the project, and several for who comes back."""

import re
from pathlib import Path

from markdown.extensions.toc import slugify

HEADING = re.compile(r"^(##+) (.+)$")
# The page of each heading. Those of one page stand there in the README's order, the first of them as its title.
PAGES = {
    "Two commands": "index.md",
    "Recipes": "recipes/index.md",
    "The DAG": "start/commands.md",
    "A chain for a budget": "start/budget.md",
    "Your own data and teacher": "start/data.md",
    "Kinds of task": "kinds/index.md",
    "Families of encoder": "families/index.md",
    "Splits": "start/data.md",
    "Use what comes out": "start/use.md",
    "Add a recipe": "recipes/index.md",
    "Where things are": "start/places.md",
    "Interruptions and faults": "start/commands.md",
    "Development": "start/places.md",
}


def sections() -> dict[str, str]:
    """The page of each heading, by its anchor."""
    return {anchor(title): page for title, page in PAGES.items()}


def anchor(title: str) -> str:
    """A heading's anchor, as MkDocs makes it."""
    return slugify(title.replace("`", ""), "-")


def readme_pages(root: Path) -> dict[str, str]:
    """The README's pages, links as they are in it.

    Raises:
        ValueError: a heading has no page here, or a page's heading is not in the README.
    """
    made: dict[str, str] = {}
    raised: dict[str, int] = {}
    seen = []
    for level, title, text in _blocks((root / "README.md").read_text(encoding="utf-8")):
        if not title:
            made["index.md"], raised["index.md"] = text, 0
            continue
        if title not in PAGES:
            raise ValueError(f"README.md: '{title}' has no page: give it one in PAGES of docs/generate/readme.py")
        seen.append(title)
        page = PAGES[title]
        first = page not in made
        depth = 1 if first else max(2, level - raised[page])
        raised.setdefault(page, level - 1)
        made[page] = made.get(page, "") + f"{'#' * depth} {title}\n{text}"
    if missing := PAGES.keys() - set(seen):
        raise ValueError(f"README.md has no heading {sorted(missing)}: take it out of PAGES of docs/generate/readme.py")
    return made


def _blocks(text: str) -> list[tuple[int, str, str]]:
    """Level, title and text of each heading below the first, which opens the text before them all."""
    blocks: list[tuple[int, str, list[str]]] = [(1, "", [])]
    fenced = False
    for line in text.splitlines(keepends=True):
        fenced ^= line.startswith("```")
        found = None if fenced else HEADING.match(line)
        if found:
            blocks.append((len(found[1]), found[2], []))
        else:
            blocks[-1][2].append(line)
    return [(level, title, "".join(lines)) for level, title, lines in blocks]
