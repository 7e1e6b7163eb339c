"""dvc.lock survives a kill: the last whole one is kept, and takes the place of one that was cut off.

DVC writes that file in place, a large one for a second. Killed meanwhile it leaves a part, which it then refuses to
read. What the kept one does not know of yet, DVC has in its run cache. Whoever calls these functions holds DVC's
repository lock, so that no process writes the file at the same moment.
"""

import filecmp
import shutil
from pathlib import Path

from dvc.exceptions import DvcException

from tasks.stage.outputs import fresh_file

CONFLICT = b"<<<<<<<"  # git's mark: resolving it is for whoever merges


def cut_off(root: Path, fault: DvcException | None) -> bool:
    """Whether dvc.lock is a part, and a whole one is kept; `fault` is what DVC said when it read the project."""
    file = root / "dvc.lock"
    text = file.read_bytes() if file.exists() else b"\n"
    damaged = (fault is not None and "dvc.lock" in str(fault)) or not text.endswith(b"\n")
    return damaged and CONFLICT not in text and _kept(root).exists()


def restore(root: Path) -> None:
    """Put the kept dvc.lock in place; the part stays next to the kept one."""
    kept = _kept(root)
    print(
        f"dvc.lock is cut off, as a kill leaves it: the last whole one takes its place, {kept.parent} has the part",
        flush=True,
    )
    (root / "dvc.lock").replace(kept.with_name("dvc.lock.cut"))
    shutil.copy2(kept, root / "dvc.lock")


def keep(root: Path) -> None:
    """Copy dvc.lock, which is whole, unless the kept one is the same."""
    file, kept = root / "dvc.lock", _kept(root)
    if file.exists() and not (kept.exists() and filecmp.cmp(file, kept)):
        with fresh_file(kept) as copy:
            shutil.copy2(file, copy)


def _kept(root: Path) -> Path:
    return root / ".dvc" / "tmp" / "stillhouse" / "dvc.lock"
