"""The ops that the rewrites put in the place of PyTensor's own.

Numba compiles them from the loops of `_kernels` and `_gemm`; elsewhere NumPy computes the same.
They have no gradients, since a graph has been differentiated when it is rewritten.
"""

import numpy as np
import pytensor.tensor as pt
from pytensor.compile.mode import optdb
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.op import Op
from pytensor.graph.rewriting.basic import in2out, node_rewriter
from pytensor.link.numba.dispatch.basic import numba_njit, register_funcify_and_cache_key
from pytensor.tensor.type import integer_dtypes

from dae._machine_code import array_type, cache_key, compiled_loop, empty, flat
from dae.compiler import _block, _copies, _gemm, _kernels, _matrix, _threads
from dae.compiler._kernels import contiguous
from dae.compiler._threads import shared_loop

VERSION = 11
"""See `dae._machine_code.cache_key`."""

DTYPES = ("float32", "float64")
"""What the loops are written for."""


def checked(name, *variables, ndim=None):
    """Return as variables what an op is applied to.

    Parameters
    ----------
    name : str
        What messages call the op.
    *variables : array_like
    ndim : int, optional
        How many dimensions all must have.

    Raises
    ------
    TypeError
        If they are not all float32 or all float64, or have another number of dimensions.
    """
    variables = [pt.as_tensor(variable) for variable in variables]
    given = ", ".join(f"{variable.dtype} with {variable.ndim} dimensions" for variable in variables)
    if {variable.dtype for variable in variables} not in ({dtype} for dtype in DTYPES):
        raise TypeError(f"{name} takes float32 or float64, all of one type; given: {given}")
    if ndim is not None and any(variable.ndim != ndim for variable in variables):
        raise TypeError(f"{name} takes tensors with {ndim} dimensions; given: {given}")
    return variables


def known(lengths):
    """Return one of some lengths that must be equal, preferably one that is not None.

    Parameters
    ----------
    lengths : iterable of int or None

    Returns
    -------
    int or None
    """
    return next((length for length in lengths if length is not None), None)


class Sigmoid(Op):
    r"""The logistic function, :math:`s(a) = 1 / (1 + e^{-a})`, of a tensor of any shape."""

    __props__ = ()

    def make_node(self, a):
        """Apply to a float32 or float64 tensor."""
        [a] = checked("Sigmoid", a)
        return Apply(self, [a], [a.type()])

    def perform(self, node, inputs, output_storage):
        """Compute the output in NumPy, without overflow."""
        [a] = inputs
        e = np.exp(-np.abs(a))
        output_storage[0][0] = np.asarray(np.where(a < 0, e, 1) / (1 + e), a.dtype)


class CrossEntropy(Op):
    r"""The cross-entropy of inputs x and reconstructions z = s(a), by row, and z - x.

    From a single :math:`e^{-|a|}`, in a form without cancellation: with :math:`\bar x` the
    distance of x from the side (0 or 1) that a is on,
    :math:`L = \sum_k |a_k| \bar x_k + \log(1 + e^{-|a_k|})`.
    """

    __props__ = ()

    def make_node(self, x, a):
        """Apply to two matrices of one shape and dtype, float32 or float64."""
        x, a = checked("CrossEntropy", x, a, ndim=2)
        shape = tuple(known(lengths) for lengths in zip(x.type.shape, a.type.shape, strict=True))
        L, residual = (
            pt.vector(dtype=a.dtype, shape=shape[:1]),
            pt.matrix(dtype=a.dtype, shape=shape),
        )
        return Apply(self, [x, a], [L, residual])

    def perform(self, node, inputs, output_storage):
        """Compute the outputs in NumPy."""
        x, a = inputs
        if x.shape != a.shape:
            raise ValueError("the shapes of the inputs and of their reconstructions differ")
        e = np.exp(-np.abs(a))
        x_lack, z_lack = np.where(a > 0, 1 - x, x), e / (1 + e)
        with np.errstate(invalid="ignore"):  # of an infinite a
            terms = np.abs(a) * x_lack + np.log1p(e)
        output_storage[0][0] = np.sum(terms, axis=1)
        output_storage[1][0] = np.where(a > 0, x_lack - z_lack, z_lack - x_lack)


