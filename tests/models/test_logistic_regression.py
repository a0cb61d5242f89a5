import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from numpy.random import RandomState
from numpy.testing import assert_allclose, assert_array_equal

from dae import LogisticRegression

MODES = ["NUMBA", "FAST_COMPILE", "CVM"]
TOLERANCE = {"float32": 1e-5, "float64": 1e-9}


@pytest.fixture(params=["float32", "float64"])
def floatX(request):
    with pytensor.config.change_flags(floatX=request.param):
        yield request.param


def make(n_in=6, n_out=4, scale=1.0):
    """A model with parameters that are not zero, and a minibatch for it."""
    rng = RandomState(7)
    classifier = LogisticRegression(pt.matrix("x"), n_in, n_out)
    for param in classifier.params:
        value = scale * rng.normal(size=param.get_value().shape)
        param.set_value(value.astype(pytensor.config.floatX))
    x = rng.uniform(size=(9, n_in)).astype(pytensor.config.floatX)
    y = rng.randint(n_out, size=9).astype("int32")
    return classifier, x, y


def reference(x, y, W, b):
    """The probabilities, the cost, its gradients and the share of errors, in long double."""
    x, W, b = (np.asarray(array, np.longdouble) for array in (x, W, b))
    a = x @ W + b
    a -= a.max(axis=1, keepdims=True)
    log_p = a - np.log(np.exp(a).sum(axis=1, keepdims=True))
    p = np.exp(log_p)
    is_class = np.arange(len(b)) == y[:, None]
    delta = (p - is_class) / len(x)
    cost = -log_p[is_class].mean()
    return p, cost, (x.T @ delta, delta.sum(axis=0)), np.mean(p.argmax(axis=1) != y)


def gradient_descent(classifier, cost, learning_rate=0.5):
    gparams = pytensor.grad(cost, classifier.params)
    return {
        param: param - pt.cast(learning_rate, param.dtype) * gparam
        for param, gparam in zip(classifier.params, gparams, strict=True)
    }


def assert_close(actual, expected, floatX, **options):
    assert_allclose(actual, np.asarray(expected, float), **{"rtol": TOLERANCE[floatX], **options})


def test_everything_starts_from_zero(floatX):
    x_var, y_var = pt.matrix("x"), pt.ivector("y")
    classifier = LogisticRegression(x_var, n_in=3, n_out=5)
    assert classifier.input is x_var
    assert classifier.params == [classifier.W, classifier.b]
    assert [param.name for param in classifier.params] == ["W", "b"]
    assert {param.dtype for param in classifier.params} == {floatX}
    assert_array_equal(classifier.W.get_value(), np.zeros((3, 5)))
    assert_array_equal(classifier.b.get_value(), np.zeros(5))
    x = np.ones((2, 3), floatX)
    outputs = [classifier.p_y_given_x, classifier.y_pred, classifier.errors(y_var)]
    p, predictions, errors = pytensor.function([x_var, y_var], outputs)(x, [0, 4])
    assert_allclose(p, np.full((2, 5), 0.2), rtol=1e-6)
    assert_array_equal(predictions, [0, 0])
    assert errors == 0.5


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_predictions_cost_and_errors(mode, scale, floatX):
    classifier, x, y = make(scale=scale)
    p, cost, _, errors = reference(x, y, *(param.get_value() for param in classifier.params))
    y_var = pt.ivector("y")
    outputs = [
        classifier.p_y_given_x,
        classifier.y_pred,
        classifier.negative_log_likelihood(y_var),
        classifier.errors(y_var),
    ]
    f = pytensor.function([classifier.input, y_var], outputs, mode=mode)
    actual_p, y_pred, actual_cost, actual_errors = f(x, y)
    assert actual_p.dtype == actual_cost.dtype == floatX
    assert_close(actual_p, p, floatX, atol=TOLERANCE[floatX])
    assert_array_equal(y_pred, p.argmax(axis=1))
    assert_close(actual_cost, cost, floatX)
    assert 0 < errors < 1
    assert_allclose(actual_errors, errors, rtol=1e-15)


# Three things that do not depend on each other, so that each pair of them is enough.
@pytest.mark.parametrize(
    ("mode", "y_dtype", "floatX"),
    [
        ("NUMBA", "int32", "float32"),
        ("NUMBA", "int64", "float64"),
        ("NUMBA", "uint8", "float32"),
        ("FAST_COMPILE", "int32", "float64"),
        ("FAST_COMPILE", "int64", "float32"),
        ("FAST_COMPILE", "uint8", "float64"),
        ("CVM", "int32", "float32"),
        ("CVM", "int64", "float32"),
        ("CVM", "uint8", "float64"),
    ],
    indirect=["floatX"],
)
def test_steps_of_gradient_descent(mode, y_dtype, floatX):
    classifier, x, y = make()
    W, b = (param.get_value() for param in classifier.params)
    y_var = pt.vector("y", dtype=y_dtype)
    cost = classifier.negative_log_likelihood(y_var)
    updates = gradient_descent(classifier, cost)
    step = pytensor.function([classifier.input, y_var], cost, updates=updates, mode=mode)
    for _ in range(5):
        _, expected, gradients, _ = reference(x, y, W, b)
        assert_close(step(x, y.astype(y_dtype)), expected, floatX)
        W, b = W - 0.5 * gradients[0], b - 0.5 * gradients[1]
    assert_close(classifier.W.get_value(), W, floatX, atol=TOLERANCE[floatX])
    assert_close(classifier.b.get_value(), b, floatX, atol=TOLERANCE[floatX])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("outputs", ["cost and gradient", "gradient", "all"])
