"""Stage programs. Their output goes to logs and CI pages, where progress bars are noise: lines of our own report."""

import os

# Read when the libraries are first imported, so before any of them. Whoever sets them otherwise keeps the last word.
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
