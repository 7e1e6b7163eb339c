"""What a kill or a full disk leaves of DVC's own files, which stops all that comes after until somebody removes it.

Of dvc.lock see `lockfile`. In its run cache DVC makes a folder for a stage's inputs, and then writes an entry into it,
first under another name. In between, the folder is empty or holds a part. DVC removes the part when it meets it, and
from then on fails, since it takes for granted that a folder holds an entry. The list of files that its processes read
and write, `rwlock`, it writes in place, and refuses a part of it.
"""

import json
from pathlib import Path

from dvc.lock import LockError, make_lock

PART = ".*.tmp"
IN_USE = "rwlock"


def clear_run_cache(runs: Path) -> bool:
    """Remove parts of entries, and folders without one; whether there were any.

    Args:
        runs: the run cache. Whoever calls this holds DVC's repository lock, so no process of the clone writes to it.
    """
    found = False
    for folder in runs.glob("*/*"):
        for part in folder.glob(PART):
            part.unlink(missing_ok=True)
            found = True
        if not any(folder.iterdir()):
            folder.rmdir()
            found = True
    return found


def clear_in_use(temporary: Path) -> None:
    """Remove the list of files in use if it is a part.

    What runs meanwhile is kept apart by the flows' own locks.

    Args:
        temporary: DVC's folder for it.
    """
    if _is_whole(temporary / IN_USE):
        return
    try:
        with make_lock(str(temporary / f"{IN_USE}.lock"), tmp_dir=str(temporary)):
            # Another process may have been writing it.
            if not _is_whole(temporary / IN_USE):
                (temporary / IN_USE).unlink(missing_ok=True)
                print(f"{temporary / IN_USE} is cut off, as a kill leaves it: it is removed", flush=True)
    except LockError:
        return  # it is being written now, and will be whole


def _is_whole(file: Path) -> bool:
    try:
        json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return True
    except ValueError:
        return False
    return True
