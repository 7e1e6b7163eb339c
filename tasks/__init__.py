"""Stage programs. Their output goes to logs and CI pages, where progress bars are noise: plain lines report instead."""

import os

# Read when the libraries are first imported, so set before that; a value that the user has set stays.
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
