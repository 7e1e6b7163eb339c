"""Stage programs. Their output goes to logs and CI pages, where progress bars are noise: plain lines report instead."""

import gc
import os
import sys

# Read when the libraries are first imported, so set before that; a value that the user has set stays.
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
# OpenMP's threads spin while they wait for each other. Beside another program, which keeps one of them from its core,
# that takes many times as long; alone, spinning for some microseconds only costs 7 to 16 % (docs/decisions.md).
if os.getloadavg()[0] > max(1, (os.cpu_count() or 1) / 2) and "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")

# A program's imports stay to its end: to look for garbage among them took two fifths of its start. `program.ending` has
# the collector on again. "-m" is what Python says while it looks for the program, so whoever imports this keeps theirs.
if sys.argv[:1] == ["-m"]:
    gc.disable()
