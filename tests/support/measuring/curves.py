# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Curves on two logarithmic axes, as SVG."""

import html
import math
from typing import List, NamedTuple, Sequence, Tuple

_WIDTH, _HEIGHT, _LEFT, _TOP, _LEGEND = 900, 460, 70, 40, 300
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#666666")


class Curve(NamedTuple):
    label: str
    points: Sequence[Tuple[float, float]]


def picture(title: str, curves: Sequence[Curve]) -> str:
    xs = [x for curve in curves for x, _ in curve.points]
    ys = [max(y, 1e-3) for curve in curves for _, y in curve.points]
    left, right = math.log10(min(xs)), math.log10(max(xs)) or 1
    low, high = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)))

    def at(x: float, y: float) -> Tuple[float, float]:
        width, height = _WIDTH - _LEFT - _LEGEND, _HEIGHT - 2 * _TOP
        across = (math.log10(x) - left) / ((right - left) or 1)
        up = (math.log10(max(y, 1e-3)) - low) / ((high - low) or 1)
        return round(_LEFT + across * width, 1), round(_HEIGHT - _TOP - up * height, 1)

    parts: List[str] = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif">',
        f"<title>{html.escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="24" font-size="16">{html.escape(title)}</text>',
    ]
    for power in range(low, high + 1):
        x, y = at(min(xs), 10.0**power)
        parts.append(f'<path d="M{x} {y}H{_WIDTH - _LEGEND}" stroke="#dddddd"/>')
        parts.append(f'<text x="{x - 8}" y="{y + 4}" font-size="12" text-anchor="end">{10.0**power:g}</text>')
    for size in sorted(set(xs)):
        x, y = at(size, 10.0**low)
        parts.append(f'<text x="{x}" y="{y + 18}" font-size="12" text-anchor="middle">{size:,.0f}</text>')
    for number, curve in enumerate(curves):
        colour = _COLOURS[number % len(_COLOURS)]
        points = " ".join(f"{x},{y}" for x, y in (at(*point) for point in curve.points))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        y = _TOP + 20 * number + 10
        parts.append(f'<rect x="{_WIDTH - _LEGEND + 20}" y="{y - 9}" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{_WIDTH - _LEGEND + 38}" y="{y + 2}" font-size="12">{html.escape(curve.label)}</text>')
    return "\n".join([*parts, "</svg>", ""])
