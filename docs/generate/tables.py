"""Tables of Markdown, to read rows of and to write."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from docs.generate.readme import anchor

HEADING = re.compile(r"^(#+) (.+)$")
CELLS = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True)
class Table:
    """A table, and under which headings of which page it stands.

    Attributes:
        file: the page.
        title: its first heading.
        section: the one above the table, the title itself where there is none between them.
        head: the titles of its columns; `rule`, the line below them.
    """

    file: Path
    title: str
    section: str
    head: list[str]
    rule: list[str]
    rows: list[list[str]]

    @property
    def place(self) -> str:
        """The link to its section, from the page's folder."""
        return f"{self.file.name}#{anchor(self.section)}"


def tables(file: Path) -> Iterator[Table]:
    """All tables of a page."""
    title = section = ""
    found: list[list[str]] = []
    fenced = False
    for line in [*file.read_text(encoding="utf-8").splitlines(), ""]:
        fenced ^= line.startswith("```")
        if line.startswith("|") and not fenced:
            found.append([cell.strip() for cell in CELLS.split(line.strip().strip("|"))])
            continue
        if len(found) > 2:
            yield Table(file, title, section, found[0], found[1], found[2:])
        found = []
        if not fenced and (heading := HEADING.match(line)):
            title, section = title or heading[2], heading[2]


def named(cell: str) -> str:
    """What a row is of: the first word of its first cell, whatever is said of it after a comma."""
    return re.split(r"[ ,(\]]", cell.strip("[`*"))[0].strip("`*")


def written(head: Sequence[str], rows: Iterable[Sequence[str]], rule: Sequence[str] = ()) -> str:
    """A table in Markdown; a cell's text must have no bar of its own."""
    lines = [head, rule or ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """A list of what is said of a thing."""
    return "".join(f"- **{name}:** {said}\n" for name, said in pairs)
