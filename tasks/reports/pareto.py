"""What nothing else beats in both cost and value."""

from collections.abc import Sequence


def pareto(costs: Sequence[float], values: Sequence[float]) -> list[int]:
    """Indices of the points that no other beats (as cheap and as good, and better in one), cheapest first."""
    points = list(zip(costs, values, strict=True))

    def beaten(point: tuple[float, float]) -> bool:
        return any(cost <= point[0] and value >= point[1] and (cost, value) != point for cost, value in points)

    return sorted((i for i, point in enumerate(points) if not beaten(point)), key=lambda i: points[i])
