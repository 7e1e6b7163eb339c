"""Within a package, a room imports only rooms that stand before it, and no modules import each other in a circle."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = "(programs)"  # modules that lie directly in the package
# Each package's rooms, the lowest first.
ORDER = {
    "stillhouse": [
        *("errors", "training", "families", "models", "encoders", "text", "surgery", "onnx"),
        *("answers", "tagging", "methods"),
    ],
    "tasks": [
        *("stage", "tracking", "data", "sources", "evaluation", "kinds", "links", "exported"),
        *("phases", "recipes", "reports", PROGRAMS),
    ],
    "flows": ["dag", "serving", "registry", "promotion", "checks", PROGRAMS, "search"],
}
FEWEST = {"stillhouse": 70, "tasks": 80, "flows": 45}  # modules, so that a wrong path does not pass


def modules(package: str) -> dict[str, Path]:
    """All modules of a package by name; a package's `__init__` has the package's name."""
    found = {}
    for file in sorted((ROOT / package).rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports(file: Path, known: dict[str, Path]) -> set[str]:
    """The known modules that a file imports, in functions too, but not for type checkers alone."""
    found = set()
    for node in _executed(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            # `from package.room import module` imports the module, `from package.room.module import name` that one.
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names & known.keys()
            if not names <= known.keys():
                found.add(node.module or "")
    return found & known.keys()


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            continue
        yield node
        yield from _executed(node)


def room(module: str) -> str:
    """The room of a module; the package itself, and modules directly in it that are no room, are programs."""
    package, *rest = module.split(".")
    return rest[0] if rest and rest[0] in ORDER[package] else PROGRAMS


@pytest.mark.parametrize("package", ORDER)
def test_a_room_imports_only_rooms_before_it(package: str) -> None:
    known = modules(package)
    assert len(known) >= FEWEST[package], len(known)
    order = ORDER[package]
    # The package's own `__init__` runs before all its modules: it stands outside the order.
    inside = [name for name in known if name != package]
    unplaced = [name for name in inside if room(name) not in order]
    assert not unplaced, f"modules in no room of {package}: {unplaced}"
    folders = {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}
    assert folders <= set(order), f"rooms of {package} without a place in the order: {sorted(folders - set(order))}"
    wrong = [
        f"{name} imports {other}"
        for name in inside
        for other in sorted(imports(known[name], known) - {package})
        if order.index(room(other)) > order.index(room(name))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", ORDER)
def test_no_modules_import_each_other_in_a_circle(package: str) -> None:
    known = modules(package)
    assert len(known) >= FEWEST[package], len(known)
    graph = {name: imports(file, known) - {name} for name, file in known.items()}
    assert sum(map(len, graph.values())) > len(known), "imports were found"
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as circle:
        pytest.fail(" → ".join(circle.args[1]))
