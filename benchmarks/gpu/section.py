"""One section in a process of its own, whose device, memory and faults are no other section's.

python -m benchmarks.gpu.section NAME DEVICE SIZE FILE
"""

import importlib
import json
import logging
import sys
from pathlib import Path

from benchmarks.gpu.setting import NotHereError, Setting


def main() -> None:
    """Measure, and write the rows, or why there are none, to FILE."""
    name, device, size, file = sys.argv[1:]
    logging.disable(logging.INFO)
    section = importlib.import_module(f"benchmarks.gpu.{name}")
    try:
        found = {"rows": section.measure(Setting(device, size == "tiny"))}
    except NotHereError as reason:
        found = {"not here": str(reason)}
    Path(file).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
