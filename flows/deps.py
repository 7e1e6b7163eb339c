"""A stage's `deps` name every project module that it runs, and no other: `python -m flows.deps` writes them.

Too few and DVC serves a stale model; too many and a typo elsewhere retrains a teacher. The modules are found by reading
the imports of the stage's program (and of its recipe), directly and through one another.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

PACKAGES = ("stillhouse", "tasks", "flows")


def main() -> None:
    """Write the module deps of every stage into dvc.yaml, and say which changed."""
    root = Path.cwd()
    yaml = YAML()
    yaml.width = 1000
    yaml.indent(mapping=2, sequence=4, offset=2)
    tree = yaml.load(root / "dvc.yaml")
    changed = False
    for name, stage in tree["stages"].items():
        body = stage.get("do", stage)
        wanted, stated = module_deps(root, body["cmd"]), stated_modules(body)
        if wanted != stated:
            changed = True
            print(f"{name}: added {sorted(wanted - stated)}, removed {sorted(stated - wanted)}")
            body["deps"][:] = [dep for dep in body["deps"] if dep not in stated] + sorted(wanted)
    if changed:
        yaml.dump(tree, root / "dvc.yaml")
    else:
        print("dvc.yaml states the modules of every stage")


def stated_modules(stage: dict[str, Any]) -> set[str]:
    """The project's Python files among a stage's deps."""
    return {dep for dep in stage["deps"] if dep.endswith(".py")}


def module_deps(root: Path, command: str) -> set[str]:
    """The project's Python files that `python -m tasks.X [RECIPE] …` runs, as paths from the root."""
    words = command.split()
    program = words[words.index("-m") + 1]
    if _file(root, program) is None:
        sys.exit(f"error: dvc.yaml runs '{program}', which is not a module of the project")
    seen = _closure(root, [program])
    # Programs that load recipes take the slug as their first word; to others it is a mere name.
    if "tasks/phases/run.py" in seen:
        seen |= _closure(root, ["tasks.recipes." + words[words.index("-m") + 2].replace("-", "_")])
    # An empty __init__.py decides nothing.
    return {path for path in seen if (root / path).stat().st_size}


def _closure(root: Path, entries: list[str]) -> set[str]:
    seen: set[str] = set()
    while entries:
        module = entries.pop()
        file = _file(root, module)
        if file is None or str(file) in seen:
            continue
        seen.add(str(file))
        entries.extend(_imports(root / file))
        parent = module.rpartition(".")[0]
        if parent:
            entries.append(parent)
    return seen


def _imports(file: Path) -> Iterator[str]:
    for node in _runtime_nodes(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in PACKAGES)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in PACKAGES:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _runtime_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        yield node
        yield from _runtime_nodes(node)


def _file(root: Path, module: str) -> Path | None:
    base = Path(*module.split("."))
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if (root / candidate).is_file():
            return candidate
    return None


if __name__ == "__main__":
    main()
