import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from dae import cross_entropy
from dae.compiler import ops


@pytest.mark.parametrize("sigmoid", [pt.sigmoid, ops.sigmoid])
def test_cost_of_saturated_units(sigmoid):
    x, a = pt.matrix("x", dtype="float32"), pt.matrix("a", dtype="float32")
    L = cross_entropy(x, sigmoid(a))
    f = pytensor.function([x, a], [L, pytensor.grad(L.sum(), a)], mode="FAST_COMPILE")
    x_value = np.array([[1, 0], [0, 1]], "float32")
    a_value = np.array([[1000, -1000], [1000, -1000]], "float32")
    cost, gradient = f(x_value, a_value)
    assert_array_equal(cost, [0, 2000])
    assert_array_equal(gradient, [[0, 0], [1, -1]])


def test_a_reconstruction_without_sigmoid_takes_the_formula_as_it_is_written():
    x, z = pt.matrix("x", dtype="float64"), pt.matrix("z", dtype="float64")
    rng = np.random.default_rng(0)
    x_value, z_value = rng.uniform(0.01, 0.99, (2, 3, 5))
    expected = -np.sum(x_value * np.log(z_value) + (1 - x_value) * np.log(1 - z_value), axis=1)
    actual = cross_entropy(x, z).eval({x: x_value, z: z_value}, mode="FAST_COMPILE")
    assert_allclose(actual, expected, rtol=1e-13)
