"""Where to write the names of points so that they can be read. n points, K places to choose from for each; pixels.

A box is (left, bottom, right, top).
"""

import numpy as np

DISTANCES = (14.0, 27.0, 45.0, 72.0, 100.0, 135.0)  # of a label from its point
NEAR = DISTANCES[0]  # at this one it is clear whose label it is; further off a line leads to it
# Straight above first, then around the clock.
SIDES = ((0, 1), (1, 0), (-1, 0), (0, -1), *((x, y) for y in (1, -1) for x in (0.5, -0.5, 1, -1)))
BLOCKED = 20.0  # cost of a square pixel on a label or a point; a pixel of distance costs 5
CROSSED = 8.0  # of one on a thin line
PASSES = 6


def place(
    points: np.ndarray, sizes: np.ndarray, radius: float, lines: np.ndarray, frame: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Choose a place for each label: off the points and the other labels, inside the frame, near, off the lines.

    Every label takes its best place in turn, given all the others, a few times over.

    Args:
        points: (n, 2) centres.
        sizes: (n, 2) width and height of the labels.
        radius: of the points.
        lines: (m, 4) boxes of thin lines.
        frame: (4,) where labels may be.

    Returns:
        (n, 4) boxes of the labels, and (n,) their distances.
    """
    boxes, distances = _places(points, sizes)  # (n, K, 4), (K,)
    dots = np.concatenate([points - radius, points + radius], axis=1)
    outside = sizes.prod(axis=1)[:, None] - _shared(boxes, frame[None])
    cost = BLOCKED * (_shared(boxes, dots) + outside) + CROSSED * _shared(boxes, lines) + 5 * distances  # (n, K)
    # (n, 1, n) which points can be taken for another; of two that lie on each other, no label can tell.
    others = np.linalg.norm(points[:, None] - points, axis=-1)[:, None] > 2 * radius
    confusing = 3 * (distances > NEAR)[:, None] * _crossed(points, boxes, radius) + _strangers(points, boxes)
    cost += BLOCKED * radius**2 * (confusing * others).sum(-1)
    chosen = cost.argmin(axis=1)
    for _ in range(PASSES):
        for i in range(len(points)):
            others = np.delete(boxes[np.arange(len(points)), chosen], i, axis=0)
            chosen[i] = (cost[i] + BLOCKED * _shared(boxes[i], others)).argmin()
    return boxes[np.arange(len(points)), chosen], distances[chosen]


def _places(points: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    sides = np.array(SIDES, dtype=float)[None, :, None, :]  # (1, S, 1, 2)
    gaps = np.array(DISTANCES)[None, None, :, None]  # (1, 1, D, 1)
    half = sizes[:, None, None] / 2
    middles = (points[:, None, None] + sides * (half + gaps)).reshape(len(points), -1, 2)
    half = half[:, 0]
    return np.concatenate([middles - half, middles + half], axis=2), np.tile(DISTANCES, len(SIDES))


def _shared(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(…,) area that each of (…, 4) boxes has in common with (m, 4) others, summed over them."""
    low = np.maximum(boxes[..., None, :2], others[:, :2])
    high = np.minimum(boxes[..., None, 2:], others[:, 2:])
    return np.clip(high - low, 0, None).prod(axis=-1).sum(axis=-1)


def _strangers(points: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(n, K, n) which points are as near to a label as its own would be: whose label it is would be a guess."""
    nearest = np.clip(points, boxes[..., None, :2], boxes[..., None, 2:])
    return np.linalg.norm(nearest - points, axis=-1) < 1.2 * NEAR


def _crossed(points: np.ndarray, boxes: np.ndarray, radius: float) -> np.ndarray:
    """(n, K, n) which points the line from a point to its label runs over."""
    middles = (boxes[..., :2] + boxes[..., 2:]) / 2  # where the line is drawn to
    along = (middles - points[:, None])[:, :, None]  # (n, K, 1, 2)
    apart = (points[None] - points[:, None])[:, None]  # (n, 1, n, 2)
    share = np.clip((along * apart).sum(-1) / (along**2).sum(-1), 0, 1)[..., None]
    return np.linalg.norm(apart - share * along, axis=-1) < radius
