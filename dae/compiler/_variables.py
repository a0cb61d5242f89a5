"""What the rewrites ask about a variable of a graph."""

from pytensor.tensor.type import TensorType

from dae.compiler import ops


def is_float(variable):
    """Return whether a variable is a tensor of a dtype that the ops have loops for."""
    return isinstance(variable.type, TensorType) and variable.type.dtype in ops.DTYPES


def is_float_matrix(variable):
    """Return whether a variable is a matrix of a dtype that the ops have loops for."""
    return is_float(variable) and variable.type.ndim == 2


def is_shaped_like(variable, other):
    """Return whether two variables of one expression must be of one shape.

    They are if the same dimensions have a length of 1: all others are not repeated.
    """
    return variable.type.broadcastable == other.type.broadcastable


def is_like(variable, other):
    """Return whether two variables of one expression must be of one shape and dtype."""
    return variable.type.dtype == other.type.dtype and is_shaped_like(variable, other)


def is_number(variable):
    """Return whether a variable has but one element, whatever its number of dimensions."""
    return all(variable.type.broadcastable)
