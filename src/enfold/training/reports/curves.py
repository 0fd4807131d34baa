"""Curves as inline SVG: axes with round numbers, a value under the pointer, no script."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 460, 240
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 10, 26
MOST_POINTS = 400
MARKED = 60  # up to so many points get a dot each

Point = tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """A named line; values that are no number leave a gap."""

    name: str
    points: Sequence[Point]


def chart(curves: Sequence[Curve], label: str) -> str:
    """An `<svg>` of curves over steps."""
    finite = [p for curve in curves for p in curve.points if math.isfinite(p[1])]
    if not finite:
        return "<p>No finite value.</p>"
    xs, ys = ticks(min(x for x, _ in finite), max(x for x, _ in finite)), ticks(*_span([y for _, y in finite]))
    low_x, high_x = min(p[0] for p in finite), max(p[0] for p in finite)
    low_x, high_x = (low_x, high_x) if high_x > low_x else (low_x - 0.5, high_x + 0.5)
    low_y, high_y = min(ys[0], min(y for _, y in finite)), max(ys[-1], max(y for _, y in finite))
    high_y = high_y if high_y > low_y else low_y + 1.0

    def place(point: Point) -> Point:
        across = (point[0] - low_x) / (high_x - low_x)
        up = (point[1] - low_y) / (high_y - low_y)
        return (LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM))

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">']
    for y in ys:
        _, at = place((low_x, y))
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{short(y)}</text>')
    for x in xs:
        if low_x <= x <= high_x:
            at, _ = place((x, low_y))
            parts.append(f'<text class="tick" x="{at:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{short(x)}</text>')
    for number, curve in enumerate(curves):
        parts += _line(curve, f"c{number % 4}", place)
    return "".join([*parts, "</svg>"])


def _line(curve: Curve, style: str, place) -> list[str]:
    parts: list[str] = []
    for piece in _pieces(curve.points):
        kept = thinned(piece)
        at = [place(point) for point in kept]
        if len(at) > 1:
            drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
            parts.append(f'<polyline class="{style}" points="{drawn}"/>')
        radius = 3 if len(at) == 1 else 2 if len(at) <= MARKED else 5
        dots = style if len(at) <= MARKED else "hidden"
        for (step, value), (x, y) in zip(kept, at, strict=True):
            title = f"<title>{escape(curve.name)} {value:.6g} at step {short(step)}</title>"
            parts.append(f'<circle class="{dots}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}">{title}</circle>')
    return parts


def _pieces(points: Sequence[Point]) -> list[list[Point]]:
    pieces: list[list[Point]] = [[]]
    for point in points:
        if math.isfinite(point[1]):
            pieces[-1].append(point)
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]


def thinned(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """At most `most` points that look the same: of each stretch its lowest and its highest, and both ends."""
    if len(points) <= most:
        return list(points)
    stretches = (most - 2) // 2
    inner = points[1:-1]
    kept = [points[0]]
    for number in range(stretches):
        stretch = inner[number * len(inner) // stretches : (number + 1) * len(inner) // stretches]
        values = [value for _, value in stretch]
        extremes = {values.index(min(values)), values.index(max(values))}
        kept += [stretch[i] for i in sorted(extremes)]
    return [*kept, points[-1]]


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten) from below `low` to above `high`."""
    if high <= low:
        return [low]
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    if high > low:
        return low, high
    return (low - abs(low) * 0.1, high + abs(high) * 0.1) if low else (0.0, 1.0)


def short(value: float) -> str:
    """A number as a person writes it."""
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.3g}"
