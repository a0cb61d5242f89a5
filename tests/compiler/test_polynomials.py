from fractions import Fraction
from math import exp, log1p

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dae.compiler._polynomials import (
    MAX_LENGTH,
    Polynomials,
    Sigmoid,
    Softplus,
    add,
    atom,
    collect,
    constant,
    is_monomial,
    is_short,
    multiply,
    negative,
    number,
    reciprocal,
)

NAMES = "uvw"
POINT = {"u": Fraction(2, 3), "v": Fraction(-5, 7), "w": Fraction(11, 4)}

monomials = st.builds(
    lambda powers, value: {
        frozenset((name, power) for name, power in powers.items() if power): value
    },
    st.fixed_dictionaries({name: st.integers(-2, 2) for name in NAMES}),
    st.fractions(-3, 3, max_denominator=8).filter(bool),
)
polynomials = st.lists(monomials, max_size=4).map(lambda terms: total(terms))


def total(terms):
    result = {}
    for term in terms:
        result = add(result, term)
    return result


def value(polynomial):
    terms = []
    for monomial, coefficient in polynomial.items():
        term = coefficient
        for name, power in monomial:
            term *= POINT[name] ** power
        terms.append(term)
    return sum(terms)


@given(first=polynomials, second=polynomials, divisor=monomials)
def test_arithmetic(first, second, divisor):
    assert value(add(first, second)) == value(first) + value(second)
    assert value(multiply(first, second)) == value(first) * value(second)
    assert value(negative(first)) == -value(first)
    assert value(reciprocal(divisor)) == 1 / value(divisor)
    assert add(first, negative(first)) == {}
    assert multiply(multiply(first, divisor), reciprocal(divisor)) == first


@given(polynomial=polynomials)
def test_collect(polynomial):
    coefficient, rest = collect(polynomial, "u")
    assert value(coefficient) * POINT["u"] + value(rest) == value(polynomial)
    assert "u" not in {name for monomial in coefficient for name, _ in monomial}
    powers = {dict(monomial).get("u", 0) for monomial in polynomial}
    if powers <= {0, 1}:
        assert "u" not in {name for monomial in rest for name, _ in monomial}
    else:
        assert rest == polynomial


def test_monomials_are_of_variables():
    k, m = pt.dscalar(), pt.dmatrix()
    assert is_monomial(number(2), ndim=0)
    assert is_monomial(atom(k), ndim=0)
    assert is_monomial(multiply(atom(k), atom(m)))
    assert not is_monomial(multiply(atom(k), atom(m)), ndim=0)
    assert not is_monomial(add(atom(k), atom(m)))
    assert not is_monomial(atom(Sigmoid(m)))
    assert not is_monomial({})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (pt.constant(2.5), 2.5),
        (pt.constant(np.full((2, 3), -3, "int8")), -3),
        (pt.constant(True), 1),
        (pt.constant(0.0), None),
        (pt.constant(np.inf), None),
        (pt.constant(np.nan), None),
        (pt.constant([1.0, 2.0]), None),
        (pt.constant(np.zeros((0, 2))), None),
        (pt.dscalar(), None),
    ],
)
def test_constants(value, expected):
    assert constant(value) == expected


# The expressions of variables

expressions = st.recursive(
    st.sampled_from(["m", "n", "k", "2", "0.5"]),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from("+-*"), inner, inner),
        st.tuples(st.just("/"), inner, st.sampled_from(["m", "k", "2"])),
        st.tuples(st.sampled_from(["neg", "sigmoid", "softplus"]), inner),
    ),
    max_leaves=8,
)
VALUES = {"m": 0.7, "n": -1.3, "k": 0.4, "2": 2.0, "0.5": 0.5}


def compute(expression, leaves, functions):
    if isinstance(expression, str):
        return leaves[expression]
    name, *inputs = expression
    return functions[name](*(compute(v, leaves, functions) for v in inputs))


ARITHMETIC = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "neg": lambda a: -a,
}
SYMBOLIC = ARITHMETIC | {"sigmoid": pt.sigmoid, "softplus": pt.softplus}
NUMERIC = ARITHMETIC | {"sigmoid": lambda a: 1 / (1 + exp(-a)), "softplus": lambda a: log1p(exp(a))}


