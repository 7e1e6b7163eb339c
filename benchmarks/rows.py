"""Rows in memory, as `fit` reads them; for benchmarks that need torch and transformers alone, too."""

from collections.abc import Iterable
from typing import Any

import numpy as np


class Rows(list):
    """Tokenized rows, with the columns that `fit` asks for."""

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(self[0])

    def __getitem__(self, key: Any) -> Any:
        return [row[key] for row in self] if isinstance(key, str) else super().__getitem__(key)

    def with_column(self, name: str, values: Iterable[Any]) -> "Rows":
        """The same rows with one more column."""
        values = values.tolist() if isinstance(values, np.ndarray) else values
        return Rows({**row, name: value} for row, value in zip(self, values, strict=True))