class LogLikelihood(Op):
    r"""The logarithms of the probabilities of given classes, :math:`\log P_{k y_k}`, by row.

    P is the softmax of a over its columns. The second output is the gradient by a of their sum:
    1 where a row's class is, minus P.
    """

    __props__ = ()

    def make_node(self, a, y, n):
        """Apply to a float32 or float64 matrix, the classes of its first rows, and their number.

        The classes are an integer vector, of length n. A negative class counts from the last one,
        as all indices do. The gradient of further rows is zero.
        """
        [a] = checked("LogLikelihood", a, ndim=2)
        y, n = pt.as_tensor(y), pt.as_tensor(n)
        if (y.ndim, n.ndim) != (1, 0) or not {y.dtype, n.dtype} <= set(integer_dtypes):
            raise TypeError(
                "LogLikelihood takes a vector of integers and an integer; given: "
                f"{y.dtype} with {y.ndim} dimensions, {n.dtype} with {n.ndim} dimensions"
            )
        return Apply(self, [a, y, n], [pt.vector(dtype=a.dtype, shape=y.type.shape), a.type()])

    def perform(self, node, inputs, output_storage):
        """Compute the outputs in NumPy."""
        a, y, n = inputs
        if y.size != n or n > a.shape[0]:
            raise ValueError("there are not as many classes as rows")
        rows = np.arange(n)
        shifted = a - np.max(a, axis=1, keepdims=True, initial=-np.inf)
        p = np.exp(shifted)
        total = np.sum(p, axis=1, keepdims=True, dtype="float64")
        gradient = np.asarray(-p / total, a.dtype)
        gradient[rows, y] += 1
        gradient[n:] = 0
        log_p = shifted[rows, y] - np.log(total[rows, 0])
        output_storage[0][0] = np.asarray(log_p, a.dtype)
        output_storage[1][0] = gradient


class RowArgmax(Op):
    """The column of the largest number of each row of a matrix, or of the first NaN in it.

    Of equal numbers it is the first, as in `numpy.argmax`. Numba compiles PyTensor's own, which is
    for any axes of any tensor, for seconds.
    """

    __props__ = ()

    def make_node(self, a):
        """Apply to a float32 or float64 matrix."""
        [a] = checked("RowArgmax", a, ndim=2)
        return Apply(self, [a], [pt.vector(dtype="int64", shape=a.type.shape[:1])])

    def perform(self, node, inputs, output_storage):
        """Compute the output in NumPy."""
        [a] = inputs
        output_storage[0][0] = np.argmax(a, axis=1)


class Gemm(Op):
    r"""General matrix multiplication, :math:`c + \alpha\, a b`; transposes are not copied.

    Or with two products, :math:`c + \alpha\, a b + \alpha\, a' b'`: then c is read from memory
    and written back once, not twice.

    Parameters
    ----------
    a_transposed, b_transposed : bool
        Whether it is the transpose of a matrix that is multiplied, in both products.
    inplace : bool
        Whether the result takes the memory of c, if that is C-contiguous and may be written to,
        which shows only when the op is called; the compiler decides it.
    """

    __props__ = ("a_transposed", "b_transposed", "inplace")

    def __init__(self, a_transposed=False, b_transposed=False, inplace=False):
        self.a_transposed = a_transposed
        self.b_transposed = b_transposed
        self.inplace = inplace
        if inplace:
            self.destroy_map = {0: [0]}

    def make_node(self, c, alpha, a, b, *more):
        """Apply to c (a matrix, a row for all rows, or a number), a number and matrices.

        These are two or four, a and b of each product. All are of one dtype, float32 or float64. A
        length of 1 is repeated only where the type of c says that it is 1, as in all of PyTensor.
        """
        if len(more) not in (0, 2):
            raise TypeError(f"Gemm takes two matrices, or four; given: {2 + len(more)}")
        matrices = checked("Gemm", a, b, *more, ndim=2)
        a, b = matrices[:2]
        c, alpha = (
            variable if isinstance(variable, Variable) else pt.as_tensor(variable, dtype=a.dtype)
            for variable in (c, alpha)
        )
        checked("Gemm", c, alpha, a)
        rows = [a.type.shape[self.a_transposed] for a in matrices[::2]]
        columns = [b.type.shape[not self.b_transposed] for b in matrices[1::2]]
        shape = known(rows), known(columns)
        given = f"shape {c.type.shape}, times one of {alpha.ndim} dimensions"
        while 0 < c.ndim <= 2 and c.type.shape[0] == 1 != shape[-c.ndim]:
            c = c.dimshuffle(*range(1, c.ndim))
        lengths = zip(reversed(c.type.shape), reversed(shape), strict=False)
        fits = all(None in pair or pair[0] == pair[1] for pair in lengths)
        if c.ndim > 2 or alpha.ndim or not fits:
            raise TypeError(
                f"Gemm adds a product of shape {shape} to a matrix, a row or a number, times a "
                f"number; given: {given}"
            )
        return Apply(self, [c, alpha, *matrices], [pt.matrix(dtype=a.dtype, shape=shape)])

    def perform(self, node, inputs, output_storage):
        """Compute the outputs in NumPy."""
        c, alpha, *matrices = inputs
        out = c if self.inplace and c.flags.carray else None
        for a, b in zip(matrices[::2], matrices[1::2], strict=True):
            product = np.dot(a.T if self.a_transposed else a, b.T if self.b_transposed else b)
            if c.shape != product.shape[2 - c.ndim :]:
                raise ValueError("what is to be added to a product has another shape")
            c = np.add(c, alpha * product, out=out)
        output_storage[0][0] = c


class ColumnSum(Op):
    """The sums of the columns of a matrix, as PyTensor's own with a total in float64."""

    __props__ = ()

    def make_node(self, a):
        """Apply to a float32 or float64 matrix."""
        [a] = checked("ColumnSum", a, ndim=2)
        return Apply(self, [a], [pt.vector(dtype=a.dtype, shape=a.type.shape[1:])])

    def perform(self, node, inputs, output_storage):
        """Compute the outputs in NumPy."""
        [a] = inputs
        output_storage[0][0] = np.sum(a, axis=0, dtype="float64").astype(a.dtype)