@settings(deadline=None)
@given(expression=expressions)
def test_a_polynomial_equals_its_variable(expression):
    leaves = {
        "m": pt.dmatrix(),
        "n": pt.dmatrix(),
        "k": pt.dscalar(),
        "2": pt.constant(2.0, dtype="float64"),
    }
    leaves["0.5"] = pt.constant(np.full((1, 1), 0.5))
    variable = compute(expression, leaves, SYMBOLIC)
    points = {leaf: VALUES[name] for name, leaf in leaves.items()}

    def at(factor):
        """The value of an atom, which is a variable of its own where it is not expanded."""
        if isinstance(factor, Softplus | Sigmoid):
            name = type(factor).__name__.lower()
            return NUMERIC[name](at(factor.a))
        if factor in points:
            return points[factor]
        inputs = [leaf for leaf in points if not isinstance(leaf, pt.TensorConstant)]
        given = {leaf: np.full([1] * leaf.ndim, points[leaf]) for leaf in inputs}
        function = pytensor.function(inputs, factor, mode="FAST_COMPILE", on_unused_input="ignore")
        return function(*given.values()).item()

    actual = sum(
        float(coefficient) * np.prod([at(factor) ** power for factor, power in monomial])
        for monomial, coefficient in Polynomials()(variable).items()
    )
    assert actual == pytest.approx(compute(expression, VALUES, NUMERIC), rel=1e-9, abs=1e-9)


def test_what_is_written_in_two_ways_is_one_polynomial():
    x, a, k = pt.dmatrix(), pt.dmatrix(), pt.dscalar()
    p = Polynomials()
    half = pt.constant(0.5, dtype="float64")
    assert p(k * (x - a) / 2) == p(-half * a * k + half * x * k)
    assert p(pt.softplus(-a)) == p(pt.softplus(a) - a)
    assert p(pt.sigmoid(-a)) == p(1 - pt.sigmoid(a))
    assert p(x * a - a * x) == {}
    assert p(x / a * a) == p(x)
    assert p(x) != p(a)


def test_variables_of_one_polynomial_in_the_order_they_were_seen():
    x, a, p = pt.dmatrix(), pt.dmatrix(), Polynomials()
    product, swapped = x * a, a * x
    assert p.variables(p(product)) == [product]
    p(swapped)
    assert p.variables(p(product)) == [product, swapped]


def test_atoms_are_not_expanded():
    x, a = pt.dmatrix(), pt.dmatrix()
    whole = x + a
    assert Polynomials()(2 * whole) == {
        frozenset({(x, 1)}): Fraction(2),
        frozenset({(a, 1)}): Fraction(2),
    }
    assert Polynomials(atoms={whole})(2 * whole) == {frozenset({(whole, 1)}): Fraction(2)}


@pytest.mark.parametrize(
    "expression",
    [
        lambda m, n: pt.imatrix() + pt.imatrix(),  # may overflow
        lambda m, n: -pt.matrix(dtype="uint8"),
        lambda m, n: pt.fmatrix() + m,  # digits that float64 has and float32 has not
        lambda m, n: pt.bmatrix() / pt.bmatrix(),
        lambda m, n: m / (m + n),
        lambda m, n: pt.constant(1e-300),
        lambda m, n: pt.exp(m),
        lambda m, n: m.T,
        lambda m, n: pt.constant(1e20, dtype="float64") * (1e20 * m),  # not in float32
        lambda m, n: pt.add(*(pt.dmatrix() for _ in range(MAX_LENGTH + 1))),
        lambda m, n: pt.mul(*(pt.dmatrix() for _ in range(MAX_LENGTH + 1))),
    ],
)
def test_what_is_left_as_it_is(expression):
    variable = expression(pt.dmatrix(), pt.dmatrix())
    assert Polynomials()(variable) == atom(variable)


def test_the_sign_of_an_unsigned_integer_is_none():
    u = pt.matrix(dtype="uint8")
    p = Polynomials()
    assert p(pt.sigmoid(-u)) != p(1 - pt.sigmoid(u))


def test_polynomials_stay_short():
    p, m, k = Polynomials(), pt.dmatrix(), pt.dscalar()
    chains = [m] * 4
    for _ in range(1000):
        # In such an order that each is the input of the next.
        chains = [
            chains[0] + pt.dmatrix(),
            chains[1] * m,
            0.999 * chains[2] + m / 7,
            chains[3] * chains[3] * k,
        ]
        assert all(is_short(p(chain)) for chain in chains)
