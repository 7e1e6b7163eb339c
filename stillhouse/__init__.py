"""Compression methods for transformer encoders. Needs torch and transformers, and nothing of the pipeline around it."""

__version__ = "0.1.0"
