"""The project's documentation; `docs.generate` makes a site of it."""
