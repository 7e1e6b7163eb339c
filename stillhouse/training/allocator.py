"""Keep freed memory in the process while training on a CPU.

glibc gives every block above 32 MB back to the kernel when it is freed, and a fresh one arrives page by page: zeroing
the gradient of a 30,522×384 embedding takes 14 ms that way, and 1 ms in memory that the process has kept.
"""

import ctypes
import platform

# Numbers of mallopt's parameters, from glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> bool:
    """Make malloc reuse large blocks, for the rest of the process. False where the C library is not glibc."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # One arena: the others are 64 MB long, and a block that they cannot hold is mapped after all.
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_ARENA_MAX, 1))
    return all(mallopt(name, value) for name, value in settings)
