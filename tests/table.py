"""The table recipes × kinds × families: which cells ran, and why each other one did not, in the code's own words.

    python -m tests.table                              # runs the tests of all cells, and prints it; minutes
    STILLHOUSE_FAMILIES=all python -m tests.table      # whole recipes on all families, too

A test of a cell says which it is, and what the code said where it refused (fixture `cell`). So the table has what ran
in this session and nothing else; `make test` and `make test-slow` print theirs. A recipe runs whole, on a kind and a
family; a method is one step on a family, a kind both of its losses on a family.
"""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

PROPERTY = "cell"
AXES = ("method", "recipe", "kind", "family")
# Rows, columns, and what is the same in all cells of the plane.
PLANES: list[tuple[str, str, dict[str, str]]] = [
    ("method", "family", {}),
    ("kind", "family", {}),
    ("recipe", "kind", {"family": "bert"}),
    ("recipe", "family", {"kind": "classes"}),
]
FILES = [
    "tests/guards/test_families.py",
    "tests/tasks/kinds/test_families.py",
    "tests/tasks/recipes/test_kinds.py",
    "tests/tasks/recipes/test_families.py",
]

INDEPENDENT = (
    "no kind asks for a family, and no recipe but subword for either (tests/guards/test_kinds.py, test_families.py)"
)

Cell = tuple[str, ...]  # a name on each of AXES, or ""


@dataclass(frozen=True)
class Outcome:
    """What became of a cell: "yes", "no", "·" (left out) or "FAILED"; and why."""

    mark: str
    why: str = ""


Outcomes = Mapping[Cell, Outcome]
SPOKEN = {"yes": "ran", "no": "refused by the code", "·": "left out", "FAILED": "FAILED"}


def main() -> int:
    """Run the tests of all cells; arguments go to pytest."""
    import pytest

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return pytest.main(["--quiet", "--numprocesses", "auto", "--dist", "worksteal", *FILES, *sys.argv[1:]])


def collected(stats: Mapping[str, Sequence[Any]]) -> Outcomes:
    """What the tests of a session said of their cells.

    Args:
        stats: pytest's reports, by how they ended.
    """
    found: dict[Cell, Outcome] = {}
    for ended in ("passed", "failed"):
        for report in stats.get(ended, ()):
            for name, said in getattr(report, "user_properties", ()):
                if name != PROPERTY:
                    continue
                place = tuple(said.get(axis, "") for axis in AXES)
                if ended == "failed":
                    found[place] = Outcome("FAILED")
                elif why := said.get("refused"):
                    found[place] = Outcome("no", " ".join(why.removeprefix("error: ").split()))
                elif why := said.get("left"):
                    found.setdefault(place, Outcome("·", why))
                else:
                    found[place] = Outcome("yes")
    return found


def lines(outcomes: Outcomes) -> Iterator[str]:
    """The table as a person reads it."""
    for rows, columns, fixed in PLANES:
        wanted = {rows, columns, *fixed}
        plane = {}
        for place, outcome in outcomes.items():
            named = {axis: name for axis, name in zip(AXES, place, strict=True) if name}
            if named.keys() == wanted and fixed.items() <= named.items():
                plane[named[rows], named[columns]] = outcome
        if len({row for row, _ in plane}) > 1 and len({column for _, column in plane}) > 1:
            where = "".join(f" ({axis} {name})" for axis, name in fixed.items())
            yield from _plane(f"{rows} × {columns}{where}", plane)
    cube = {place[1:]: outcome for place, outcome in outcomes.items() if all(place[1:])}
    if cube:
        size = prod(len({place[axis] for place in cube}) for axis in range(3))
        yield f"recipe × kind × family: {_counts(cube.values())}; of {size:,} cells"
        yield f"  {size - len(cube):,} cells have no test here: {INDEPENDENT}"


def _plane(title: str, plane: Mapping[tuple[str, str], Outcome]) -> Iterator[str]:
    downs, acrosses = (sorted({place[axis] for place in plane}) for axis in (0, 1))
    yield f"{title}: {_counts(plane.values())}; of {len(downs) * len(acrosses)} cells"
    yield f"{'':19}" + "".join(f"{name:13}" for name in acrosses).rstrip()
    for row in downs:
        marks = [plane.get((row, column), Outcome("")).mark for column in acrosses]
        yield f"{row:19}" + "".join(f"{mark:13}" for mark in marks).rstrip()
    # One line a reason; those of a row that say the same of several columns are one.
    reasons: dict[tuple[str, str, str], list[str]] = {}
    for (row, column), outcome in sorted(plane.items(), key=lambda each: (each[1].mark, each[0])):
        if outcome.why:
            shown = "" if outcome.mark == "·" else f"{row} × "
            reasons.setdefault((outcome.mark, shown, outcome.why), []).append(column)
    for (mark, row, why), columns in reasons.items():
        yield f"  {mark} {row}{', '.join(columns) if row else f'{len(columns)} cells'}: {why}"
    yield ""


def _counts(outcomes: Iterable[Outcome]) -> str:
    counted = Counter(outcome.mark for outcome in outcomes)
    return ", ".join(f"{counted[mark]} {spoken}" for mark, spoken in SPOKEN.items() if counted[mark])


if __name__ == "__main__":
    sys.exit(main())
