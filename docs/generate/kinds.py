"""A page for each kind of task: what a row is, what is predicted, its numbers, how it is served, its profiles."""

import ast
import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from docs.generate.docstrings import docstring, markdown, prose
from docs.generate.params import block
from docs.generate.tables import facts, tables, written

SERVED = Path("flows", "serving")


def kinds(root: Path) -> list[str]:
    """All kinds, in the README's order."""
    (table,) = [each for each in tables(root / "README.md") if each.head[0] == "`data.kind`"]
    return [row[0].strip("`") for row in table.rows]


def kind_pages(root: Path) -> dict[str, str]:
    """The pages of all kinds; links start from the project's folder."""
    (table,) = [each for each in tables(root / "README.md") if each.head[0] == "`data.kind`"]
    served = _assigned(root / SERVED / "by_kind.py", "CODE")
    return {f"kinds/{row[0].strip('`')}.md": _page(root, row, served) for row in table.rows}


def linked_table(text: str) -> str:
    """The README's section on kinds, whose table links to their pages."""
    return re.sub(r"^\| `([a-z-]+)`", r"| [`\1`](docs/kinds/\1.md)", text, flags=re.MULTILINE)


def _page(root: Path, row: list[str], served: dict[str, str]) -> str:
    name = row[0].strip("`")
    file = f"tasks/kinds/{name.replace('-', '_')}.py"
    profiles = _profiles(root, name)
    pages = _results(root, profiles)
    about = [("A row", row[1]), ("Metrics", row[2]), ("Served", row[3]), ("File", f"[{file}]({file})")]
    parts = [
        f"# {name}\n",
        markdown(docstring(root / file)),
        facts(about),
        "## Its numbers\n",
        f"In [`params.yaml`](params.yaml), besides `data.kind: {name}`:\n",
        f"```yaml\nkinds:\n{block(root, 'kinds', name)}\n```\n",
    ]
    if name in served:
        code = f"{SERVED}/{served[name]}"
        parts += ["## Asked and answered\n", f"By a served model ([{code}]({code})):\n"]
        parts += [*(f"- {line}" for line in _asked(root / code)), ""]
    if profiles:
        rows = [(f"`{each}`", prose(said)) for each, said in profiles.items()]
        lays = f"python -m tasks.profile {next(iter(profiles))}     # lays it over params.yaml"
        parts += ["## Profiles\n", written(("Profile", ""), rows), f"```bash\n{lays}\n```\n"]
    if pages:
        parts += ["## Results\n", *(f"- [{title}]({page})" for page, title in pages.items()), ""]
    return "\n".join(parts)


def _profiles(root: Path, kind: str) -> dict[str, str]:
    """Profiles of a kind, each with its first line."""
    found = {}
    for file in sorted((root / "profiles").glob("*.yaml")):
        told: Any = YAML(typ="safe").load(file)
        if (told.get("data") or {}).get("kind") == kind:
            found[file.stem] = file.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
    return found


def _results(root: Path, profiles: dict[str, str]) -> dict[str, str]:
    """Pages of results that are called like one of these profiles, or whose commands lay one of them."""
    found = {}
    for file in sorted((root / "docs" / "results").glob("*.md")):
        text = file.read_text(encoding="utf-8")
        laid = {word for line in re.findall(r"tasks\.profile ([^#\n]+)", text) for word in line.split()}
        if file.stem in profiles or laid & profiles.keys():
            found[f"docs/results/{file.name}"] = text.splitlines()[0].removeprefix("# ")
    return found


def _asked(file: Path) -> list[str]:
    """The sentences of a served model's docstring on its input and output."""
    paragraphs = docstring(file).split("\n\n")
    joined = next(each for each in paragraphs if each.startswith("Input: ")).replace("\n", " ")
    asked, answered = joined.split(" Output: ")
    return [prose(asked), prose(f"Output: {answered}")]


def _assigned(file: Path, name: str) -> Any:
    """What a name at a module's top is, a literal."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [ast.unparse(each) for each in node.targets] == [name]:
            return ast.literal_eval(node.value)
    raise ValueError(f"{file} assigns no {name}")
