"""Plain formulas come out as our ops; whatever comes out is right.

Most graphs are rewritten as for Numba, and then run in Python, where our ops have a NumPy
`perform`: compiling takes a tenth of a second instead of several.
"""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import RandomState
from numpy.testing import assert_allclose, assert_array_equal
from pytensor.compile.debug.debugmode import DebugMode
from pytensor.compile.mode import Mode, get_mode
from pytensor.gradient import verify_grad
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.rewriting.db import RewriteDatabaseQuery
from pytensor.graph.traversal import graph_inputs
from pytensor.link.numba.linker import NumbaLinker
from pytensor.link.vm import VMLinker

import dae
from dae import Autoencoder, DenoisingAutoencoder, RandomStreams, cross_entropy
from dae.compiler import _rewrites

DTYPES = ["float32", "float64"]
TOLERANCE = {"float32": 1e-4, "float64": 1e-10}


def numba_rewrites(*without):
    return RewriteDatabaseQuery(
        include=["fast_run", "numba"], exclude=[*NumbaLinker.incompatible_rewrites, *without]
    )


def in_python(query):
    return Mode(VMLinker(use_cloop=False, c_thunks=False), query)


# Without fusion all elementwise operations can be seen.
PYTHON = in_python(numba_rewrites("fusion", "symbolic_op_recognition"))

EXPECTED = {"Gemm": 3, "Gemm in place": 1, "Sigmoid": 1, "CrossEntropy": 1, "ColumnSum": 2}
"""The step of an autoencoder: the products of the encoder, the decoder and the gradient by its
hidden values, and two that are added to W at once; s of the hidden values; the gradients of b and
b'."""

UNTIED = {**EXPECTED, "Gemm in place": 2}
"""The same where the decoder has weights of its own: one product is added to each matrix."""


# Of PyTensor's own products, with which ours are compared.
slow_products = pytest.mark.filterwarnings("ignore:.*np.dot.. is faster on contiguous arrays")


@pytest.fixture(autouse=True)
def strict():
    with pytensor.config.change_flags(on_opt_error="raise"):
        yield


def op_names(function):
    names = []
    for node in function.maker.fgraph.toposort():
        in_place = getattr(node.op, "inplace", False) and is_ours(node)
        names.append(type(node.op).__name__ + (" in place" if in_place else ""))
    return names


def is_ours(node):
    return type(node.op).__module__.startswith("dae.compiler")


def our_ops(function):
    nodes = function.maker.fgraph.toposort()
    return Counter(
        name for name, node in zip(op_names(function), nodes, strict=True) if is_ours(node)
    )


def pytensors_own(function):
    """What there is left of PyTensor's ops that ours should have replaced."""
    return [
        str(node.op)
        for node in function.maker.fgraph.toposort()
        if not is_ours(node)
        and any(name in str(node.op).lower() for name in ["dot", "gemm", "softplus", "sigmoid"])
    ]


def check_steps(inputs, outputs, updates, values, dtype, mode=PYTHON, steps=3):
    """Compare some steps with those of PyTensor's own code, in Python; return the function."""
    pairs = list(updates.items() if isinstance(updates, dict) else updates)
    before = [variable.get_value() for variable, _ in pairs]
    results, functions = [], []
    for variant in [mode, PYTHON.excluding("dae")]:
        function = pytensor.function(inputs, outputs, updates=updates, mode=variant)
        for (variable, _), value in zip(pairs, before, strict=True):
            variable.set_value(value)
        result = [value for _ in range(steps) for value in function(*values)]
        results.append([*result, *(variable.get_value() for variable, _ in pairs)])
        functions.append(function)
    for actual, expected in zip(*results, strict=True):
        assert np.all(np.isfinite(expected))
        assert_same(actual, expected, TOLERANCE[dtype])
    assert not our_ops(functions[1])
    return functions[0]


def assert_same(actual, expected, tolerance, scale=1):
    assert np.asarray(actual).dtype == np.asarray(expected).dtype
    assert np.shape(actual) == np.shape(expected)
    assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * scale)


# All the ways to write the same thing


def log_likelihood(x, z):
    return x * pt.log(z) + (1 - x) * pt.log(1 - z)


COSTS = {
    "worksheet": lambda x, a: pt.mean(cross_entropy(x, pt.sigmoid(a))),
    "log1p": lambda x, a: pt.mean(
        -pt.sum(x * pt.log(pt.sigmoid(a)) + (1 - x) * pt.log1p(-pt.sigmoid(a)), axis=1)
    ),
    "another order": lambda x, a: pt.mean(
        -pt.sum(pt.log(1 - pt.sigmoid(a)) * (1 - x) + pt.log(pt.sigmoid(a)) * x, axis=1)
    ),
    "differences": lambda x, a: pt.mean(
        pt.sum(-x * pt.log(pt.sigmoid(a)) - (1 - x) * pt.log(1 - pt.sigmoid(a)), axis=1)
    ),
    "multiplied out": lambda x, a: pt.mean(
        -pt.sum(
            x * pt.log(pt.sigmoid(a)) + pt.log(1 - pt.sigmoid(a)) - x * pt.log(1 - pt.sigmoid(a)),
            axis=1,
        )
    ),
    "axis -1": lambda x, a: -pt.mean(pt.sum(log_likelihood(x, pt.sigmoid(a)), axis=-1)),
    "sum / n": lambda x, a: pt.sum(-log_likelihood(x, pt.sigmoid(a))) / x.shape[0],
    "sum": lambda x, a: -pt.sum(log_likelihood(x, pt.sigmoid(a))),
    "sum of row sums": lambda x, a: -pt.sum(pt.sum(log_likelihood(x, pt.sigmoid(a)), axis=1)),
    "mean of everything": lambda x, a: -pt.mean(log_likelihood(x, pt.sigmoid(a))),
    "mean of row means": lambda x, a: -pt.mean(pt.mean(log_likelihood(x, pt.sigmoid(a)), axis=1)),
    "twice": lambda x, a: 2 * pt.mean(cross_entropy(x, pt.sigmoid(a))),
    "half inside": lambda x, a: -pt.mean(pt.sum(0.5 * log_likelihood(x, pt.sigmoid(a)), axis=1)),
    "an integer": lambda x, a: pt.constant(3, dtype="int8") * pt.sum(pt.softplus(a) - x * a),
    "weights of rows": lambda x, a: pt.sum(
        pt.arange(x.shape[0], dtype=a.dtype) * cross_entropy(x, pt.sigmoid(a))
    ),
    "softplus": lambda x, a: pt.mean(pt.sum(pt.softplus(a) - x * a, axis=1)),
    "softplus of both signs": lambda x, a: pt.mean(
        pt.sum(x * pt.softplus(-a) + (1 - x) * pt.softplus(a), axis=1)
    ),
    "log1p of exp": lambda x, a: pt.mean(pt.sum(pt.log1p(pt.exp(a)) - a * x, axis=1)),
    "log of 1 + exp": lambda x, a: pt.mean(pt.sum(pt.log(1 + pt.exp(a)) - a * x, axis=1)),
    "a sigmoid in full": lambda x, a: pt.mean(cross_entropy(x, 1 / (1 + pt.exp(-a)))),
    "sigmoids of both signs": lambda x, a: (
        -pt.mean(pt.sum(x * pt.log(pt.sigmoid(a)) + (1 - x) * pt.log(pt.sigmoid(-a)), axis=1))
    ),
    "the other sigmoid": lambda x, a: pt.mean(cross_entropy(x, 1 - pt.sigmoid(-a))),
}

