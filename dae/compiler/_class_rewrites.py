"""Rewrites for classifiers: the log-likelihood of the classes of rows, its gradient, predictions.

What they look for is what PyTensor makes of ``log(softmax(a))[arange(n), y]``, of its gradient, and
of ``argmax(softmax(a), axis=1)``.
"""

from itertools import permutations

import numpy as np
import pytensor.tensor as pt
from pytensor.graph.basic import Constant
from pytensor.graph.rewriting.basic import node_rewriter
from pytensor.scalar import basic as scalar
from pytensor.tensor.basic import Alloc, ARange
from pytensor.tensor.elemwise import DimShuffle, Elemwise
from pytensor.tensor.math import Argmax, Sum
from pytensor.tensor.special import LogSoftmax, Softmax
from pytensor.tensor.subtensor import AdvancedIncSubtensor, AdvancedSubtensor
from pytensor.tensor.type import integer_dtypes

from dae.compiler import ops
from dae.compiler._polynomials import constant, scalar_op
from dae.compiler._variables import is_float_matrix, is_like, is_number


@node_rewriter([AdvancedSubtensor])
def use_log_likelihood(fgraph, node):
    """Compute the logarithms of the probabilities of the classes of rows, and no others."""
    log_p, *indices = node.inputs
    a, labels = softmax_argument(log_p, LogSoftmax), labels_of_rows(node.op, indices)
    return [ops.log_likelihood(a, *labels)[0]] if a is not None and labels else None


@node_rewriter([Elemwise])
def use_gradient_of_log_likelihood(fgraph, node):
    r"""Recognise :math:`U - P \sum_j U_{kj}`, where U is one number at the class of each row.

    P is the softmax of a matrix. So it is that number times the gradient of `LogLikelihood`.
    """
    if not isinstance(node.op.scalar_op, scalar.Sub) or not is_float_matrix(node.outputs[0]):
        return None
    U, product = node.inputs
    if not isinstance(scalar_op(product), scalar.Mul) or len(product.owner.inputs) != 2:
        return None
    for P, row_sums in permutations(product.owner.inputs):
        a, scattered = softmax_argument(P, Softmax), number_at_labels(U)
        if a is not None and scattered and is_like(a, U) and is_sum_of_rows(row_sums, U):
            scale, labels = scattered
            return [scale * ops.log_likelihood(a, *labels)[1]]
    return None


@node_rewriter([Argmax])
def use_row_argmax(fgraph, node):
    """Find the largest number of each row; of a softmax without computing it, as Theano did."""
    [P] = node.inputs
    if node.op.axis != (1,) or not is_float_matrix(P):
        return None
    a = softmax_argument(P, Softmax)
    return [ops.row_argmax(P if a is None else a)]


def softmax_argument(variable, kind):
    """Return the matrix that a variable is the softmax of by row, or its logarithm; else None."""
    node = variable.owner
    is_by_row = node is not None and isinstance(node.op, kind) and node.op.axis in (1, (1,))
    return node.inputs[0] if is_by_row and is_float_matrix(variable) else None


def labels_of_rows(op, indices):
    """Recognise the indices ``arange(n), y`` of a matrix; return y and n, or None."""
    if op.idx_list != (0, 1) or any(index.type.shape == (1,) for index in indices):
        return None
    rows, y = indices
    is_range = rows.owner is not None and isinstance(rows.owner.op, ARange)
    if not is_range or y.type.ndim != 1 or y.type.dtype not in integer_dtypes:
        return None
    start, stop, step = rows.owner.inputs
    is_from_first = isinstance(start, Constant) and start.data == 0 and constant(step) == 1
    return (y, stop) if is_from_first else None


def number_at_labels(variable):
    """Recognise a matrix of zeros but for one number, at the class of each row.

    Returns
    -------
    (number, (y, n)) or None
        The number with as many dimensions as the matrix; what `labels_of_rows` returns.
    """
    node = variable.owner
    if node is None or not isinstance(node.op, AdvancedIncSubtensor):
        return None
    zeros, value, *indices = node.inputs
    if isinstance(zeros.owner and zeros.owner.op, Alloc):
        zeros = zeros.owner.inputs[0]
    labels = labels_of_rows(node.op, indices)
    is_zero = isinstance(zeros, Constant) and not np.any(zeros.data)
    if labels is None or not is_zero or not is_number(value) or value.dtype != variable.dtype:
        return None
    return pt.atleast_2d(value), labels


def is_sum_of_rows(variable, matrix):
    """Return whether a variable is the column of the sums of the rows of a matrix."""
    node = variable.owner
    is_column = (
        node is not None and isinstance(node.op, DimShuffle) and node.op.new_order == (0, "x")
    )
    sums = node.inputs[0].owner if is_column else None
    is_sum = sums is not None and isinstance(sums.op, Sum) and sums.op.axis == (1,)
    return is_sum and sums.inputs[0] is matrix and sums.outputs[0].dtype == matrix.dtype
