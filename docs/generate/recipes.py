"""A page for each recipe: what it does, its paper and formula, its stages and numbers, and what it has reached."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from docs.generate.docstrings import docstring, markdown, parts, prose
from docs.generate.params import block, shared
from docs.generate.tables import Table, facts, named, tables, written

ARXIV = re.compile(r"arXiv (\d{4}\.\d{4,5})")
TEACHER = "teacher"


@dataclass(frozen=True)
class Recipe:
    """A row of the README's table of recipes.

    Attributes:
        file: of its mathematics, from the project's folder.
    """

    slug: str
    file: str
    does: str
    paper: str
    stages: str


def recipes(root: Path) -> list[Recipe]:
    """All recipes, in the README's order."""
    (table,) = [each for each in tables(root / "README.md") if each.head[0] == "Recipe"]
    found = []
    for first, does, paper, stages in table.rows:
        slug, file = re.fullmatch(r"\[`(.+)`\]\((.+)\)", first).groups()  # type: ignore[union-attr]
        found.append(Recipe(slug, file, does, paper, stages))
    return found


def recipe_pages(root: Path) -> dict[str, str]:
    """The pages of all recipes; links start from the project's folder."""
    stages = YAML(typ="safe").load(root / "dvc.yaml")["stages"]
    results = [each for file in sorted((root / "docs" / "results").glob("*.md")) for each in tables(file)]
    known = recipes(root)
    slugs = [each.slug for each in known]
    return {f"recipes/{each.slug}.md": _page(root, each, slugs, stages, results) for each in known}


def linked_table(text: str) -> str:
    """The README's section on recipes, whose table links to their pages."""
    return re.sub(r"^\| \[`(.+?)`\]\(.+?\)", r"| [`\1`](docs/recipes/\1.md)", text, flags=re.MULTILINE)


def _page(root: Path, recipe: Recipe, slugs: list[str], stages: Mapping[str, Any], results: list[Table]) -> str:
    glue = f"tasks/recipes/{recipe.slug.replace('-', '_')}.py"
    does, when, more = parts(docstring(root / glue))
    if not when:
        raise ValueError(f"{glue}: its docstring does not say when to use it: begin a paragraph 'When to use it: '")
    method = docstring(root / recipe.file) if recipe.file != glue else more
    papers = [f"[arXiv {each}](https://arxiv.org/abs/{each})" for each in ARXIV.findall(method.split("\n\n")[0])]
    numbers = block(root, recipe.slug)
    merged = shared(root, numbers)
    return "\n".join(
        [
            f"# {recipe.slug}\n",
            f"{_capital(recipe.does)}.\n",
            facts(
                [
                    ("Paper", "; ".join([recipe.paper, *papers])),
                    ("Files", ", ".join(f"[{file}]({file})" for file in dict.fromkeys((recipe.file, glue)))),
                ]
            ),
            "## When to use it\n",
            markdown(_capital(when)),
            "## The method\n",
            markdown(method),
            "## Stages\n",
            markdown(_capital(does.split(": ", 1)[1])),
            _stages(recipe, stages),
            f"```bash\ndvc repro evaluate@{recipe.slug}\npython -m flows.compress {recipe.slug}     "
            "# the same through Prefect, and registered as a candidate\n```\n",
            "## Its numbers\n",
            f"Its block of [`params.yaml`](params.yaml):\n\n```yaml\n{numbers}\n```\n",
            f"And what that merges:\n\n```yaml\n{merged}\n```\n" if merged else "",
            "## What it has reached here\n",
            _figures(recipe.slug, results),
            *_claims(recipe.slug, slugs, results),
        ]
    )


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _stages(recipe: Recipe, stages: Mapping[str, Any]) -> str:
    rows = []
    for name in re.findall(r"`([a-z0-9-]+)(?:@…)?`", recipe.stages):
        stage = stages[name].get("do", stages[name])
        reads = [each for each in stage["deps"] if not each.startswith("code/")]
        writes = [each if isinstance(each, str) else next(iter(each)) for each in stage["outs"]]
        rows.append((f"`{name}`", prose(stage["desc"]), _listed(reads), _listed(writes)))
    return written(("Stage", "", "Reads", "Writes"), rows)


def _listed(paths: list[str]) -> str:
    return ", ".join(f"`{path}`" for path in paths)


def _figures(slug: str, results: list[Table]) -> str:
    """A recipe's rows of all tables of results that say what of the teacher's score is kept, beside the teacher's."""
    found = []
    for table in results:
        own = [row for row in table.rows if named(row[0]) == slug]
        if own and "kept" in table.head:
            teacher = [row for row in table.rows if named(row[0]) == TEACHER]
            section = "" if table.section == table.title else f": {table.section}"
            place = f"[{table.title}{section}](docs/results/{table.place})"
            found.append(f"{place}\n\n{written(table.head, [*teacher, *own], table.rule)}")
    said = "Commands, hardware, dates, and how much of it is noise stand on the pages that these rows are from.\n"
    return "\n".join([said, *found] if found else ["No page of results has a figure of it yet.\n"])


def _claims(slug: str, slugs: list[str], results: list[Table]) -> Iterator[str]:
    """What was checked of what the paper says: rows of the page on fidelity."""
    for table in results:
        if table.head[0] != "method" or "verdict" not in table.head:
            continue
        own = [row for row in table.rows if _longest(named(row[0]), slugs) == slug]
        if own:
            yield "## What its paper says that it must show\n"
            yield f"[{table.title}: {table.section}](docs/results/{table.place})\n"
            yield written(table.head, own, table.rule)


def _longest(name: str, slugs: list[str]) -> str:
    """The recipe that a check is of: `structured-time` is structured's, `structured-distil` would be its own."""
    return max((slug for slug in slugs if name == slug or name.startswith(f"{slug}-")), key=len, default="")