X = np.random.default_rng(1).uniform(size=(5, 6))


def network(dtype="float64", tied=True, biased=True):
    """Return x, the pre-activation of its reconstruction, and the parameters."""
    rng = np.random.default_rng(0)
    shapes = {"W": (6, 4), "V": (4, 6), "b": (4,), "b_prime": (6,)}
    W, V, b, b_prime = (
        pytensor.shared(rng.normal(size=shape).astype(dtype), name=name)
        for name, shape in shapes.items()
    )
    x = pt.matrix("x", dtype=dtype)
    y = pt.sigmoid(pt.dot(x, W) + b if biased else pt.dot(x, W))
    a = pt.dot(y, W.T if tied else V)
    return x, a + b_prime if biased else a, [W] + [V] * (not tied) + [b, b_prime] * biased


def descent(params, gradients, rate=0.1):
    return {p: p - np.asarray(rate, p.dtype) * g for p, g in zip(params, gradients, strict=True)}


def check_network(x, cost, updates, expected=EXPECTED, mode=PYTHON):
    function = check_steps([x], [cost], updates, [X.astype(x.dtype)], x.dtype, mode)
    assert our_ops(function) == expected
    assert not pytensors_own(function)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", COSTS)
def test_costs(name, dtype):
    x, a, params = network(dtype)
    cost = COSTS[name](x, a)
    check_network(x, cost, descent(params, pt.grad(cost, params)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("tied", [True, False])
def test_parameters(tied, biased, dtype):
    x, a, params = network(dtype, tied, biased)
    cost = COSTS["worksheet"](x, a)
    expected = dict(EXPECTED if tied else UNTIED)
    if not biased:
        del expected["ColumnSum"]
    check_network(x, cost, descent(params, pt.grad(cost, params)), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("corruption", ["masking", "salt-and-pepper", "gaussian"])
@pytest.mark.parametrize("cost", ["cross-entropy", "squared-error"])
def test_all_kinds_of_autoencoders(cost, corruption, tied, dtype):
    with pytensor.config.change_flags(floatX=dtype):
        kind = {"cost": cost, "corruption": corruption, "tied_weights": tied}
        da = DenoisingAutoencoder(RandomState(1), n_visible=6, n_hidden=4, **kind)
        step_cost, updates = da.get_cost_updates(0.3, 0.1)
    expected = dict(EXPECTED if tied else UNTIED)
    if cost != "cross-entropy":
        del expected["CrossEntropy"]
    check_network(da.x, step_cost, updates, expected)


def test_a_network_of_many_layers():
    x, a, params = network()
    W = pytensor.shared(np.eye(6), name="W2")
    deep = pt.dot(pt.sigmoid(pt.dot(pt.sigmoid(a), W)), W.T)
    cost = COSTS["worksheet"](x, deep)
    expected = {**EXPECTED, "Gemm": 7, "Gemm in place": 2, "Sigmoid": 3}
    params = [*params, W]
    check_network(x, cost, descent(params, pt.grad(cost, params)), expected)


RATE = pytensor.shared(np.float64(0.1))
UPDATES = {
    "a list": lambda p, g: p - 0.1 * g,
    "another order": lambda p, g: g * -0.1 + p,
    "a shared rate": lambda p, g: p - RATE * g,
    "a rate behind": lambda p, g: p - g * RATE,
    "minus the rate": lambda p, g: -RATE * g + p,
    "a rate that falls": lambda p, g: p - RATE / (1 + RATE) * g,
    "a part of a rate": lambda p, g: p - RATE / 2 * g,
    "divided": lambda p, g: p - g / 10,
    "whole steps": lambda p, g: p - g,
    "up": lambda p, g: p + 0.1 * g,
    "a half": lambda p, g: p - 0.5 * g,
    "weight decay": lambda p, g: p - 0.1 * (g + 0.02 * p),
}


@pytest.mark.parametrize("name", UPDATES)
def test_updates(name):
    x, a, params = network()
    cost = COSTS["worksheet"](x, a)
    gradients = pt.grad(cost, params)
    updates = [(p, UPDATES[name](p, g)) for p, g in zip(params, gradients, strict=True)]
    check_network(x, cost, updates)


def test_a_symbolic_rate():
    x, a, params = network("float32")
    rate, cost = pt.fscalar(), COSTS["worksheet"](x, a)
    updates = [(p, p - rate * g) for p, g in zip(params, pt.grad(cost, params), strict=True)]
    values = [X.astype("float32"), np.float32(0.1)]
    function = check_steps([x, rate], [cost], updates, values, "float32")
    assert our_ops(function) == EXPECTED


def with_momentum(params, gradients):
    updates = {}
    for p, g in zip(params, gradients, strict=True):
        velocity = pytensor.shared(np.zeros_like(p.get_value()))
        # A number of Python's would make float64 of a float32.
        rate, mass = np.array([0.1, 0.9], p.dtype)
        updates[velocity] = mass * velocity - rate * g
        updates[p] = p + updates[velocity]
    return updates


@pytest.mark.parametrize(("tied", "in_place"), [(True, 1), (False, 0)])
def test_momentum(tied, in_place):
    # Untied, each velocity has one product only, which is fused with what it is added to.
    x, a, params = network(tied=tied)
    cost = COSTS["worksheet"](x, a)
    expected = {**EXPECTED, "Gemm": 3 if tied else 5, "Gemm in place": in_place}
    expected = {name: count for name, count in expected.items() if count}
    check_network(x, cost, with_momentum(params, pt.grad(cost, params)), expected)


def test_a_mean_of_costs_in_another_dtype():
    x, a, _ = network("float32")
    costs = -pt.sum(x * pt.log(pt.sigmoid(a)) + (1 - x) * pt.log(1 - pt.sigmoid(a)), axis=1)
    outputs = [pt.mean(costs, dtype="float64"), costs]
    function = check_steps([x], outputs, [], [X.astype("float32")], "float32")
    assert our_ops(function)["CrossEntropy"] == 1


@pytest.mark.parametrize("updates", [descent, with_momentum])
def test_a_cost_with_a_penalty(updates):
    x, a, params = network()
    cost = COSTS["worksheet"](x, a) + 0.01 * pt.sum(params[0] ** 2)
    check_network(x, cost, updates(params, pt.grad(cost, params)))


@slow_products
@pytest.mark.parametrize(
    ("dtype", "tied", "biased", "name", "updates", "expected"),
    [
        ("float32", True, True, "worksheet", with_momentum, EXPECTED),
        ("float64", False, False, "mean of everything", descent, {**UNTIED, "ColumnSum": 0}),
    ],
)
def test_numba(dtype, tied, biased, name, updates, expected):
    x, a, params = network(dtype, tied, biased)
    cost = COSTS[name](x, a)
    pairs = updates(params, pt.grad(cost, params))
    function = check_steps([x], [cost], pairs, [X.astype(dtype)], dtype, "NUMBA")
    assert our_ops(function) == Counter(expected) + Counter()


# The softmax of classes


def picked(a, y):
    return pt.log(pt.special.softmax(a, axis=1))[pt.arange(y.shape[0]), y]


CLASS_COSTS = {
    "tutorial": lambda a, y: -pt.mean(picked(a, y)),
    "sum": lambda a, y: -pt.sum(picked(a, y)),
    "mean of minus": lambda a, y: pt.mean(-picked(a, y)),
    "axis -1": lambda a, y: (
        -pt.mean(pt.log(pt.special.softmax(a, axis=-1))[pt.arange(y.shape[0]), y])
    ),
    "log_softmax": lambda a, y: (
        -pt.mean(pt.special.log_softmax(a, axis=1)[pt.arange(y.shape[0]), y])
    ),
    "rows of a": lambda a, y: (
        -pt.mean(pt.log(pt.special.softmax(a, axis=1))[pt.arange(a.shape[0]), y])
    ),
    "twice": lambda a, y: -2 * pt.mean(picked(a, y)),
}
Y = np.array([0, 2, 1, 2, -1])
CLASSES = {"Gemm": 1, "Gemm in place": 1, "LogLikelihood": 1, "ColumnSum": 1}


def classifier(dtype):
    rng = np.random.default_rng(0)
    W = pytensor.shared(rng.normal(size=(6, 3)).astype(dtype), name="W")
    b = pytensor.shared(rng.normal(size=3).astype(dtype), name="b")
    x = pt.matrix("x", dtype=dtype)
    return x, pt.dot(x, W) + b, [W, b]


@pytest.mark.parametrize(
    ("name", "dtype"), [("tutorial", "float32"), *((name, "float64") for name in CLASS_COSTS)]
)
def test_costs_of_classes(name, dtype):
    x, a, params = classifier(dtype)
    y = pt.ivector()
    cost = CLASS_COSTS[name](a, y)
    updates = descent(params, pt.grad(cost, params))
    values = [X.astype(dtype), Y.astype("int32")]
    function = check_steps([x, y], [cost], updates, values, dtype)
    assert our_ops(function) == CLASSES
    assert not {"Softmax", "LogSoftmax", "AdvancedIncSubtensor"} & set(op_names(function))


@slow_products
@pytest.mark.parametrize("kind", ["int8", "uint64"])
def test_a_gradient_of_classes_without_the_cost(kind):
    x, a, params = classifier("float64")
    y = pt.vector(dtype=kind)
    gradients = pt.grad(CLASS_COSTS["tutorial"](a, y), params)
    values = [X, np.abs(Y).astype(kind)]
    function = check_steps([x, y], [], descent(params, gradients), values, "float64", "NUMBA")
    assert our_ops(function) == CLASSES


def test_a_network_with_classes_on_top():
    x, a, params = network()
    y = pt.lvector()
    cost = CLASS_COSTS["tutorial"](a, y)
    function = check_steps(
        [x, y], [cost], with_momentum(params, pt.grad(cost, params)), [X, Y], "float64"
    )
    expected = {**EXPECTED, "LogLikelihood": 1}
    del expected["CrossEntropy"]
    assert our_ops(function) == expected


def test_saturated_classes():
    a, y = pt.dmatrix(), pt.lvector()
    cost = CLASS_COSTS["tutorial"](a, y)
    function = pytensor.function([a, y], [cost, pt.grad(cost, a)], mode=PYTHON)
    value, gradient = function([[1000, -1000], [1000, -1000], [-1000, -1000]], [0, 1, 1])
    assert_allclose(value, (0 + 2000 + np.log(2)) / 3, rtol=1e-15)
    assert_allclose(gradient, np.array([[0, 0], [1, -1], [0.5, -0.5]]) / 3, rtol=1e-15)


def test_the_most_probable_classes_need_no_probabilities():
    a = pt.dmatrix()
    predictions = pt.argmax(pt.special.softmax(a, axis=1), axis=1)
    function = pytensor.function([a], [predictions, pt.argmax(a, axis=-1)], mode=PYTHON)
    assert our_ops(function) == {"RowArgmax": 1}
    assert "Softmax" not in op_names(function)
    values = np.array([[1, 3, 2], [7, 7, 1], [1000, -1000, 1001]])
    for result in function(values):
        assert_array_equal(result, [1, 0, 2])


@pytest.mark.parametrize(
    "predict",
    [
        lambda a: pt.argmax(pt.special.softmax(a, axis=0), axis=0),
        lambda a: pt.argmax(pt.special.softmax(a, axis=1), axis=0),
        lambda a: pt.argmax(pt.special.softmax(a, axis=1)),
        lambda a: pt.argmax(a.astype("int64"), axis=1),
        lambda a: pt.argmax(a.dimshuffle(0, 1, "x"), axis=1),
    ],
    ids=["columns", "rows, then columns", "all", "integers", "three dimensions"],
)
def test_other_argmaxes_are_left_alone(predict):
    a = pt.dmatrix()
    function = check_steps([a], [predict(a)], {}, [X], "float64", steps=1)
    assert not our_ops(function)


def classes_near_misses(a, y, v):
    """Pairs of a variable, and how many `LogLikelihood` there may be."""
    P = pt.special.softmax(a, axis=1)
    rows = pt.arange(y.shape[0])
    U = pt.set_subtensor(pt.zeros_like(a)[rows, y], 2.0)
    return {
        "probabilities": -pt.mean(P[rows, y]),
        "columns": pt.sum(pt.log(pt.special.softmax(a, axis=0))[rows, y]),
        "all": pt.sum(pt.log(pt.special.softmax(a))[rows, y]),
        "logarithms of something else": pt.sum(pt.log(a)[rows, y]),
        "every other row": pt.sum(pt.log(P)[pt.arange(0, y.shape[0], 2), y[::2]]),
        "from the second row": pt.sum(pt.log(P)[pt.arange(1, y.shape[0]), y[1:]]),
        "a column": pt.sum(pt.log(P)[:, y]),
        "rows of classes": pt.sum(pt.log(P)[y, rows[:3][y]]),
        "one row": pt.sum(pt.log(P)[0, y]),
        "one class": pt.sum(pt.log(P)[rows, 1]),
        "other sums": U - P * pt.sum(U, axis=0),
        "other matrix": U - a * pt.sum(U, axis=1, keepdims=True),
        "sums of something else": U - P * pt.sum(a, axis=1, keepdims=True),
        "a sum": U + P * pt.sum(U, axis=1, keepdims=True),
        "the other way round": P * pt.sum(U, axis=1, keepdims=True) - U,
        "more factors": U - a * P * pt.sum(U, axis=1, keepdims=True),
        "many numbers": pt.set_subtensor(pt.zeros_like(a)[rows, y], v)
        - P * pt.sum(pt.set_subtensor(pt.zeros_like(a)[rows, y], v), axis=1, keepdims=True),
        "not in zeros": pt.set_subtensor(a[rows, y], 2.0)
        - P * pt.sum(pt.set_subtensor(a[rows, y], 2.0), axis=1, keepdims=True),
    }


CLASSES_NEAR_MISSES = list(classes_near_misses(pt.dmatrix(), pt.lvector(), pt.dvector()))


@pytest.mark.parametrize("name", CLASSES_NEAR_MISSES)
def test_near_misses_of_classes(name):
    variables = pt.dmatrix(), pt.lvector(), pt.dvector()
    rng = np.random.default_rng(1)
    values = [rng.uniform(size=(3, 3)), np.array([0, 2, 1]), rng.uniform(size=3)]
    output = classes_near_misses(*variables)[name]
    inputs, values = used(variables, [output], values)
    function = check_steps(inputs, [output], {}, values, "float64", steps=1)
    assert not our_ops(function)["LogLikelihood"]


# Saturated units

SATURATED = ["worksheet", "log1p", "sum / n", "softplus"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", ["FAST_COMPILE", "CVM", "NUMBA", PYTHON])
def test_saturated_units(mode, dtype):
    x, b = pt.matrix(dtype=dtype), pt.matrix(dtype=dtype)
    names = SATURATED[:1] if mode == "CVM" else SATURATED  # C takes a second for each loop
    costs = [COSTS[name](x, a) for name in names for a in (b, 1000 * b)]
    gradients = [pt.grad(cost, b) for cost in costs]
    function = pytensor.function([x, b], [*costs, *gradients], mode=mode)
    x_value = np.array([[0, 1, 0, 1, 0.25, 0.3, 0.3, 0.5]] * 3, dtype)
    a_value = np.array([[1000, 1000, -1000, -1000, 0.5, 1000, -1000, 0]] * 3, dtype)
    for scale, offset in [(1, 0), (1000, 1)]:
        outputs = function(x_value, a_value / np.asarray(scale, dtype))
        for cost, gradient in zip(
            outputs[: len(costs)][offset::2], outputs[len(costs) :][offset::2], strict=True
        ):
            X, A = x_value.astype("longdouble"), a_value.astype("longdouble")
            softplus = np.maximum(A, 0) + np.log1p(np.exp(-np.abs(A)))
            z = np.where(A >= 0, 1, np.exp(-np.abs(A))) / (1 + np.exp(-np.abs(A)))
            assert_allclose(cost, float(np.sum(softplus - X * A) / 3), rtol=1e-6)
            expected = (scale * (z - X) / 3).astype(dtype)
            assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6 * scale)


@pytest.mark.parametrize("mode", ["FAST_COMPILE", PYTHON, "NUMBA"])
def test_gradients_to_the_second_order(mode):
    rng = np.random.default_rng(3)
    points = [rng.uniform(0.1, 0.9, (2, 3)), rng.normal(size=(2, 3))]

    def cost(x, a):
        return cross_entropy(x, pt.sigmoid(a))

    def gradients(x, a):
        return pt.concatenate(pt.grad(pt.sum(pt.sqr(cost(x, a))), [x, a]))

    verify_grad(cost, points, rng=rng, mode=mode)
    verify_grad(gradients, points, rng=rng, mode=mode)


# Near misses: cross-entropies of nothing


def near_misses(x, a, b, row, k):
    """Pairs of a would-be cost and a would-be gradient."""
    s, t = pt.sigmoid(a), pt.softplus(a)
    return {
        "another b": (pt.sum(t - x * b), s - x),
        "twice x": (pt.sum(t - 2 * x * a), s - x),
        "a squared": (pt.sum(t - x * a**2), s - x * a),
        "a squared as a product": (pt.sum(t - x * a * a), s - x * a),
        "half a softplus": (pt.sum(t / 2 - x * a), s / 2 - x),
        "two softpluses": (pt.sum(t + pt.softplus(b) - x * a), s - x),
        "columns": (pt.sum(t - x * a, axis=0), s - x),
        "a row": (pt.sum(t - row * a, axis=1), s - row),
        "a number": (pt.sum(t - k * a), s - k),
        "a constant": (pt.sum(t - 0.5 * a), s - 0.5),
        "nothing": (pt.sum(t), s),
        "something more": (pt.sum(t - x * a + b), s - x),
        "a rest": (pt.sum(t - x * a + 1), s - x),
        "weights of pixels": (pt.sum(b * (t - x * a)), b * (s - x)),
        "weights of columns": (pt.sum(row * (t - x * a), axis=1), row * (s - x)),
        "a root": (pt.sum(pt.sqrt(t) - x * a), s - x),
        "a softplus of b": (pt.sum(pt.softplus(b) - x * a), pt.sigmoid(b) - x),
        "softplus of -a": (pt.sum(pt.softplus(-a) - x * a), pt.sigmoid(-a) - x),
        "three dimensions": (pt.sum((t - x * a)[None], axis=2), s - x),
    }


NEAR_MISSES = list(near_misses(*[pt.dmatrix()] * 3, pt.drow(), pt.dscalar()))


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_near_misses(name):
    variables = pt.dmatrix(), pt.dmatrix(), pt.dmatrix(), pt.drow(), pt.dscalar()
    rng = np.random.default_rng(2)
    values = [*rng.uniform(size=(3, 4, 6)), rng.uniform(size=(1, 6)), np.float64(0.3)]
    outputs = near_misses(*variables)[name]
    inputs, values = used(variables, outputs, values)
    function = check_steps(inputs, list(outputs), {}, values, "float64", steps=1)
    assert "CrossEntropy" not in our_ops(function)
    assert sum(op_names(function).count(op) for op in ("Gemm", "Dot")) == 0


def used(variables, outputs, values):
    pairs = [
        (variable, value)
        for variable, value in zip(variables, values, strict=True)
        if variable in set(graph_inputs(outputs))
    ]
    return [variable for variable, _ in pairs], [value for _, value in pairs]


@pytest.mark.parametrize(
    "near",
    [
        lambda x, a, b: pt.sigmoid(a) - b,
        lambda x, a, b: pt.sigmoid(b) - x,
        lambda x, a, b: pt.sigmoid(a) - 2 * x,
        lambda x, a, b: pt.sigmoid(a) + x,
        lambda x, a, b: b * pt.sigmoid(a) - x,
        lambda x, a, b: pt.sigmoid(a) - x + b,
        lambda x, a, b: pt.sigmoid(a) ** 2 - x,
        lambda x, a, b: (pt.sigmoid(a) - x) ** 2,
    ],
)
def test_gradients_of_something_else(near):
    x, a, b = pt.dmatrix(), pt.dmatrix(), pt.dmatrix()
    cost = COSTS["softplus"](x, a)
    values = list(np.random.default_rng(2).uniform(size=(3, 4, 6)))
    outputs = [cost, near(x, a, b)]
    inputs, values = used([x, a, b], outputs, values)
    function = check_steps(inputs, outputs, {}, values, "float64", steps=1)
    assert our_ops(function)["CrossEntropy"] == 1


# Never wrong


def variables_and_values(dtype="float64"):
    """Inputs of many kinds, with their values."""
    rng = np.random.default_rng(4)

    def uniform(shape):
        return rng.uniform(-1, 1, size=[n or 3 for n in shape]).astype(dtype)

    shapes = {
        **dict.fromkeys("xab", (None, None)),
        "static": (3, 3),
        "row": (1, None),
        "column": (None, 1),
        "number": (1, 1),
        "vector": (None,),
        "k": (),
    }
    values = {name: uniform(shape) for name, shape in shapes.items()}
    variables = {name: pt.tensor(dtype=dtype, shape=shape) for name, shape in shapes.items()}
    integers = {
        "bits": rng.integers(0, 2, (3, 3)).astype("int8"),
        "bytes": rng.integers(0, 256, (3, 3)).astype("uint8"),
        "hundred": np.int8(100),
        "three": np.int8(3),
    }
    for name, value in integers.items():
        variables[name] = pt.tensor(dtype=value.dtype, shape=(None,) * value.ndim)
    return variables, values | integers


def ce(x, a):
    return pt.softplus(a) - x * a


def with_gradient(x, a, c=1, axis=None):
    cost = pt.sum(c * ce(x, a), axis=axis)
    return [cost, pt.grad(pt.sum(cost), a)]


def products_in_a_row(a, b, n):
    total = a
    for _ in range(n):
        total = pt.dot(total, b) + a
    return total


GRAPHS = {
    # An x, found elsewhere, of another shape.
    "0.5 elsewhere": lambda v: [
        pt.sum(ce(0.5, v.a), axis=1),
        pt.dot(pt.constant(np.full((4, 3), 0.5, v.a.dtype)), v.b),
    ],
    "a row elsewhere": lambda v: [
        pt.sum(ce(v.row, v.a), axis=1),
        (stacked(v.x) * stacked(v.b) + v.row) - stacked(v.b) * stacked(v.x),
    ],
    "zero elsewhere": lambda v: [
        pt.sum(pt.softplus(v.a), axis=1),
        stacked(v.x) * stacked(v.b) - stacked(v.b) * stacked(v.x),
    ],
    # An x that is computed from the gradient, or from the cost.
    "x from its gradient": lambda v: x_from(v, pt.sigmoid(v.a) - v.bits),
    "x from its cost": lambda v: x_from(v, pt.sum(ce(v.bits, v.a))),
    # Integers among floats.
    "an integer factor": lambda v: [v.x + v.hundred * pt.dot(v.a, v.b)],
    "a product of integers": lambda v: [v.hundred * (v.x + v.three * pt.dot(v.a, v.b))],
    "an integer divisor": lambda v: [v.x - pt.dot(v.a, v.b) / v.three],
    "a truth": lambda v: [v.x + (v.k > 0) * pt.dot(v.a, v.b)],
    "x of bytes": lambda v: with_gradient(pt.cast(v.bytes, v.a.dtype) / 256, v.a),
    "x of bits": lambda v: with_gradient(v.bits, v.a),
    "bytes added up": lambda v: [pt.dot(v.a, v.b) + v.bytes + v.bytes],
    # Lengths of 1, and such as are known.
    "a product with one row": lambda v: [v.x + pt.dot(v.row, v.b)],
    "products with one row and many": lambda v: [v.x + pt.dot(v.row, v.b) + pt.dot(v.a, v.b)],
    "one row of two": lambda v: [v.row + pt.dot(v.row, v.b)],
    "a product with one column": lambda v: [v.x - pt.dot(v.a, v.column), v.x + v.column.T],
    "an outer product": lambda v: [v.x + pt.dot(v.column, v.row), pt.outer(v.vector, v.vector)],
    "a product of one element": lambda v: [v.x * pt.dot(v.row, v.column) + pt.dot(v.a, v.b)],
    "a column added": lambda v: [pt.dot(v.a, v.b) + v.column, pt.dot(v.x, v.b) + v.number],
    "a row that is no vector": lambda v: [pt.dot(v.a, v.b) + v.row, pt.dot(v.x, v.b) + v.column.T],
    "rows added up": lambda v: [pt.dot(v.a, v.b) + v.row + v.vector + 2 * v.vector],
    "lengths that are known": lambda v: [
        v.static + pt.dot(v.a, v.b),
        *with_gradient(v.x, v.static),
    ],
    "lengths of x": lambda v: with_gradient(v.static, v.a),
    "x and a in one row": lambda v: with_gradient(pt.abs(v.row), 2 * v.row),
    "x and a in one column": lambda v: with_gradient(pt.abs(v.column), 2 * v.column, axis=1),
    "x in a row": lambda v: with_gradient(v.row, v.a),
    "a in a row": lambda v: with_gradient(v.x, v.row),
    "empty": lambda v: [pt.dot(v.a[:, :0], v.b[:0]) + v.vector, *with_gradient(v.x[:0], v.a[:0])],
    # Products.
    "a product with itself": lambda v: [pt.dot(v.a, v.a), pt.dot(v.a, v.a.T) + v.a],
    "a product twice": lambda v: [pt.dot(v.a, v.b) + pt.dot(v.a, v.b), v.x - pt.dot(v.a, v.b)],
    "a product used twice": lambda v: [pt.dot(v.a, v.b), pt.exp(pt.dot(v.a, v.b)) + v.x],
    "a transposed product": lambda v: [pt.dot(v.a, v.b).T + v.x, pt.dot(v.a.T, v.b.T) - v.x.T],
    "products in a row": lambda v: [products_in_a_row(v.a, v.b, 4)],
    "vectors": lambda v: [pt.dot(v.a, v.vector) + v.vector, pt.dot(v.vector, v.a), v.a @ v.vector],
    "three dimensions": lambda v: [
        pt.dot(v.a[None], v.b),
        v.a[None] @ v.b,
        pt.sigmoid(v.a[None]),
        pt.sum(v.a[None], axis=0),
        pt.sum(ce(v.x, v.a)[None], axis=(1, 2)),
    ],
    "dtypes": lambda v: [
        pt.dot(v.a, v.b.astype("float32")) + v.x,
        pt.dot(v.a.astype("float64"), v.b) + v.x,
        pt.dot(v.bytes, v.a),
        pt.dot(v.bytes, v.bytes.T),
        pt.sigmoid(v.bytes),
    ],
    "sums in another dtype": lambda v: [
        result
        for dtype in DTYPES
        for result in (
            pt.sum(v.a, axis=0, dtype=dtype),
            pt.sum(ce(v.x, v.a), axis=1, dtype=dtype),
            pt.sum(ce(v.x, v.a), dtype=dtype),
        )
    ],
    "x of constants": lambda v: with_gradient(pt.constant(np.eye(3, dtype=v.a.dtype)), v.a),
    "x of ones": lambda v: with_gradient(pt.constant(np.ones((3, 3), v.a.dtype)), v.a),
    "x and its own a": lambda v: [pt.sum(ce(pt.sigmoid(v.a), v.a)), pt.sum(ce(v.a, v.a))],
    "x of another unit": lambda v: with_gradient(pt.sigmoid(v.b), v.a) + with_gradient(v.x, v.b),
    "two costs": lambda v: with_gradient(v.x, v.a) + with_gradient(v.b, v.a, axis=1),
    "one cost twice": lambda v: with_gradient(v.x, v.a) + with_gradient(v.x, v.a, -2, axis=1),
    "a cost of -a": lambda v: with_gradient(v.x, -v.a) + with_gradient(1 - v.x, v.a),
    "c of a sign": lambda v: with_gradient(v.x, v.a, -v.k) + with_gradient(v.x, v.a, 1 / v.k),
    "a gradient that is put out": lambda v: [
        *with_gradient(v.x, v.a),
        pt.sigmoid(v.a) - v.x,
        v.x - pt.sigmoid(v.a),
        v.row * (pt.sigmoid(v.a) - v.x),
        (pt.sigmoid(v.a) - v.x) / (2 + v.b),
        v.bytes * (pt.sigmoid(v.a) - v.x),
    ],
}


def stacked(m):
    return pt.concatenate([m, m])


def x_from(v, value):
    """A float matrix that equals v.bits, computed from a value in a way that PyTensor leaves."""
    m, n, k = v.x, v.b, v.static
    x = (value + m) * (n + k) - value * n - value * k - m * n - m * k + v.bits
    return [pt.sum(ce(v.bits, v.a)), pt.sigmoid(v.a) - v.bits, x]


class Named:
    def __init__(self, variables):
        vars(self).update(variables)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", GRAPHS)
def test_graphs(name, dtype):
    variables, values = variables_and_values(dtype)
    outputs = GRAPHS[name](Named(variables))
    inputs, values = used(list(variables.values()), outputs, [values[name] for name in variables])
    check_steps(inputs, outputs, {}, values, "float32" if name == "dtypes" else dtype, steps=1)


@pytest.mark.parametrize(("dtype", "large"), [("float32", 1e30), ("float64", 1e200)])
def test_the_square_of_a_constant_may_be_out_of_range(dtype, large):
    x, a, b = (pt.matrix(dtype=dtype) for _ in range(3))
    square, t = X[:5, :5].astype(dtype), np.asarray(large, dtype)
    outputs = [t * (x + t * pt.dot(a, b)), (x + pt.dot(b, a) / t) / t]
    function = pytensor.function([x, a, b], outputs, mode=PYTHON)
    assert our_ops(function) == {"Gemm": 2}
    assert_allclose(function(square, square / t, square)[0], t * (square + square @ square), 1e-5)
    assert_allclose(function(square, square * t, square)[1], (square + square @ square) / t, 1e-5)


def test_integers_do_not_overflow():
    # Not in Python, where PyTensor multiplies them by each other, as int8, before all else.
    x, a = pt.dmatrix(), pt.dmatrix()
    k, m = pt.bscalar(), pt.bscalar()
    cost = pt.sum(k * (m * ce(x, a)))
    outputs = [cost, pt.grad(cost, a), x - k * (x + m * pt.dot(x, a.T))]
    function = pytensor.function([x, a, k, m], outputs, mode="NUMBA")
    assert our_ops(function) == {"CrossEntropy": 1, "Gemm": 1}
    square = X[:5, :5]
    L, gradient, products = function(square, 1 - square, 100, 3)
    z = 1 / (1 + np.exp(square - 1))
    softplus = np.log1p(np.exp(1 - square))
    assert_allclose(L, 300 * np.sum(softplus - square * (1 - square)))
    assert_allclose(gradient, 300 * (z - square))
    assert_allclose(products, square - 100 * (square + 3 * square @ (1 - square).T))


UNARY = {
    "neg": lambda a: -a,
    "1 -": lambda a: 1 - a,
    "sigmoid": pt.sigmoid,
    "softplus": pt.softplus,
    "log s": lambda a: pt.log(pt.sigmoid(a)),
    "log(1 - s)": lambda a: pt.log(1 - pt.sigmoid(a)),
    "T": lambda a: a.T,
    "3": lambda a: 3 * a,
    "/ 256": lambda a: a / 256,
    "square": lambda a: a * a,
    "1 / (1 + a^2)": lambda a: 1 / (1 + a * a),
    "sum 0": lambda a: pt.sum(a, axis=0),
    "sum 1": lambda a: pt.sum(a, axis=1),
    "sums 0": lambda a: pt.sum(a, axis=0, keepdims=True),
    "sums 1": lambda a: pt.sum(a, axis=1, keepdims=True),
    "sum": pt.sum,
    "mean": pt.mean,
    "float32": lambda a: pt.cast(a, "float32"),
    "float64": lambda a: pt.cast(a, "float64"),
}
BINARY = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / (1 + b * b),
    "dot": pt.dot,
    "dot T": lambda a, b: pt.dot(a, b.T),
    "terms": lambda a, x: ce(x, a),
    "likelihood": lambda a, x: log_likelihood(x, pt.sigmoid(a)),
    "residual": lambda a, x: pt.sigmoid(a) - x,
    "rows": lambda a, x: pt.sum(ce(x, a), axis=-1),
    "all": lambda a, x: pt.sum(log_likelihood(x, pt.sigmoid(a))),
    "grad": lambda a, x: pt.grad(pt.sum(a), x, disconnected_inputs="ignore"),
}
programs = st.lists(
    st.tuples(
        st.sampled_from([*UNARY, *BINARY, *BINARY, *BINARY]), st.integers(0, 20), st.integers(0, 20)
    ),
    min_size=1,
    max_size=9,
)
KINDS = ["static", "row", "column", "number", "vector", "k", "bits", "bytes", "hundred", "three"]


def can_be_applied(name, first, second):
    """Whether there are rows to sum, and no lengths of a product that are known to differ."""
    if name in ("sum 1", "sums 1"):
        return first.ndim == 2
    if name in ("dot", "dot T"):
        right = second.type.shape if name == "dot" else second.type.shape[::-1]
        return len({*first.type.shape[-1:], *right[-2:][:1]} - {None}) < 2
    return True


def check_program(program, kinds, dtype, n_outputs, mode=PYTHON):
    """Run a list of operations, each on two of the results so far; skip what cannot be applied."""
    variables, values = variables_and_values(dtype)
    shared = [pytensor.shared(values.pop(name)) for name in "ab"]
    x, [W, V] = variables["x"], shared
    hidden = pt.dot(x, W)
    a = pt.dot(pt.sigmoid(hidden), V)
    results = [x, W, V, *(variables[kind] for kind in kinds), hidden, a, ce(x, a)]
    n_given = len(results) - 1
    for name, i, j in program:
        first, second = (results[-1 - k % len(results)] for k in (i, j))
        if can_be_applied(name, first, second):
            result = UNARY[name](first) if name in UNARY else BINARY[name](first, second)
            results.append(result)
    computed = results[n_given:]
    updates = {}
    for variable in shared:
        fitting = [v for v in computed if v.type == variable.type]
        if fitting:
            updates[variable] = variable - np.asarray(0.1, dtype) * fitting[-1]
    outputs = computed[-n_outputs:]
    inputs = [v for v in variables.values() if v in {*graph_inputs([*outputs, *updates.values()])}]
    names = {variable: name for name, variable in variables.items()}
    arguments = [values[names[variable]] for variable in inputs]
    before = [variable.get_value() for variable in shared]
    runs = []
    for variant in [get_mode(mode).excluding("dae"), mode]:
        try:
            function = pytensor.function(inputs, outputs, updates=updates, mode=variant)
            with np.errstate(all="ignore"):
                run = [value for _ in range(2) for value in function(*arguments)]
        except Exception:
            if not runs:  # PyTensor itself has no such graph, or finds its shapes wrong.
                return
            raise
        runs.append([*run, *(variable.get_value() for variable in shared)])
        for variable, value in zip(shared, before, strict=True):
            variable.set_value(value)
    expected, actual = runs
    if not all(np.all(np.isfinite(value)) for value in expected):
        return
    # Differences are roundings of the largest number there was on the way to a result.
    scale = max(np.max(np.abs(value), initial=1.0) for value in expected)
    precise = dtype == "float64" and not {"bits", "bytes"} & {*kinds}
    precise = precise and "float32" not in {name for name, *_ in program}
    for value, other in zip(actual, expected, strict=True):
        assert_same(value, other, 1e-9 if precise else 2e-3, scale)


random_graphs = given(
    program=programs,
    kinds=st.lists(st.sampled_from(KINDS), max_size=3, unique=True),
    dtype=st.sampled_from(DTYPES),
    n_outputs=st.integers(1, 3),
)


@settings(deadline=None, max_examples=150)
@random_graphs
def test_random_graphs(program, kinds, dtype, n_outputs):
    check_program(program, kinds, dtype, n_outputs)


@slow_products
@settings(deadline=None, max_examples=3, derandomize=True)
@random_graphs
def test_random_graphs_in_numba(program, kinds, dtype, n_outputs):
    check_program(program, kinds, dtype, n_outputs, "NUMBA")


# When the rewrites are on

WORKSHEET = """
class dA(object):
    def __init__(self, numpy_rng, theano_rng, input, n_visible, n_hidden):
        bound = 4 * numpy.sqrt(6. / (n_hidden + n_visible))
        initial_W = numpy_rng.uniform(low=-bound, high=bound, size=(n_visible, n_hidden))
        self.W = theano.shared(initial_W.astype(theano.config.floatX), name='W', borrow=True)
        self.b = theano.shared(numpy.zeros(n_hidden, dtype=theano.config.floatX))
        self.b_prime = theano.shared(numpy.zeros(n_visible, dtype=theano.config.floatX))
        self.W_prime = self.W.T
        self.theano_rng = theano_rng
        self.x = input
        self.params = [self.W, self.b, self.b_prime]

    def get_corrupted_input(self, input, corruption_level):
        if not corruption_level:
            return input
        return self.theano_rng.binomial(
            size=input.shape, n=1, p=1 - corruption_level, dtype=theano.config.floatX) * input

    def get_hidden_values(self, input):
        return T.nnet.sigmoid(T.dot(input, self.W) + self.b)

    def get_reconstructed_input(self, hidden):
        return T.nnet.sigmoid(T.dot(hidden, self.W_prime) + self.b_prime)

    def get_cost_updates(self, corruption_level, learning_rate):
        tilde_x = self.get_corrupted_input(self.x, corruption_level)
        y = self.get_hidden_values(tilde_x)
        z = self.get_reconstructed_input(y)
        L = - T.sum(self.x * T.log(z) + (1 - self.x) * T.log(1 - z), axis=1)
        cost = T.mean(L)
        gparams = T.grad(cost, self.params)
        updates = []
        for param, gparam in zip(self.params, gparams):
            updates.append((param, param - learning_rate * gparam))
        return (cost, updates)
"""


def pasted():
    """The worksheet's class, as its own words; `nnet` is the one that PyTensor has not."""
    source = WORKSHEET.replace("T.nnet.", "T.").replace("theano.", "pytensor.")
    namespace = {"numpy": np, "pytensor": pytensor, "T": pt}
    exec(source, namespace)
    return namespace["dA"]


ORDER = [
    *("Gemm", "Sigmoid", "Gemm", "CrossEntropy"),
    *("ColumnSum", "Gemm", "ColumnSum", "Gemm in place"),
]


@pytest.mark.parametrize(
    ("corruption_level", "kind", "mode"),
    [
        (0.0, Autoencoder, PYTHON),
        (0.3, DenoisingAutoencoder, PYTHON),
        (0.3, DenoisingAutoencoder, "NUMBA"),
    ],
)
def test_a_pasted_class_compiles_to_the_same_ops(corruption_level, kind, mode):
    runs = []
    for model in [pasted(), kind]:
        x = pt.matrix()
        rng = RandomState(123)
        da = model(rng, RandomStreams(rng.randint(2**30)), x, n_visible=6, n_hidden=4)
        cost, updates = da.get_cost_updates(corruption_level, 0.1)
        streams = {} if model is kind else da.theano_rng.updates(cost)
        updates = dict(updates) | streams
        function = pytensor.function([x], cost, updates=updates, mode=mode)
        data = X.astype(x.dtype)
        runs.append((op_names(function), [function(data) for _ in range(3)]))
        ours = [name for name in runs[-1][0] if name in EXPECTED]
        assert ours == ORDER
    assert runs[0] == runs[1]


@slow_products
@pytest.mark.parametrize("mode", ["CVM", "FAST_COMPILE", "NUMBA"])
def test_other_modes_have_pytensors_own_ops(mode):
    costs, has_ours = [], []
    variants = [mode, get_mode("NUMBA").excluding("dae")] if mode == "NUMBA" else [mode, PYTHON]
    for variant in variants:
        x, a, params = network()
        cost = COSTS["worksheet"](x, a)
        updates = descent(params, pt.grad(cost, params))
        function = pytensor.function([x], cost, updates=updates, mode=variant)
        costs.append([function(X).item() for _ in range(5)])
        has_ours.append(bool(our_ops(function)))
    assert has_ours == ([True, False] if mode == "NUMBA" else [False, True])
    assert_allclose(costs[0], costs[1], rtol=1e-12)
    assert costs[0][-1] < costs[0][0]


def test_c_has_pytensors_own_ops():
    x, a = pt.dmatrix(), pt.dmatrix()
    cost = COSTS["worksheet"](x, a)
    functions = [
        pytensor.function([x, a], [cost, pt.grad(cost, a)], mode=mode) for mode in ["C", PYTHON]
    ]
    for actual, expected in zip(*(function(X, 2 * X - 1) for function in functions), strict=True):
        assert_same(actual, expected, 1e-12)
    assert not our_ops(functions[0])
    assert our_ops(functions[1])["CrossEntropy"] == 1


IMPORTED = """
import sys
import pytensor.tensor as pt
from pytensor.compile.mode import get_default_mode, get_mode
from pytensor.graph.fg import FunctionGraph

def names(mode):
    x, a, y = pt.dmatrix(), pt.dmatrix(), pt.lvector()
    z = pt.sigmoid(a)
    cost = pt.sum(x * pt.log(z) + (1 - x) * pt.log(1 - z))
    log_p = pt.log(pt.special.softmax(a, axis=1))[pt.arange(y.shape[0]), y]
    graph = FunctionGraph([x, a, y], [cost, pt.dot(x, a), log_p], clone=True)
    mode.optimizer.rewrite(graph)
    return {type(n.op).__name__ for n in graph.apply_nodes if type(n.op).__module__[:3] == "dae"}

before = names(get_default_mode())
exec(f"import {sys.argv[1]}")
default = names(get_default_mode())
print(*sorted(before), "|", *sorted(default), "|", *sorted(names(get_mode("CVM"))), "|",
      *sorted(names(get_default_mode().excluding("dae"))))
"""


@pytest.mark.parametrize(
    ("module", "ops"),
    [
        ("dae.models", "CrossEntropy Gemm LogLikelihood"),
        ("dae.compiler", "CrossEntropy Gemm LogLikelihood"),
        ("dae.datasets, dae.random, dae.reports.tiles", ""),
    ],
)
def test_an_import_switches_the_rewrites_on(module, ops):
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORTED, module],
        env=os.environ | {"PYTHONPATH": str(Path(dae.__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert [part.strip() for part in process.stdout.split("|")] == ["", ops, "", ""]


@pytest.mark.parametrize("kind", [Autoencoder, DenoisingAutoencoder])
@pytest.mark.parametrize("dtype", DTYPES)
def test_debug_mode_finds_nothing(kind, dtype):
    with pytensor.config.change_flags(floatX=dtype):
        da = kind(RandomState(1), n_visible=6, n_hidden=3)
        cost, updates = da.get_cost_updates(corruption_level=0.3, learning_rate=0.1)
        rewrites_in_sight = numba_rewrites("fusion", "symbolic_op_recognition")
        mode = DebugMode(optimizer=rewrites_in_sight, check_c_code=False)
        function = pytensor.function([da.x], cost, updates=updates, mode=mode)
    assert our_ops(function) == EXPECTED
    x = RandomState(2).uniform(size=(4, 6)).astype(dtype)
    assert np.isfinite(function(x))
    assert np.isfinite(function(np.asfortranarray(x)))


# Large graphs

LENGTH = 2000


def long_sums(x, a, k):
    total = pt.dot(x, a)
    for _ in range(LENGTH):
        total = total * k + a
    return total


def long_sums_without_products(x, a, k):
    total = x
    for _ in range(LENGTH):
        total = (total - a) / k
    return total


def long_scalars(x, a, k):
    c = k
    for _ in range(LENGTH):
        c = c * k + 1
    return pt.sum(c * ce(x, a))


def powers(x, a, k):
    factor, other = k, k
    for _ in range(200):
        factor, other = factor * other, factor
    return factor * (pt.sigmoid(a) - x) + pt.sum(ce(x, a))


def layers(x, a, k):
    for _ in range(LENGTH // 10):
        a = pt.dot(pt.sigmoid(a), x)
    return pt.sum(ce(x, a))


@pytest.mark.parametrize(
    "build",
    [
        long_sums,
        long_sums_without_products,
        long_scalars,
        powers,
        layers,
        lambda *variables: sum(pt.dot(*variables[:2]) * pt.dscalar() for _ in range(300)),
        lambda *variables: pt.add(*(pt.dmatrix() for _ in range(LENGTH)), variables[0]),
        lambda *variables: pt.mul(*(pt.dmatrix() for _ in range(LENGTH)), variables[0]),
    ],
)
def test_the_work_grows_only_with_the_graph(build, monkeypatch):
    # The rewrites alone: others of PyTensor's take long for some of these.
    graph = FunctionGraph(outputs=[build(pt.dmatrix(), pt.dmatrix(), pt.dscalar())], clone=False)
    n_nodes, n_variables = len(graph.apply_nodes), len(graph.variables)
    calls = Counter()

    def counted(function):
        def call(*args):
            calls[function.__name__] += 1
            return function(*args)

        return call

    monkeypatch.setattr(_rewrites, "summands", counted(_rewrites.summands))
    monkeypatch.setattr(_rewrites, "multiply", counted(_rewrites.multiply))
    for rewriter in (_rewrites.CrossEntropyRewriter(), _rewrites.ProductRewriter()):
        rewriter.rewrite(graph)
    assert sum(calls.values()) <= 4 * _rewrites.MAX_DEPTH * n_variables
    assert len(graph.apply_nodes) <= 4 * n_nodes + 10
    graph.check_integrity()


def test_factors_are_in_one_order_in_all_runs():
    scalars = [pt.dscalar() for _ in range(12)]
    monomial = {frozenset((scalar, 1) for scalar in scalars[::-1]): 1}
    product, factors = _rewrites.expression(monomial, "float64"), []
    while product.owner:
        product, factor = product.owner.inputs
        factors.append(factor)
    assert [product, *factors[::-1]] == scalars
