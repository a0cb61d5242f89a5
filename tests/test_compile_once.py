"""What the tests' process compiles once is the same as what it would compile each time."""

import compile_once
import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from numpy.testing import assert_array_equal
from pytensor.compile.mode import get_default_mode


@pytest.fixture(autouse=True)
def as_if_nothing_had_been_compiled(monkeypatch):
    monkeypatch.setattr(compile_once, "_rewritten", {})


def counted(factor=2, mode=None, borrow=False, is_updated=True, dtype="float64"):
    """A function of a new shared variable, which is overwritten after it is read; and that."""
    v = pytensor.shared(np.arange(3, dtype=dtype))
    result = pytensor.Out(factor * v + 1, borrow=borrow)
    return pytensor.function([], result, updates={v: v + 1} if is_updated else {}, mode=mode), v


def test_equal_graphs_share_their_code_and_nothing_else():
    first, v = counted()
    second, w = counted()
    assert len(compile_once._rewritten) == 1
    assert second.maker.fgraph is not first.maker.fgraph
    for expected in ([1, 3, 5], [3, 5, 7]):
        assert_array_equal(second(), expected)
    assert_array_equal(first(), [1, 3, 5])
    assert_array_equal(v.get_value(), [1, 2, 3])
    assert_array_equal(w.get_value(), [2, 3, 4])


def test_what_differs_is_told_apart():
    counted()
    variants = [
        {"factor": 3},
        {"factor": 2.5},
        {"mode": get_default_mode().excluding("inplace")},
        {"borrow": True},
        {"is_updated": False},
        {"dtype": "float32"},
    ]
    for n, options in enumerate(variants, 2):
        function, v = counted(**options)
        assert len(compile_once._rewritten) == n
        dtype = options.get("dtype", "float64")
        expected = options.get("factor", 2) * np.arange(3, dtype=dtype) + 1
        assert_array_equal(function(), expected)
        assert_array_equal(v.get_value(), np.arange(3) + options.get("is_updated", True))


def test_nothing_is_kept_where_the_compiler_is_tested():
    with compile_once.as_ever():
        function, _ = counted(factor=7)
    assert not compile_once._rewritten
    assert_array_equal(function(), [1, 8, 15])


def test_shared_variables_are_not_kept():
    x = pt.vector("x")
    pytensor.function([x], x * pytensor.shared(np.ones(3)))
    [(places, *_)] = compile_once._rewritten.values()
    assert len(places) == 2
    assert not any(isinstance(place, pytensor.compile.SharedVariable) for place in places)
