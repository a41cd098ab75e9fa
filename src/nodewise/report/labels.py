"""Puts names beside the points of a scatter chart so that they cover neither each other nor the points."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

__all__ = ["place_labels"]

GAP = 11.0
"""From the middle of the marker, in points."""
# (dx, dy, horizontal alignment, vertical alignment), the pleasantest first: error bars run to the left and right.
SIDES = (
    (0.0, 1.0, "center", "bottom"),
    (0.0, -1.0, "center", "top"),
    (1.0, 0.0, "left", "center"),
    (-1.0, 0.0, "right", "center"),
    (0.8, 0.8, "left", "bottom"),
    (0.8, -0.8, "left", "top"),
    (-0.8, 0.8, "right", "bottom"),
    (-0.8, -0.8, "right", "top"),
)


def place_labels(figure: Figure, axes: Axes, points: Sequence[tuple[float, float]], names: Sequence[str]) -> None:
    """Write each name at that side of its point where it covers least; limits and size of the axes must be final."""
    figure.draw_without_rendering()
    centres = [tuple(axes.transData.transform(point)) for point in points]
    taken = [Bbox.from_bounds(x - GAP, y - GAP, 2 * GAP, 2 * GAP) for x, y in centres]
    for index, name in enumerate(names):
        others = taken[:index] + taken[index + 1 :]
        tries = []
        for dx, dy, across, along in SIDES:
            label = axes.annotate(
                name,
                points[index],
                (dx * GAP, dy * GAP),
                textcoords="offset points",
                ha=across,
                va=along,
                bbox={"facecolor": "#FFFFFF", "edgecolor": "none", "pad": 1.0},
            )
            box = label.get_window_extent()
            outside = _area(box) - _common(box, axes.bbox)
            tries.append((outside + sum(_common(box, other) for other in others), label, box))
        _, best, box = min(tries, key=lambda attempt: attempt[0])
        for _, label, _ in tries:
            if label is not best:
                label.remove()
        taken.append(box)


def _area(box: Bbox) -> float:
    return float(box.width * box.height)


def _common(one: Bbox, other: Bbox) -> float:
    shared = Bbox.intersection(one, other)
    return 0.0 if shared is None else _area(shared)
