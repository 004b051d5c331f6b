"""The outline of each shape as a polygon within the unit circle; x grows to the right, y downwards."""

from functools import cache
from math import acos, cos, pi, sin

Point = tuple[float, float]
_ARC_STEPS = 48


@cache
def outline(shape: str) -> tuple[Point, ...]:
    """Vertices of `shape` (a name in `SHAPES`), within distance 1 of the origin; only the heart reaches 1.1."""
    match shape:
        case "circle":
            return _ring_points(_ARC_STEPS, radius=1.0)
        case "square":
            return _ring_points(4, radius=1.0, first_degrees=45)
        case "triangle":
            return _ring_points(3, radius=1.0)
        case "diamond":
            return ((0.0, -1.0), (0.8, 0.0), (0.0, 1.0), (-0.8, 0.0))
        case "pentagon":
            return _ring_points(5, radius=1.0)
        case "hexagon":
            return _ring_points(6, radius=1.0, first_degrees=90)
        case "star":
            tips, notches = _ring_points(5, 1.0), _ring_points(5, 0.45, first_degrees=36)
            return tuple(point for pair in zip(tips, notches, strict=True) for point in pair)
        case "heart":
            return _heart()
        case "cross":
            return _cross(arm=0.34, reach=0.94)
        case "crescent":
            return _crescent()
        case "arrow":
            return ((1.0, 0.0), (0.1, -0.9), (0.1, -0.38), (-0.92, -0.38), (-0.92, 0.38), (0.1, 0.38), (0.1, 0.9))
        case "semicircle":
            angles = [pi * k / _ARC_STEPS for k in range(_ARC_STEPS + 1)]
            return tuple((0.92 * cos(a), 0.38 - 0.92 * sin(a)) for a in angles)
    raise KeyError(shape)


def _ring_points(n: int, radius: float, first_degrees: float = 0.0) -> tuple[Point, ...]:
    """`n` points evenly spaced on a circle, clockwise from the top."""
    angles = [2 * pi * k / n + first_degrees * pi / 180 for k in range(n)]
    return tuple((radius * sin(a), -radius * cos(a)) for a in angles)


def _heart() -> tuple[Point, ...]:
    curve = []
    for k in range(2 * _ARC_STEPS):
        t = pi * k / _ARC_STEPS
        y = -(13 * cos(t) - 5 * cos(2 * t) - 2 * cos(3 * t) - cos(4 * t))
        curve.append((sin(t) ** 3 * 0.95, (y - 2.0) / 15.6))
    return tuple(curve)


def _cross(arm: float, reach: float) -> tuple[Point, ...]:
    corner = [(arm, -reach), (arm, -arm), (reach, -arm)]
    points: list[Point] = []
    for _ in range(4):
        points += corner
        corner = [(-y, x) for x, y in corner]
    return tuple(points)


def _crescent() -> tuple[Point, ...]:
    """The unit disc without a smaller one that is shifted to the right."""
    shift, inner = 0.62, 0.78
    cut_x = (1 + shift**2 - inner**2) / (2 * shift)
    outer_angle = acos(cut_x)
    inner_angle = acos((cut_x - shift) / inner)
    outer = [outer_angle + (2 * pi - 2 * outer_angle) * k / _ARC_STEPS for k in range(_ARC_STEPS + 1)]
    hollow = [inner_angle + (2 * pi - 2 * inner_angle) * k / _ARC_STEPS for k in range(_ARC_STEPS + 1)]
    rim = [(cos(a), sin(a)) for a in outer]
    bite = [(shift + inner * cos(a), inner * sin(a)) for a in reversed(hollow)]
    return tuple(rim + bite)
