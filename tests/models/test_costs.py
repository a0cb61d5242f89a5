import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from dae import cross_entropy, squared_error

MODES = ["NUMBA", "FAST_COMPILE", "CVM"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cost_of_saturated_units(mode, dtype):
    x, a = pt.matrix("x", dtype=dtype), pt.matrix("a", dtype=dtype)
    L = cross_entropy(x, pt.sigmoid(a))
    f = pytensor.function([x, a], [L, pytensor.grad(L.sum(), a)], mode=mode)
    x_value = np.array([[1, 0], [0, 1]], dtype)
    a_value = np.array([[1000, -1000], [1000, -1000]], dtype)
    cost, gradient = f(x_value, a_value)
    assert_array_equal(cost, [0, 2000])
    assert_array_equal(gradient, [[0, 0], [1, -1]])


@pytest.mark.parametrize("mode", MODES)
def test_a_reconstruction_without_sigmoid(mode):
    x, z = pt.matrix("x", dtype="float64"), pt.matrix("z", dtype="float64")
    rng = np.random.default_rng(0)
    x_value, z_value = rng.uniform(0.01, 0.99, (2, 3, 5))
    expected = -np.sum(x_value * np.log(z_value) + (1 - x_value) * np.log(1 - z_value), axis=1)
    actual = cross_entropy(x, z).eval({x: x_value, z: z_value}, mode=mode)
    assert_allclose(actual, expected, rtol=1e-13)


@pytest.mark.parametrize("mode", MODES)
def test_types_that_are_mixed(mode):
    x, W, b = pt.lmatrix(), pt.fmatrix(), pt.dvector()
    L = cross_entropy(x, pt.sigmoid(pt.dot(pt.cast(x, "float32"), W) + b))
    x_value, W_value, b_value = np.eye(2, dtype=int), np.eye(2, dtype="float32"), np.arange(2.0)
    z = 1 / (1 + np.exp(-(x_value @ W_value + b_value)))
    expected = -np.sum(x_value * np.log(z) + (1 - x_value) * np.log(1 - z), axis=1)
    actual = pytensor.function([x, W, b], L, mode=mode)(x_value, W_value, b_value)
    assert_allclose(actual, expected, rtol=1e-13)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_squared_error(mode, dtype):
    x, z = pt.matrix("x", dtype=dtype), pt.matrix("z", dtype=dtype)
    L = squared_error(x, z)
    x_value, z_value = np.random.default_rng(0).normal(size=(2, 3, 5)).astype(dtype)
    f = pytensor.function([x, z], [L, pytensor.grad(L.sum(), z)], mode=mode)
    actual, gradient = f(x_value, z_value)
    difference = x_value.astype("float64") - z_value
    assert actual.dtype == gradient.dtype == dtype
    tolerance = {"float32": 1e-6, "float64": 1e-14}[dtype]
    assert_allclose(actual, np.sum(difference**2, axis=1), rtol=tolerance)
    assert_allclose(gradient, -2 * difference, rtol=tolerance, atol=tolerance)
