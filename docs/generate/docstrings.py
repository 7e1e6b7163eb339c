"""A module's docstring as Markdown."""

import ast
import re
from pathlib import Path

CODE = re.compile(r"(`[^`]*`)")
MARKUP = re.compile(r"([\\*_\[\]<])")  # what prose means literally: `W_h`, `[CLS]`, `p*`
ITEM = re.compile(r"- ")
WHEN = "When to use it: "  # begins the paragraph of a recipe's docstring that says so


def docstring(file: Path) -> str:
    """A module's docstring.

    Raises:
        ValueError: it has none.
    """
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    if not text:
        raise ValueError(f"{file} has no docstring: say in one what it is")
    return text


def markdown(text: str) -> str:
    """Prose as prose, whatever stands in it; what is indented by four, formulas and tables, as it is."""
    lines: list[str] = []
    formula = False
    for line in text.splitlines():
        if line.startswith("    "):
            lines += [] if formula else ["```text"]
            formula = True
            lines.append(line[4:])
            continue
        if formula and line:
            lines += [*_ended(lines), "```", ""]
            formula = False
        if formula:
            lines.append("")  # perhaps the formula goes on after it
            continue
        if ITEM.match(line) and lines and lines[-1] and not lines[-1].startswith(("- ", "  ")):
            lines.append("")  # Markdown wants it before a list
        lines.append(prose(line))
    if formula:
        lines += [*_ended(lines), "```"]
    return "\n".join(lines).strip() + "\n"


def prose(line: str) -> str:
    """A line whose characters are no markup, but for code between backticks."""
    return "".join(part if CODE.fullmatch(part) else MARKUP.sub(r"\\\1", part) for part in CODE.split(line))


def parts(text: str) -> tuple[str, str, str]:
    """The first paragraph of a docstring, when to use it (empty where it does not say), and the rest."""
    first, *others = text.split("\n\n")
    when = [each for each in others if each.startswith(WHEN)]
    rest = [each for each in others if not each.startswith(WHEN)]
    return first, "".join(when).removeprefix(WHEN), "\n\n".join(rest)


def _ended(lines: list[str]) -> list[str]:
    """Nothing, once the empty lines at the end are gone."""
    while lines and not lines[-1]:
        lines.pop()
    return []
