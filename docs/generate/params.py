"""Blocks of params.yaml, as they stand there, comments and all."""

import re
from pathlib import Path


def block(root: Path, *keys: str) -> str:
    """The lines of a block: `block(root, "pkd")`, `block(root, "kinds", "tokens")`.

    Raises:
        ValueError: there is no such block.
    """
    lines = (root / "params.yaml").read_text(encoding="utf-8").splitlines()
    for depth, key in enumerate(keys):
        starts = [at for at, line in enumerate(lines) if re.match(rf"{'  ' * depth}{re.escape(key)}:(?: |$)", line)]
        if not starts:
            raise ValueError(f"params.yaml has no block {'.'.join(keys)}")
        lines = _of(lines, starts[0], depth)
    return "\n".join(lines)


def shared(root: Path, text: str) -> str:
    """What of the block `shared` these lines merge; empty where they merge nothing of it."""
    lines = block(root, "shared").splitlines()
    found = [lines[0]]
    for name in dict.fromkeys(re.findall(r"<<: \*(\w+)", text)):
        start = next(at for at, line in enumerate(lines) if re.match(rf"  \w+: &{name}\b", line))
        found += [*_remark(lines, start), *_of(lines, start, 1)]
    return "\n".join(found) if len(found) > 1 else ""


def _of(lines: list[str], start: int, depth: int) -> list[str]:
    """The line at `start`, and those after it that are deeper; a comment as deep as it belongs to what follows."""
    inside = [lines[start]]
    for line in lines[start + 1 :]:
        if line.strip() and len(line) - len(line.lstrip()) <= 2 * depth:
            break
        inside.append(line)
    while not inside[-1].strip():
        inside.pop()
    return inside


def _remark(lines: list[str], start: int) -> list[str]:
    return [lines[start - 1]] if lines[start - 1].lstrip().startswith("#") else []
