r"""Elementwise expressions as polynomials, to recognise a formula however it is written.

A polynomial is a dictionary from monomials to coefficients, which are exact; a monomial is a
frozenset of pairs, an atom and its power. An atom is a variable that is no sum, product or
quotient, or one of the functions below. Functions of :math:`-a` are expressed by those of
:math:`a`:

.. math::
    \mathrm{softplus}(-a) = \mathrm{softplus}(a) - a, \qquad s(-a) = 1 - s(a)
"""

from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from pytensor.graph.basic import Variable
from pytensor.scalar import basic as scalar
from pytensor.scalar import math as scalar_math
from pytensor.tensor.basic import get_underlying_scalar_constant_value
from pytensor.tensor.elemwise import DimShuffle, Elemwise
from pytensor.tensor.exceptions import NotScalarConstantError
from pytensor.tensor.type import discrete_dtypes

MAX_LENGTH = 16
"""The terms of a polynomial, and the factors of a term, at the most.

What is longer is an atom; the formulas looked for here have at most six terms.
"""

MAX_BITS = 1000
"""The length of a coefficient, a fraction, at the most."""

MAX_SIZE = 1e30
"""Coefficients larger than this, or smaller than its inverse, may overflow or vanish in float32."""


@dataclass(frozen=True)  # of which two kinds are never equal, as tuples would be
class Softplus:
    """The atom log(1 + exp(a))."""

    a: Variable


@dataclass(frozen=True)
class Sigmoid:
    """The atom 1 / (1 + exp(-a))."""

    a: Variable


FUNCTIONS = {scalar_math.Softplus: Softplus, scalar_math.Sigmoid: Sigmoid}
ARITHMETIC = scalar.Add | scalar.Sub | scalar.Mul | scalar.TrueDiv | scalar.Neg


def scalar_op(variable):
    """Return the op that is applied to all elements to compute a variable, or None."""
    node = variable.owner
    return node.op.scalar_op if node is not None and isinstance(node.op, Elemwise) else None


def without_sign(variable):
    """Return what a variable is the negative of, or itself, and whether it is a negative."""
    if isinstance(scalar_op(variable), scalar.Neg) and keeps_digits(variable):
        return variable.owner.inputs[0], True
    return variable, False


def constant(variable):
    """Return the one number, not zero, that a constant variable is full of, or None."""
    try:
        value = get_underlying_scalar_constant_value(variable, only_process_constants=True)
    except NotScalarConstantError:
        return None
    return float(value) if np.isfinite(value) and value else None


def keeps_digits(variable):
    """Return whether an operation computes in the dtype of all its inputs, a float.

    Integers may be among them, but their own arithmetic, which can overflow, is another.
    """
    dtypes = {v.dtype for v in variable.owner.inputs if v.dtype not in discrete_dtypes}
    return dtypes == {variable.dtype}


def number(value):
    """Return a number other than zero as a polynomial."""
    return {frozenset(): Fraction(value)}


def atom(value):
    """Return an atom as a polynomial."""
    return {frozenset({(value, 1)}): Fraction(1)}


def is_monomial(polynomial, ndim=None):
    """Return whether a polynomial is one term, made of variables.

    Parameters
    ----------
    polynomial : dict
    ndim : int, optional
        How many dimensions all the variables must have.
    """
    return len(polynomial) == 1 and all(
        isinstance(factor, Variable) and ndim in (None, factor.type.ndim)
        for monomial in polynomial
        for factor, _ in monomial
    )


def is_short(polynomial):
    """Return whether a polynomial is small enough to compute with, and to be written out."""
    return len(polynomial) <= MAX_LENGTH and all(
        sum(abs(power) for _, power in monomial) <= MAX_LENGTH
        and coefficient.denominator.bit_length() <= MAX_BITS
        and 1 / MAX_SIZE <= abs(coefficient) <= MAX_SIZE
        for monomial, coefficient in polynomial.items()
    )


def add(first, second):
    """Return the sum of two polynomials."""
    total = defaultdict(Fraction, first)
    for monomial, coefficient in second.items():
        total[monomial] += coefficient
    return {monomial: coefficient for monomial, coefficient in total.items() if coefficient}


def multiply(first, second):
    """Return the product of two polynomials."""
    product = {}
    for monomial, coefficient in first.items():
        for other, other_coefficient in second.items():
            powers = defaultdict(int, monomial)
            for factor, power in other:
                powers[factor] += power
            key = frozenset((factor, power) for factor, power in powers.items() if power)
            product = add(product, {key: coefficient * other_coefficient})
    return product


def negative(polynomial):
    """Return minus a polynomial."""
    return multiply(polynomial, number(-1))


def reciprocal(polynomial):
    """Return 1 over a polynomial of one term."""
    [(monomial, coefficient)] = polynomial.items()
    return {frozenset((factor, -power) for factor, power in monomial): 1 / coefficient}


def collect(polynomial, factor):
    """Return what an atom is multiplied by in a polynomial, and the rest of it.

    Where the atom has a power other than 1, all is rest.

    Returns
    -------
    coefficient, rest : dict
    """
    powers = {dict(monomial).get(factor, 0) for monomial in polynomial}
    if not powers <= {0, 1}:
        return {}, polynomial
    coefficient, rest = {}, {}
    for monomial, value in polynomial.items():
        if (factor, 1) in monomial:
            coefficient[monomial - {(factor, 1)}] = value
        else:
            rest[monomial] = value
    return coefficient, rest


class Polynomials:
    """The polynomials of variables, each computed once.

    Parameters
    ----------
    atoms : set of Variable
        Variables that are not expanded.
    """

    def __init__(self, atoms=frozenset()):
        self._atoms = atoms
        self._polynomials = {}
        self._variables = defaultdict(list)

    def __call__(self, variable):
        """Return the polynomial of a variable."""
        if variable not in self._polynomials:
            polynomial = None if variable in self._atoms else self._expand(variable)
            if polynomial is None or not is_short(polynomial):
                polynomial = atom(variable)
            self._polynomials[variable] = polynomial
            self._variables[frozenset(polynomial.items())].append(variable)
        return self._polynomials[variable]

    def variables(self, polynomial):
        """Return the variables so far that have a polynomial."""
        return self._variables[frozenset(polynomial.items())]

    def _expand(self, variable):
        value = constant(variable)
        if value is not None:
            return number(value)
        if variable.owner is None:
            return None
        inputs = variable.owner.inputs
        if isinstance(variable.owner.op, DimShuffle) and inputs[0].type.ndim == 0:
            return self(inputs[0])
        op = scalar_op(variable)
        if type(op) in FUNCTIONS:
            return self._function(FUNCTIONS[type(op)], inputs[0])
        if not isinstance(op, ARITHMETIC) or not keeps_digits(variable):
            return None
        first, *others = map(self, inputs)
        match op:
            case scalar.Neg():
                return negative(first)
            case scalar.Sub():
                return add(first, negative(others[0]))
            case scalar.TrueDiv():
                return multiply(first, reciprocal(others[0])) if len(others[0]) == 1 else None
        combine = add if isinstance(op, scalar.Add) else multiply
        for other in others:
            first = combine(first, other)
            if not is_short(first):
                return None
        return first

    def _function(self, function, argument):
        a, is_negative = without_sign(argument)
        value = atom(function(a))
        if not is_negative:
            return value
        return (
            add(value, negative(self(a)))
            if function is Softplus
            else add(number(1), negative(value))
        )
