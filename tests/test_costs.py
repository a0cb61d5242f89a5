import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from numpy.testing import assert_allclose

from dae import cross_entropy

MODES = ["NUMBA", "FAST_COMPILE"]
TOLERANCE = {"float32": 1e-6, "float64": 1e-13}


def reference(x, a):
    """The cost and its derivative by the pre-activation, in long double."""
    x, a = x.astype(np.longdouble), a.astype(np.longdouble)
    e = np.exp(-np.abs(a))
    cost = np.where(a > 0, a * (1 - x), -a * x) + np.log1p(e)
    return cost.sum(axis=1), np.where(a >= 0, 1, e) / (1 + e) - x


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cost_and_gradient_of_saturated_units(mode, dtype):
    x, a = pt.matrix("x", dtype=dtype), pt.matrix("a", dtype=dtype)
    L = cross_entropy(x, pt.sigmoid(a))
    f = pytensor.function([x, a], [L, pytensor.grad(L.sum(), a)], mode=mode)
    values = np.array([-1000, -100, -40, -1, -1e-3, 0, 1e-3, 1, 40, 100, 1000], dtype)
    a_value = np.repeat(values, 4).reshape(-1, 1)
    x_value = np.tile(np.array([0, 0.25, 0.5, 1], dtype), len(values)).reshape(-1, 1)
    for actual, expected in zip(f(x_value, a_value), reference(x_value, a_value), strict=True):
        assert actual.dtype == dtype
        assert_allclose(actual, expected.astype("float64"), rtol=TOLERANCE[dtype], atol=1e-38)


def test_a_reconstruction_without_sigmoid_takes_the_formula_as_it_is_written():
    x, z = pt.matrix("x", dtype="float64"), pt.matrix("z", dtype="float64")
    rng = np.random.default_rng(0)
    x_value, z_value = rng.uniform(0.01, 0.99, (2, 3, 5))
    expected = -np.sum(x_value * np.log(z_value) + (1 - x_value) * np.log(1 - z_value), axis=1)
    actual = cross_entropy(x, z).eval({x: x_value, z: z_value}, mode="FAST_COMPILE")
    assert_allclose(actual, expected, rtol=1e-13)
