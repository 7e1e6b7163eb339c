"""Arrays that differ in shape, kept as one array: a hundred bytes and more of Python a row are none.

N arrays, M numbers of all of them together.
"""

from collections.abc import Iterable, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray


class Ragged(Sequence[NDArray[np.float32]]):
    """N arrays of the same count of axes, each a view of the one that holds their numbers.

    Args:
        values: (M,), one array after the other.
        shapes: (N, axes) of whole numbers.
    """

    def __init__(self, values: NDArray[np.float32], shapes: NDArray[np.int64]) -> None:
        self.values = values
        self.shapes = shapes
        self.ends = np.cumsum(shapes.prod(axis=1))  # (N,)
        assert len(values) == (self.ends[-1] if len(shapes) else 0)

    @classmethod
    def of(cls, arrays: Sequence[NDArray[np.float32]]) -> "Ragged":
        """The arrays themselves where they are kept so, else copies of them, one at least."""
        if isinstance(arrays, Ragged):
            return arrays
        return cls(np.concatenate([each.ravel() for each in arrays]), np.array([each.shape for each in arrays]))

    def __len__(self) -> int:
        return len(self.shapes)

    @overload
    def __getitem__(self, place: int) -> NDArray[np.float32]: ...
    @overload
    def __getitem__(self, place: slice) -> "list[NDArray[np.float32]]": ...
    def __getitem__(self, place: int | slice) -> "NDArray[np.float32] | list[NDArray[np.float32]]":
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        end = self.ends[place]
        shape = self.shapes[place]
        return self.values[end - shape.prod() : end].reshape(shape)


class Gathered:
    """Arrays that come in another order than theirs, a batch at a time.

    Args:
        count: N, how many will have come.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._batches: list[tuple[Sequence[int], NDArray[np.float32]]] = []
        self._shapes: NDArray[np.int64] | None = None

    def add(self, places: Sequence[int], arrays: Iterable[NDArray[np.float32]]) -> None:
        """Keep the arrays of some places."""
        held = [np.asarray(each, dtype=np.float32) for each in arrays]
        if self._shapes is None:
            self._shapes = np.zeros((self.count, held[0].ndim), dtype=np.int64)
        self._shapes[places] = [each.shape for each in held]
        self._batches.append((places, np.concatenate([each.ravel() for each in held])))

    def whole(self) -> Ragged:
        """All of them, in order; what was gathered is given back as it is copied."""
        if self._shapes is None:
            return Ragged(np.empty(0, dtype=np.float32), np.empty((0, 1), dtype=np.int64))
        sizes = self._shapes.prod(axis=1)
        ends = np.cumsum(sizes)
        values = np.empty(int(ends[-1]), dtype=np.float32)
        while self._batches:
            places, flat = self._batches.pop()
            begin = 0
            for place in places:
                size = sizes[place]
                values[ends[place] - size : ends[place]] = flat[begin : begin + size]
                begin += size
        return Ragged(values, self._shapes)
