import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dae.reports.chart import draw_chart, nice_ticks


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


def test_curves_and_levels_are_where_their_numbers_say():
    html = draw_chart({"a < b": [(0, 100), (1, 60), (2, 0)]}, {"half": 50.0}, "epoch", "cost")
    assert 'd="M0.00 0.00L50.00 40.00L100.00 100.00"' in html
    assert '<path class="level" d="M0 50.00H100"/>' in html
    assert re.search(r'style="top:50.00%">half<', html)
    assert "a &lt; b" in html
    assert "a < b" not in html
    assert '<span style="top:0.00%">100</span>' in html


def test_the_right_axis_has_its_own_numbers():
    html = draw_chart({"a": [(0, 100), (9, 0)]}, {}, "epoch", "cost", "per pixel", 1 / 784)
    assert '<span style="top:0.00%">100</span>' in html
    assert f'<span style="top:0.00%">{100 / 784:.3f}</span>' in html


@pytest.mark.parametrize("points", [[(0, 5.0)], [(0, 0.0)], [(3, -2.0), (4, -2.0)]])
def test_a_single_point_and_a_flat_line_are_drawn(points):
    html = draw_chart({"a": points}, {}, "epoch", "cost")
    numbers = re.search(r'class="curve c0" d="M([\d. L]+)', html)[1].replace("L", " ").split()
    assert len(numbers) == 2 * len(points)
    assert all(0 <= float(number) <= 100 for number in numbers)


def test_a_long_curve_is_thinned_out_and_keeps_its_ends():
    points = [(i, float(i % 7)) for i in range(10_001)] + [(10_001, 100.0)]
    html = draw_chart({"a": points}, {}, "epoch", "cost")
    path = re.search(r'class="curve c0" d="M([^"]+)"', html)[1].split("L")
    assert 500 < len(path) <= 1001
    assert (path[0], path[-1]) == ("0.00 100.00", "100.00 0.00")