def test_saturated_probabilities(mode, outputs, floatX):
    classifier = LogisticRegression(pt.matrix("x"), 3, 3)
    classifier.W.set_value(np.eye(3, dtype=floatX))
    y_var = pt.ivector("y")
    p, cost = classifier.p_y_given_x, classifier.negative_log_likelihood(y_var)
    gradient = pytensor.grad(cost, classifier.input)
    requested = {"all": [p, cost, gradient], "gradient": [gradient]}.get(outputs, [cost, gradient])
    with pytensor.config.change_flags(on_opt_error="raise"):
        f = pytensor.function([classifier.input, y_var], requested, mode=mode)
    x = np.array(
        [[1000, -1000, 0], [-1000, 1000, 5], [-1000, -1000, 1000], [1000, 1000, 0]], floatX
    )
    y = np.array([0, 0, 1, 2], "int32")
    expected_p = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0]]
    expected_gradient = np.subtract(expected_p, np.eye(3)[y]) / 4
    expected_cost = (0 + 2000 + 2000 + 1000 + np.log(2)) / 4
    *values, actual_gradient = f(x, y)
    assert_array_equal(actual_gradient, expected_gradient)
    if outputs != "gradient":
        assert_allclose(values.pop(), expected_cost, rtol=1e-6 if floatX == "float32" else 1e-15)
    if outputs == "all":
        assert_array_equal(values.pop(), expected_p)


def test_a_step_is_made_of_our_products_and_sums():
    classifier, _, _ = make()
    y_var = pt.ivector("y")
    cost = classifier.negative_log_likelihood(y_var)
    updates = gradient_descent(classifier, cost)
    step = pytensor.function([classifier.input, y_var], cost, updates=updates)
    names = [type(node.op).__name__ for node in step.maker.fgraph.toposort()]
    assert names.count("Gemm") == 2
    assert names.count("ColumnSum") == 1
    assert names.count("LogLikelihood") == 1
    assert not {"Dot", "Dot22", "Dot22Scalar", "BatchedDot"} & set(names)


@pytest.mark.parametrize("method", ["negative_log_likelihood", "errors"])
@pytest.mark.parametrize(
    "y",
    [pt.imatrix("y"), pt.iscalar("y"), pt.fvector("y"), pt.vector("y", dtype="bool"), [0, 1]],
    ids=["matrix", "scalar", "float", "bool", "list"],
)
def test_what_is_no_vector_of_integers_is_refused(method, y):
    classifier, _, _ = make()
    with pytest.raises(TypeError, match=r"^y is .*; expected a vector of integers"):
        getattr(classifier, method)(y)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("method", ["negative_log_likelihood", "errors"])
def test_labels_that_do_not_fit_are_refused_and_change_nothing(mode, method):
    classifier, x, _ = make()
    y_var = pt.ivector("y")
    output = getattr(classifier, method)(y_var)
    cost = classifier.negative_log_likelihood(y_var)
    updates = gradient_descent(classifier, cost)
    f = pytensor.function([classifier.input, y_var], output, updates=updates, mode=mode)
    before = [param.get_value() for param in classifier.params]
    no_class, other_length = r"a label that is not in \[0, n_out\)", "different lengths"
    for y, message in [
        ([0, 1, 4], no_class),
        ([0, 1, -1], no_class),
        ([0, 1], other_length),
        ([0], other_length),
        ([0, 1, 2, 3], other_length),
    ]:
        with pytest.raises(ValueError, match=message):
            f(x[:3].astype(pytensor.config.floatX), np.array(y, "int32"))
        for param, value in zip(classifier.params, before, strict=True):
            assert_array_equal(param.get_value(), value)


# What `fit` needs


def test_a_step_and_the_loss_are_those_of_its_own_classes(floatX):
    classifier, x, y = make()
    cost, updates = classifier.get_cost_updates(learning_rate=0.5)
    expected = gradient_descent(classifier, classifier.negative_log_likelihood(classifier.y))
    assert list(updates) == classifier.params
    before = [param.get_value() for param in classifier.params]
    outputs = [cost, classifier.get_validation_loss(), *updates.values(), *expected.values()]
    cost, loss, W, b, *expected_params = pytensor.function([classifier.x, classifier.y], outputs)(
        x, y
    )
    _, expected_cost, gradients, errors = reference(x, y, *before)
    assert_close(cost, expected_cost, floatX)
    assert loss == errors
    for value, expected_value, param, gradient in zip(
        (W, b), expected_params, before, gradients, strict=True
    ):
        assert value.dtype == floatX
        assert_array_equal(value, expected_value)
        assert_close(value, param - 0.5 * gradient, floatX)