sigmoid = Sigmoid()
cross_entropy = CrossEntropy()
column_sum = ColumnSum()
log_likelihood = LogLikelihood()
row_argmax = RowArgmax()


@node_rewriter([Gemm])
def _gemm_inplace(fgraph, node):
    """Replace a `Gemm` by one that overwrites its first argument, where nothing else needs it."""
    if node.op.inplace or node.inputs[0].ndim != 2:
        return None
    return [Gemm(node.op.a_transposed, node.op.b_transposed, inplace=True)(*node.inputs)]


optdb.register("dae_gemm_inplace", in2out(_gemm_inplace), "fast_run", "inplace", "dae", position=70)


@register_funcify_and_cache_key(Sigmoid)
def _numba_sigmoid(op, node, **kwargs):
    """Compile `Sigmoid`."""
    dtype = node.outputs[0].dtype
    types = [array_type(dtype, 1)] * 2
    loop = shared_loop(
        f"dae_sigmoid_{dtype}", _kernels.sigmoid(dtype), types, _kernels.SIGMOID, _kernels
    )

    @numba_njit
    def sigmoid(a):
        y = empty(a.shape, a.dtype)
        loop((flat(contiguous(a)), flat(y)))
        return y

    return sigmoid, cache_key(op, _kernels, _threads, _matrix)


@register_funcify_and_cache_key(CrossEntropy)
def _numba_cross_entropy(op, node, **kwargs):
    """Compile `CrossEntropy`."""
    dtype = node.outputs[0].dtype
    types = [array_type(dtype, ndim) for ndim in (2, 2, 1, 2)]
    function, work = _kernels.cross_entropy(dtype), _kernels.CROSS_ENTROPY
    loop = shared_loop(f"dae_cross_entropy_{dtype}", function, types, work, _kernels)

    @numba_njit
    def cross_entropy(x, a):
        if x.shape != a.shape:
            raise ValueError("the shapes of the inputs and of their reconstructions differ")
        L, residual = empty(a.shape[:1], a.dtype), empty(a.shape, a.dtype)
        loop((contiguous(x), contiguous(a), L, residual))
        return L, residual

    return cross_entropy, cache_key(op, _kernels, _threads, _matrix)


@register_funcify_and_cache_key(LogLikelihood)
def _numba_log_likelihood(op, node, **kwargs):
    """Compile `LogLikelihood`."""
    dtype = node.outputs[0].dtype
    types = [array_type(*kind) for kind in [(dtype, 2), ("int64", 1), (dtype, 1), (dtype, 2)]]
    loop = compiled_loop(
        f"dae_log_likelihood_{dtype}", _kernels.log_likelihood(dtype), types, _kernels
    )

    @numba_njit
    def log_likelihood(a, y, n):
        n_rows, n_out = a.shape
        if y.size != n.item() or y.size > n_rows:
            raise ValueError("there are not as many classes as rows")
        labels = empty(y.shape, np.int64)
        for i in range(y.size):
            label = np.int64(y[i])
            labels[i] = label if label >= 0 else label + n_out
            if not 0 <= labels[i] < n_out:
                raise IndexError("a class is not among the columns")
        log_p, gradient = empty(y.shape, a.dtype), empty(a.shape, a.dtype)
        loop((contiguous(a), labels, log_p, gradient))
        return log_p, gradient

    return log_likelihood, cache_key(op, _kernels)


@register_funcify_and_cache_key(RowArgmax)
def _numba_row_argmax(op, node, **kwargs):
    """Compile `RowArgmax`."""

    @numba_njit
    def row_argmax(a):
        if not a.shape[1]:
            raise ValueError("attempt to get argmax of an empty sequence")
        columns = empty(a.shape[:1], np.int64)
        _kernels.row_argmax(a, columns)
        return columns

    return row_argmax, cache_key(op, _kernels)


@register_funcify_and_cache_key(Gemm)
def _numba_gemm(op, node, **kwargs):
    """Compile `Gemm`."""
    dtype, n_products = node.outputs[0].dtype, len(node.inputs) // 2 - 1
    flags = op.a_transposed, op.b_transposed, op.inplace
    add_products = _gemm.add_products(n_products, dtype, *flags)
    facts = {"n_products": n_products, "registers": _block.registers()}
    key = cache_key(op, _kernels, _threads, _gemm, _block, _copies, _matrix, **facts)
    return add_products, key


@register_funcify_and_cache_key(ColumnSum)
def _numba_column_sum(op, node, **kwargs):
    """Compile `ColumnSum`."""
    dtype = node.outputs[0].dtype
    types = [array_type(dtype, 2), array_type(dtype, 1)]
    loop = compiled_loop(f"dae_column_sum_{dtype}", _kernels.column_sum(dtype), types, _kernels)

    @numba_njit
    def column_sum(a):
        sums = empty(a.shape[1:], a.dtype)
        loop((contiguous(a), sums))
        return sums

    return column_sum, cache_key(op, _kernels)
