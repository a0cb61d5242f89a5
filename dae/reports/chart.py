"""A plot as HTML: it takes its colours from the page, and its letters keep their size."""

import math
from html import escape
from typing import NamedTuple

MAX_POINTS = 1000
"""A curve of more points than that is thinned out."""


class Curve(NamedTuple):
    """A curve of a plot.

    Attributes
    ----------
    name : str
    points : sequence of (x, y)
        Pairs of finite floats; a curve of very many points is thinned out.
    color : int
        Its number among the colours; the eighth and the first are the same.
    is_dashed : bool
    """

    name: str
    points: list
    color: int = 0
    is_dashed: bool = False


def draw_chart(curves, levels, x_label, y_label, right_label=None, right_factor=1):
    """Draw curves and horizontal lines.

    The colours and the layout are those of the template ``page.html``.

    Parameters
    ----------
    curves : sequence of Curve
    levels : dict
        From names to the heights of horizontal lines.
    x_label, y_label : str
        What the axes mean.
    right_label : str, optional
        What a second axis, on the right, means.
    right_factor : float, default=1
        Its numbers are those on the left times this.

    Returns
    -------
    str
        HTML.
    """
    curves = [curve._replace(points=_thinned_out(curve.points)) for curve in curves]
    xs = [x for curve in curves for x, _ in curve.points]
    ys = [y for curve in curves for _, y in curve.points] + list(levels.values())
    left, right = min(xs), max(max(xs), min(xs) + 1)
    margin = 0.06 * (max(ys) - min(ys)) or 0.5 * abs(max(ys)) or 1.0
    bottom, top = min(ys) - margin, max(ys) + margin
    if min(ys) >= 0:
        bottom = max(bottom, 0.0)
    x_ticks = [x for x in nice_ticks(left, right, whole=True) if left <= x <= right]
    y_ticks = [y for y in nice_ticks(bottom, top) if bottom <= y <= top]

    def across(x):
        return 100 * (x - left) / (right - left)

    def down(y):
        return 100 * (top - y) / (top - bottom)

    def axis(kind, places_and_texts):
        labels = (f'<span style="{place}">{text}</span>' for place, text in places_and_texts)
        return f'<div class="{kind}">{"".join(labels)}</div>'

    def numbers(factor, more_digits=0):
        step = factor * (y_ticks[1] - y_ticks[0])
        digits = max(more_digits - math.floor(math.log10(step) + 1e-9), 0)
        return [(f"top:{down(y):.2f}%", f"{factor * y:.{digits}f}") for y in y_ticks]

    shapes = [f'<path class="grid" d="M0 {down(y):.2f}H100"/>' for y in y_ticks]
    names, legend = [], []
    ends = max(curve.points[-1][1] for curve in curves)
    for name, y in levels.items():
        shapes.append(f'<path class="level" d="M0 {down(y):.2f}H100"/>')
        # Away from where the curves end.
        side = "" if y > ends else " under"
        names.append(f'<span class="name{side}" style="top:{down(y):.2f}%">{escape(name)}</span>')
    for curve in curves:
        line = "L".join(f"{across(x):.2f} {down(y):.2f}" for x, y in curve.points)
        end = "h0" if len(curve.points) == 1 else ""  # a line of no length has round ends: a dot
        kind = f"c{curve.color % 8}{' dashed' * curve.is_dashed}"
        shapes.append(f'<path class="curve {kind}" d="M{line}{end}"/>')
        legend.append(f'<li class="{kind}"><span>{escape(curve.name)}</span></li>')
    all_names = ", ".join([*(curve.name for curve in curves), *levels])
    description = f"Plot of {y_label} against {x_label}: {all_names}"
    is_double = right_label is not None
    return "\n".join([
        f'<div class="chart" role="img" aria-label="{escape(description)}">',
        f'<ul class="legend">{"".join(legend)}</ul>',
        f'<p class="units"><span>{escape(y_label)}</span>',
        f"<span>{escape(right_label or '')}</span></p>",
        f'<div class="plot{" double" if is_double else ""}">',
        axis("y", numbers(1)),
        '<div class="area"><svg viewBox="0 0 100 100" preserveAspectRatio="none">',
        *shapes,
        "</svg>", *names, "</div>",
        axis("y right", numbers(right_factor, more_digits=1)) if is_double else "",
        axis("x", ((f"left:{across(x):.2f}%", f"{x:g}") for x in x_ticks)),
        "</div>",
        f'<p class="x-label">{escape(x_label)}</p>',
        "</div>",
    ])  # fmt: skip


def _thinned_out(points):
    """Return a few of the points, the first and the last among them."""
    points = list(points)
    step = max(math.ceil(len(points) / MAX_POINTS), 1)
    return points[::step] + points[-1:] * ((len(points) - 1) % step > 0)


def nice_ticks(low, high, whole=False):
    """Return round numbers, about five, from below an interval to above it.

    Parameters
    ----------
    low, high : float
        The ends of the interval.
    whole : bool, default=False
        Whether only whole numbers will do.

    Returns
    -------
    list of float
        In steps of 1, 2 or 5 times a power of ten.

    Examples
    --------
    >>> nice_ticks(65.9, 138.4)
    [60.0, 80.0, 100.0, 120.0, 140.0]
    """
    span = (high - low) or max(abs(high), 1.0)
    power = 10.0 ** math.floor(math.log10(span / 5))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= span / 6)
    if whole:
        step = max(step, 1.0)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * i for i in range(first, max(last, first + 1) + 1)]
