"""How many threads a process may keep busy: more than its share of the cores would wait for each other."""

import os
import sys

from joblib import cpu_count


def usable_cores() -> int:
    """Cores that this process may use: its affinity, and its control group's quota rounded up."""
    return int(cpu_count())


def limit_threads() -> None:
    """Give torch no more threads than there are usable cores, where OMP_NUM_THREADS does not say how many.

    torch knows the affinity, but not a container's quota. Where nothing restricts the process the number stays, and
    with it the order of sums.
    """
    torch = sys.modules.get("torch")
    if torch and not os.environ.get("OMP_NUM_THREADS") and torch.get_num_threads() > usable_cores():
        torch.set_num_threads(usable_cores())
