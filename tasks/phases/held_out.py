"""Training rows that a method measures on instead, and training on the others for as many steps."""

import math

import numpy as np
from datasets import Dataset

from stillhouse.errors import InputError
from tasks.stage.params import Phase


def held_out(rows: int, share: float, seed: int, name: str) -> np.ndarray:
    """Which rows are measured on and not trained on, in order.

    Args:
        rows: how many there are.
        share: of them that is held out.
        seed: of the choice.
        name: of the share in params.yaml.

    Raises:
        InputError: that is none, or all.
    """
    count = round(rows * share)
    if not 0 < count < rows:
        raise InputError(f"{name} = {share} takes {count} of {rows} rows: choose a share that divides them")
    return np.sort(np.random.default_rng(seed).permutation(rows)[:count])


def of_rows(data: Dataset, rows: np.ndarray) -> Dataset:
    """The encoded rows of some rows, in order; `row` says which row each is of, where there are more than one of a row.

    Args:
        rows: indices.
    """
    if "row" not in data.column_names:
        return data.select(rows)
    return data.select(np.flatnonzero(np.isin(data["row"][:], rows)))


def same_steps(phase: Phase, before: int, after: int) -> Phase:
    """The phase with as many optimizer steps on `after` rows as it has on `before`."""
    steps = math.ceil(phase.epochs * math.ceil(before / phase.batch_size))
    # The loop rounds up: half a step less keeps a rounding error from making one more.
    return phase.model_copy(update={"epochs": (steps - 0.5) / math.ceil(after / phase.batch_size)})
