"""Arrays of different shapes in one: each is what it was, whatever order they came in."""

import numpy as np
import pytest

from stillhouse.training.ragged import Gathered, Ragged

ARRAYS = [np.arange(2 * size, dtype=np.float32).reshape(2, size) + 100 * size for size in (3, 0, 5, 1)]


def test_each_array_is_what_it_was() -> None:
    ragged = Ragged.of(ARRAYS)
    assert len(ragged) == 4 and len(ragged.values) == 18 and Ragged.of(ragged) is ragged
    for found, wanted in zip(ragged, ARRAYS, strict=True):
        assert np.array_equal(found, wanted) and found.shape == wanted.shape
    assert np.array_equal(ragged[-1], ARRAYS[3]) and [each.shape for each in ragged[1:3]] == [(2, 0), (2, 5)]
    for place in (4, -5):
        with pytest.raises(IndexError):
            ragged[place]


def test_they_are_in_order_in_whatever_order_they_came() -> None:
    gathered = Gathered(4)
    gathered.add([2, 0], [ARRAYS[2].T.copy().T, ARRAYS[0].astype(np.float64)])
    gathered.add([3, 1], [ARRAYS[3], ARRAYS[1]])
    whole = gathered.whole()
    assert np.array_equal(whole.values, Ragged.of(ARRAYS).values) and whole.values.dtype == np.float32
    assert np.array_equal(whole.shapes, Ragged.of(ARRAYS).shapes)
    assert len(Gathered(0).whole()) == 0
