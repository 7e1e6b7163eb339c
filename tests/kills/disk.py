"""A disk that fills up: a tmpfs in a mount namespace of this program's own, made as small as what it holds.

Everything on it truly gets ENOSPC. The namespace ends with the last process in it, and the mount with it. Where the
user is not root, a user namespace lets them mount it.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

INSIDE = "KILLS_NAMESPACE"  # a variable: the program was started again, in the namespace


def enter(module: str) -> bool:
    """Start the program again in a mount namespace of its own, unless it is there; False where none can be had."""
    if INSIDE in os.environ:
        return True
    unshare = ["unshare", "--mount", "--propagation", "private"]
    unshare += [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    if not shutil.which("unshare"):
        return False
    if subprocess.run([*unshare, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False).returncode:
        return False
    os.environ[INSIDE] = "yes"
    os.execvp(unshare[0], [*unshare, sys.executable, "-m", module, *sys.argv[1:]])


class Disk:
    """A file system of its own in a folder."""

    def __init__(self, folder: Path, size: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.size = folder, size
        self._mount(size, "")

    def fill(self, left: int) -> None:
        """Leave so many bytes free."""
        total, used = self.used()
        self._mount(min(total, used + left), "remount,")

    def free(self) -> None:
        """Give back all the room."""
        self._mount(self.size, "remount,")

    def close(self) -> None:
        """Take it away, with all that is on it."""
        # Lazily: what was stopped a moment ago may hold a file of it.
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)

    def used(self) -> tuple[int, int]:
        """Its size and what is taken, in bytes."""
        found = os.statvfs(self.folder)
        return found.f_blocks * found.f_frsize, (found.f_blocks - found.f_bfree) * found.f_frsize

    def _mount(self, size: int, how: str) -> None:
        # A size of 0 would be no limit.
        options = f"{how}size={max(size, 4096)}"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(self.folder)], check=True)
