"""Compression methods for transformer encoders. Needs torch and transformers, and nothing of the pipeline around it."""

from stillhouse.models.registration import install_hook

__version__ = "0.1.0"

install_hook()
