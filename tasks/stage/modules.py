"""Which modules of the project a program runs, and a digest of each that comments and docstrings do not change.

The modules are found by reading imports, those inside functions too; what stands under `if TYPE_CHECKING` is not run.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGES = ("stillhouse", "tasks")


def modules_of(root: Path, entry: str, packages: tuple[str, ...] = PACKAGES) -> list[Path]:
    """The project's files that a module runs, itself and through others, from `root`, sorted; not the empty ones.

    Args:
        packages: whose modules are the project's.

    Raises:
        FileNotFoundError: there is no such module.
    """
    if _file(root, entry) is None:
        raise FileNotFoundError(f"no module '{entry}' in {root}")
    seen: set[Path] = set()
    ahead = [entry]
    while ahead:
        module = ahead.pop()
        file = _file(root, module)
        if file is None or file in seen:
            continue
        seen.add(file)
        ahead += [name for name in _imports(root / file) if name.split(".")[0] in packages]
        # Importing a module runs the packages that it is in.
        ahead += [parent for parent in [module.rpartition(".")[0]] if parent]
    return sorted(file for file in seen if (root / file).stat().st_size)


@cache
def digest(file: Path) -> str:
    """Of a module's source as Python sees it, without comments, docstrings and layout."""
    bare = _Bare().visit(ast.parse(file.read_text(encoding="utf-8")))
    text = ast.unparse(bare)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class _Bare(ast.NodeTransformer):
    """Takes docstrings out."""

    def _bare(self, node: ast.AST) -> ast.AST:
        self.generic_visit(node)
        body = node.body  # type: ignore[attr-defined]
        if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            node.body = body[1:] if isinstance(body[0].value.value, str) else body  # type: ignore[attr-defined]
        if not node.body and not isinstance(node, ast.Module):  # type: ignore[attr-defined]
            node.body = [ast.Pass()]  # type: ignore[attr-defined]
        return node

    visit_Module = visit_ClassDef = visit_FunctionDef = visit_AsyncFunctionDef = _bare


@cache
def _parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def _imports(file: Path) -> tuple[str, ...]:
    found: list[str] = []
    for node in _runtime_nodes(_parse(file)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(found)


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
