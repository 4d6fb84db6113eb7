# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Curves on two logarithmic axes, as SVG."""

import html
import math
from typing import Dict, List, NamedTuple, Sequence, Tuple

_WIDTH, _HEIGHT, _LEFT, _TOP, _LEGEND = 900, 460, 70, 40, 300
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#666666", "#000000")


class Curve(NamedTuple):
    label: str
    points: Sequence[Tuple[float, float]]
    #: of the same label, drawn in the same colour with dashes, and not named again
    is_dashed: bool = False


class Panel(NamedTuple):
    title: str
    curves: Sequence[Curve]


def picture(panels: Sequence[Panel]) -> str:
    """The panels, one below the other. A label has the same colour in all."""
    labels = list(dict.fromkeys(curve.label for panel in panels for curve in panel.curves))
    colours = {label: _COLOURS[number % len(_COLOURS)] for number, label in enumerate(labels)}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT * len(panels)}" '
        'font-family="sans-serif">',
        f"<title>{html.escape('; '.join(panel.title for panel in panels))}</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT * len(panels)}" fill="#ffffff"/>',
    ]
    for number, panel in enumerate(panels):
        parts += [f'<g transform="translate(0 {_HEIGHT * number})">', *_panel(panel, colours), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel, colours: Dict[str, str]) -> List[str]:
    title, curves = panel
    xs = [x for curve in curves for x, _ in curve.points]
    ys = [max(y, 1e-3) for curve in curves for _, y in curve.points]
    left, right = math.log10(min(xs)), math.log10(max(xs)) or 1
    low, high = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)))

    def at(x: float, y: float) -> Tuple[float, float]:
        width, height = _WIDTH - _LEFT - _LEGEND, _HEIGHT - 2 * _TOP
        across = (math.log10(x) - left) / ((right - left) or 1)
        up = (math.log10(max(y, 1e-3)) - low) / ((high - low) or 1)
        return round(_LEFT + across * width, 1), round(_HEIGHT - _TOP - up * height, 1)

    parts = [f'<text x="{_LEFT}" y="24" font-size="16">{html.escape(title)}</text>']
    for power in range(low, high + 1):
        x, y = at(min(xs), 10.0**power)
        parts.append(f'<path d="M{x} {y}H{_WIDTH - _LEGEND}" stroke="#dddddd"/>')
        parts.append(f'<text x="{x - 8}" y="{y + 4}" font-size="12" text-anchor="end">{10.0**power:g}</text>')
    for size in sorted(set(xs)):
        x, y = at(size, 10.0**low)
        parts.append(f'<text x="{x}" y="{y + 18}" font-size="12" text-anchor="middle">{size:,.0f}</text>')
    named: List[str] = []
    for curve in curves:
        colour = colours[curve.label]
        points = " ".join(f"{x},{y}" for x, y in (at(*point) for point in curve.points))
        dashes = ' stroke-dasharray="5 4"' if curve.is_dashed else ""
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
        if curve.label in named:
            continue
        y = _TOP + 20 * len(named) + 10
        named.append(curve.label)
        parts.append(f'<rect x="{_WIDTH - _LEGEND + 20}" y="{y - 9}" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{_WIDTH - _LEGEND + 38}" y="{y + 2}" font-size="12">{html.escape(curve.label)}</text>')
    if any(curve.is_dashed for curve in curves):
        y = _TOP + 20 * len(named) + 10
        dashes = '<path d="M{} {}h14" stroke="#000000" stroke-width="2" stroke-dasharray="5 4"/>'
        parts.append(dashes.format(_WIDTH - _LEGEND + 19, y - 3))
        parts.append(f'<text x="{_WIDTH - _LEGEND + 38}" y="{y + 2}" font-size="12">before</text>')
    return parts
