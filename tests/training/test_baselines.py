"""The baselines against NumPy's singular value decomposition and sums of the plain formulas."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from dae.datasets import read_data, to_floatX
from dae.training.baselines import compute_baselines, fit_pca, image_costs


def sum_of_costs(x, z, cost):
    """The mean over images of the cost, number by number."""

    def cross_entropy(p, q):
        return -sum(a * math.log(b) for a, b in ((p, q), (1 - p, 1 - q)) if a)

    one = cross_entropy if cost == "cross-entropy" else lambda p, q: (p - q) ** 2
    pairs = zip(x.ravel().tolist(), z.ravel().tolist(), strict=True)
    return math.fsum(one(p, q) for p, q in pairs) / len(x)


@pytest.fixture(scope="module")
def digits():
    dataset = read_data()
    return to_floatX(dataset.train[0][:1500], "float64"), to_floatX(dataset.valid[0], "float64")


@pytest.mark.parametrize("cost", ["cross-entropy", "squared-error"])
@pytest.mark.parametrize("n_components", [1, 30])
def test_baselines_of_digits(digits, cost, n_components):
    train_x, valid_x = digits
    valid_x = valid_x[:300]
    mean = np.mean(train_x, axis=0)
    _, _, rows = np.linalg.svd(train_x - mean, full_matrices=False)
    pca = mean + (valid_x - mean) @ rows[:n_components].T @ rows[:n_components]
    z = {"mean image": np.tile(mean, (300, 1)), "PCA": pca, "perfect reconstruction": valid_x}
    if cost == "cross-entropy":
        z["mean image"] = z["mean image"].clip(1 / 1024, 1023 / 1024)
        z["PCA"] = z["PCA"].clip(1 / 1024, 1023 / 1024)
    expected = {name: sum_of_costs(valid_x, values, cost) for name, values in z.items()}
    actual = compute_baselines(train_x, valid_x, n_components, cost)
    assert actual.keys() == expected.keys()
    for name in expected:
        assert actual[name] == pytest.approx(expected[name], rel=2e-3 if name == "PCA" else 1e-12)
    assert actual["mean image"] > actual["PCA"] > actual["perfect reconstruction"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_components", [1, 5, 40, 100])
def test_principal_components(digits, n_components, dtype):
    x = digits[0][:, 300:340].astype(dtype)
    mean, components = fit_pca(x, n_components)
    assert mean.dtype == components.dtype == dtype
    n = min(n_components, 40)
    assert components.shape == (40, n)
    tolerance = {"float32": 1e-4, "float64": 1e-9}[dtype]
    assert_allclose(components.T @ components, np.eye(n), atol=tolerance)
    _, singular, rows = np.linalg.svd(x.astype("float64") - mean, full_matrices=False)
    explained = np.linalg.norm((x - mean) @ components, axis=0)
    assert_allclose(explained, singular[:n], rtol=1e-3, atol=tolerance)
    assert abs(components[:, 0] @ rows[0]) == pytest.approx(1, abs=tolerance)


def test_fewer_images_than_components():
    x = np.random.default_rng(0).uniform(size=(3, 10))
    baselines = compute_baselines(x, x, n_components=8, cost="squared-error")
    assert baselines["PCA"] == pytest.approx(0, abs=1e-20)
    assert baselines["mean image"] > 0.1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_saturated_reconstruction_costs_much_but_not_infinitely_much(dtype):
    x = np.array([[0, 1], [1, 0], [1, 0.5]], dtype)
    z = np.array([[0, 1], [0, 1], [1, 0.5]], dtype)
    right, wrong, half = image_costs(x, z)
    assert right == pytest.approx(0, abs=1e-6)
    assert 30 < wrong < 100
    assert half == pytest.approx(math.log(2), rel=1e-6)
