import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dae.reports.chart import Curve, draw_chart, nice_ticks


@given(
    st.floats(-1e9, 1e9), st.floats(1e-6, 1e9).map(lambda span: float(f"{span:.3g}")), st.booleans()
)
def test_ticks_are_round_few_and_around_the_interval(low, span, whole):
    span = max(span, abs(low) * 1e-6)
    ticks = nice_ticks(low, low + span, whole)
    step = ticks[1] - ticks[0]
    assert 2 <= len(ticks) <= 8
    assert ticks[0] <= low + 1e-6 * step
    assert ticks[-1] >= low + span - 1e-6 * step
    mantissa = step / 10.0 ** math.floor(math.log10(step) + 1e-6)
    assert min(abs(mantissa - m) for m in (1, 2, 5, 10)) < 1e-3
    if whole:
        assert step > 0.999


def read_axis(html, kind, side):
    """Places, in percent, and numbers of an axis."""
    labels = re.search(rf'<div class="{kind}">(.*?)</div>', html)[1]
    found = re.findall(rf'style="{side}:([-.0-9]+)%">([-.0-9]+)<', labels)
    assert 2 <= len(found) <= 8
    return np.array(found, float).T


def read_off(place, axis):
    """The number at a place, as a reader finds it between those of the axis."""
    slope, intercept = np.polyfit(*axis, 1)
    np.testing.assert_allclose(slope * axis[0] + intercept, axis[1], atol=0.01 * np.ptp(axis[1]))
    return slope * place + intercept


@pytest.mark.parametrize(
    ("points", "level"),
    [
        ([(0, 138.4), (1, 90.0), (50, 76.2), (199, 75.9)], 201.6),
        ([(0, 0.0121), (1, 0.0011)], 0.005),
        ([(7, -3.0), (8, 4e6), (9, 1e6)], 0.0),
        ([(0, 5.0), (1, 5.0)], 5.0),
    ],
)
def test_curves_and_levels_are_where_their_numbers_say(points, level):
    html = draw_chart([Curve("a", points)], {"level": level}, "epoch", "cost", "per pixel", 1 / 784)
    x_axis, y_axis = read_axis(html, "x", "left"), read_axis(html, "y", "top")
    right_axis = read_axis(html, "y right", "top")
    path = re.search(r'class="curve c0" d="M([^"]+)"', html)[1]
    places = np.array([pair.split() for pair in path.split("L")], float)
    assert places.min() >= 0
    assert places.max() <= 100
    height = max(y for _, y in [*points, (0, level)]) - min(y for _, y in [*points, (0, level)])
    tolerance = 0.005 * (height or level)
    for (across, down), (x, y) in zip(places, points, strict=True):
        assert read_off(across, x_axis) == pytest.approx(x, abs=0.02)
        assert read_off(down, y_axis) == pytest.approx(y, abs=tolerance)
        rounding = 0.01 * np.ptp(right_axis[1])
        assert read_off(down, right_axis) == pytest.approx(y / 784, abs=rounding)
    down = float(re.search(r'class="level" d="M0 ([.0-9]+)H100"', html)[1])
    assert read_off(down, y_axis) == pytest.approx(level, abs=tolerance)
    assert f'style="top:{down:.2f}%">level<' in html


def test_names_are_text():
    html = draw_chart(
        [Curve("a < b", [(0, 1), (1, 2)])], {"c < d": 1.0}, "e < f", "g < h", "i < j", 2
    )
    assert not re.search("[a-j] < [a-j]", html)
    assert html.count("a &lt; b") == html.count("c &lt; d") == 2


@pytest.mark.parametrize("points", [[(0, 5.0)], [(0, 0.0)], [(3, -2.0), (4, -2.0)]])
def test_a_single_point_and_a_flat_line_are_drawn(points):
    html = draw_chart([Curve("a", points)], {}, "epoch", "cost")
    numbers = re.search(r'class="curve c0" d="M([\d. L]+)', html)[1].replace("L", " ").split()
    assert len(numbers) == 2 * len(points)
    assert all(0 <= float(number) <= 100 for number in numbers)


def test_a_long_curve_is_thinned_out_and_keeps_its_ends():
    points = [(i, float(i % 7)) for i in range(10_001)] + [(10_001, 100.0)]
    html = draw_chart([Curve("a", points)], {}, "epoch", "cost")
    places = re.search(r'class="curve c0" d="M([^"]+)"', html)[1].split("L")
    assert 500 < len(places) <= 1001
    assert places[0].startswith("0.00 ")
    assert re.fullmatch(r"100.00 \d\.\d+", places[-1])  # high up
