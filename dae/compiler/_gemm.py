"""The matrix product of the training step, in vector instructions.

A minibatch has few rows. BLAS, which is made for large matrices, takes up to half as long again
for its products, and its threads wait for each other where the machine does something else as well.
These loops run in one thread, and give the same digits whatever the processor, if only it can
multiply and add in one step. They are written in LLVM's own language, since what Numba makes of
loops in Python keeps no part of the result in registers.

The result is made in tiles, of as many rows and columns as there are registers for: a part of a
row of b is loaded once, and multiplied by one number of each row of a.
"""

from contextlib import contextmanager
from functools import cache

import llvmlite.binding
from llvmlite import ir
from numba.core import types
from numba.core.cgutils import (
    alloca_once,
    alloca_once_value,
    for_range_slice,
    get_or_insert_function,
    int32_t,
    intp_t,
    unpack_tuple,
    voidptr_t,
)
from numba.extending import intrinsic

from dae.compiler._kernels import njit

VERSION = 2
"""See `dae._machine_code.cache_key`."""

DEPTH = 64
"""Terms that a tile adds up at a time: so few that the addresses of their rows stay cached."""

ROWS = 120
"""Rows of the result that are made at a time: so few that those of a stay in the cache."""

LINE = 64
"""Bytes of a cache line."""

ITEMSIZES = {ir.FloatType(): 4, ir.DoubleType(): 8}
"""Bytes of an element."""


@cache
def registers():
    """Return the bytes of a vector register, and the rows of a tile that is two of them wide."""
    features = llvmlite.binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 64, 10
    return (32 if features.get("avx") else 16), 5


def number(i):
    """Return a Python integer as a number of the code being written."""
    return i if isinstance(i, ir.Value) else ir.Constant(intp_t, i)


def smaller(builder, i, j):
    """Return the smaller of two numbers of the code being written."""
    return builder.select(builder.icmp_signed("<", i, number(j)), i, number(j))


class Matrix:
    """A matrix in memory, for the code being written.

    Parameters
    ----------
    builder : llvmlite.ir.IRBuilder
    start : llvmlite.ir.Value
        Where it begins.
    element : llvmlite.ir.Type
        What its elements are; a pointer alone does not always tell.
    row_step, column_step : int or llvmlite.ir.Value
        How many elements its rows and its columns are apart.
    """

    def __init__(self, builder, start, element, row_step, column_step=1):
        self.builder = builder
        self.start = start
        self.element = element
        self.itemsize = ITEMSIZES[element]
        self.row_step = row_step
        self.column_step = column_step

    @property
    def T(self):
        """The transpose, in the same memory."""
        return Matrix(self.builder, self.start, self.element, self.column_step, self.row_step)

    @property
    def is_transposed(self):
        """Whether columns are what lies together in memory."""
        return self.column_step != 1

    def part(self, i, j):
        """Return the part that begins at row i and column j."""
        down = self.builder.mul(number(i), number(self.row_step))
        right = self.builder.mul(number(j), number(self.column_step))
        place = self.builder.add(down, right)
        start = self.builder.gep(self.start, [place], source_etype=self.element)
        return Matrix(self.builder, start, self.element, self.row_step, self.column_step)

    def load(self, i, j, width, mask=None):
        """Load a vector, a part of a row; elements that a mask leaves out are zero."""
        kind = ir.VectorType(self.element, width)
        place = self.builder.bitcast(self.part(i, j).start, kind.as_pointer())
        if mask is None:
            return self.builder.load(place, align=self.itemsize, typ=kind)
        arguments = place, int32_t(self.itemsize), mask, kind([0.0] * width)
        return self._call_masked("load", kind, kind, arguments)

    def store(self, vector, i, j, mask=None):
        """Store a vector, but for the elements that a mask leaves out."""
        place = self.builder.bitcast(self.part(i, j).start, vector.type.as_pointer())
        if mask is None:
            self.builder.store(vector, place, align=self.itemsize)
        else:
            arguments = vector, place, int32_t(self.itemsize), mask
            self._call_masked("store", vector.type, ir.VoidType(), arguments)

    def _call_masked(self, action, vector, result, arguments):
        """Call LLVM's own function for a part of a vector."""
        name = f"llvm.masked.{action}.v{vector.count}f{8 * self.itemsize}.p0"
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        function = get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(function, arguments)

    def repeat(self, i, j, width):
        """Load an element into all places of a vector."""
        one = self.load(i, j, 1)
        return self.builder.shuffle_vector(one, one, ir.VectorType(int32_t, width)([0] * width))

    def prefetch(self, i, j, width):
        """Fetch a part of a row into the cache."""
        kind = ir.FunctionType(ir.VoidType(), [voidptr_t, int32_t, int32_t, int32_t])
        prefetch = self.builder.module.declare_intrinsic("llvm.prefetch", [voidptr_t], kind)
        to_read, to_keep, data = int32_t(0), int32_t(3), int32_t(1)
        for k in range(0, width, LINE // self.itemsize):
            place = self.builder.bitcast(self.part(i, j).part(0, k).start, voidptr_t)
            self.builder.call(prefetch, [place, to_read, to_keep, data])


def spans(builder, stop, sizes):
    """Loop over 0, 1, ... stop - 1, in steps of the largest size that still fits.

    Parameters
    ----------
    builder : llvmlite.ir.IRBuilder
    stop : llvmlite.ir.Value
    sizes : list of int
        Falling; the last is 1.

    Yields
    ------
    start : llvmlite.ir.Value
    size : int
    """
    done = number(0)
    for size in sizes:
        rest = builder.srem(builder.sub(stop, done), number(size))
        end = builder.sub(stop, rest)
        with for_range_slice(builder, done, end, number(size)) as (start, _):
            yield start, size
        done = end


def strips(builder, vector, n):
    """Loop over n columns: two vectors of them at a time, the last ones with a mask.

    Parameters
    ----------
    builder : llvmlite.ir.IRBuilder
    vector : int
        Elements of a vector.
    n : llvmlite.ir.Value

    Yields
    ------
    start : llvmlite.ir.Value
    width : int
    there : llvmlite.ir.Value
        How many of these columns there are.
    mask : llvmlite.ir.Value or None
        Which elements of a vector they are; None for all.
    """
    width = 2 * vector
    rest = builder.srem(n, number(width))
    end = builder.sub(n, rest)
    with for_range_slice(builder, number(0), end, number(width)) as (start, _):
        yield start, width, number(width), None
    # The rest is one strip more: of one vector if it fits in there, else of two.
    is_narrow = builder.icmp_signed("<=", rest, number(vector))
    middle = builder.select(is_narrow, end, n)
    for start, stop, width in [(end, middle, 2 * vector), (middle, n, vector)]:
        with for_range_slice(builder, start, stop, number(width)) as (start, _):
            lanes = ir.VectorType(int32_t, width)(list(range(width)))
            one = builder.insert_element(lanes, builder.trunc(rest, int32_t), int32_t(0))
            repeated = builder.shuffle_vector(one, one, lanes.type([0] * width))
            yield start, width, rest, builder.icmp_signed("<", lanes, repeated)


@contextmanager
def loop(builder, stop, step=1):
    """Loop over range(0, stop, step), and keep LLVM from unrolling it.

    That would make nothing faster, but compiling slower. LLVM does not copy a body in which there
    is a piece of assembler, though it be empty.
    """
    with for_range_slice(builder, number(0), number(stop), number(step)) as (i, _):
        builder.asm(ir.FunctionType(ir.VoidType(), []), "", "", [], side_effect=True)
        yield i


def write_tile(builder, rows, width, mask, depth, c, alpha, a, b):
    """Write code that adds alpha a b to c, for a number of rows, columns and terms.

    A mask leaves out columns that there are not.
    """
    fused = ["contract"]
    zeros = ir.VectorType(c.element, width)([0.0] * width)
    sums = [alloca_once_value(builder, zeros) for _ in range(rows)]  # LLVM makes them registers
    for i in range(rows):
        c.prefetch(i + rows, 0, width)
    with loop(builder, depth) as k:
        row = b.load(k, 0, width, mask)
        b.prefetch(k, width, width)
        for i in range(rows):
            term = builder.fmul(a.repeat(i, k, width), row, flags=fused)
            total = builder.load(sums[i], typ=zeros.type)
            builder.store(builder.fadd(total, term, flags=fused), sums[i])
    # All are loaded before one is stored: processors let a load wait for a masked store nearby.
    totals = []
    for i in range(rows):
        total = builder.load(sums[i], typ=zeros.type)
        term = builder.fmul(alpha.repeat(0, 0, width), total, flags=fused)
        totals.append(builder.fadd(c.load(i, 0, width, mask), term, flags=fused))
    for i in range(rows):
        c.store(totals[i], i, 0, mask)


def write_transpose(builder, side, source, target):
    """Write code that copies the transpose of a square.

    Interleaving its upper rows with its lower ones, as often as it can be halved, transposes it.
    """
    rows = [source.load(i, 0, side) for i in range(side)]
    order = [i // 2 + side * (i % 2) for i in range(2 * side)]
    left, right = (ir.VectorType(int32_t, side)(half) for half in (order[:side], order[side:]))
    for _ in range(side.bit_length() - 1):
        pairs = zip(rows[: side // 2], rows[side // 2 :], strict=True)
        rows = [builder.shuffle_vector(*pair, half) for pair in pairs for half in (left, right)]
    for i in range(side):
        target.store(rows[i], i, 0)


def write_columns(builder, vector, width, there, mask, depth, b):
    """Write code that copies columns of b, which is transposed, to where they lie side by side."""
    copies = alloca_once(builder, b.element, size=number(DEPTH * width))
    copies.align = LINE
    columns = Matrix(builder, copies, b.element, width)
    for k, side in spans(builder, depth, [vector, 1] if mask is None else [1]):
        with loop(builder, there, side) as j:
            write_transpose(builder, side, b.part(k, j).T, columns.part(k, j))
    return columns


def write_product(builder, vector, height, m, n, depth, c, alpha, a, b):
    """Write code that adds alpha a b to c, tile by tile."""
    heights = [height, 1]
    if a.is_transposed and not b.is_transposed:
        # c is what is large, and b is small: go through c as it lies in memory.
        for i, rows in spans(builder, m, heights):
            for j, width, _, mask in strips(builder, vector, n):
                parts = c.part(i, j), alpha, a.part(i, 0), b.part(0, j)
                write_tile(builder, rows, width, mask, depth, *parts)
    else:
        for j, width, there, mask in strips(builder, vector, n):
            columns = b.part(0, j)
            if b.is_transposed:
                columns = write_columns(builder, vector, width, there, mask, depth, columns)
            for i, rows in spans(builder, m, heights):
                parts = c.part(i, j), alpha, a.part(i, 0), columns
                write_tile(builder, rows, width, mask, depth, *parts)


@cache
def add_product(dtype, a_transposed, b_transposed):
    """Return the function that adds alpha times the product of two matrices to c.

    Its arguments are c, alpha (without dimensions), a and b, all C-contiguous.
    """
    element = {"float32": ir.FloatType(), "float64": ir.DoubleType()}[dtype]
    register_size, height = registers()
    vector = register_size // ITEMSIZES[element]

    @intrinsic
    def multiply(_, c, alpha, a, b):
        def write(context, builder, signature, args):
            arrays = [
                context.make_array(kind)(context, builder, value)
                for kind, value in zip(signature.args, args, strict=True)
            ]
            shapes = [unpack_tuple(builder, array.shape) for array in arrays]
            c, alpha, a, b = (
                Matrix(builder, array.data, element, shape[-1] if shape else 0)
                for array, shape in zip(arrays, shapes, strict=True)
            )
            [(m, n), _, a_shape, _] = shapes
            depth = a_shape[not a_transposed]
            a, b = a.T if a_transposed else a, b.T if b_transposed else b
            with loop(builder, m, ROWS) as i, loop(builder, depth, DEPTH) as k:
                rows = smaller(builder, builder.sub(m, i), ROWS)
                terms = smaller(builder, builder.sub(depth, k), DEPTH)
                builder.assume(builder.icmp_signed(">", terms, number(0)))
                parts = c.part(i, 0), alpha, a.part(i, k), b.part(k, 0)
                write_product(builder, vector, height, rows, n, terms, *parts)
            return context.get_dummy_value()

        return types.void(c, alpha, a, b), write

    @njit
    def add_product(c, alpha, a, b):
        m, k = (a.shape[1], a.shape[0]) if a_transposed else a.shape
        k_of_b, n = (b.shape[1], b.shape[0]) if b_transposed else b.shape
        if k != k_of_b or c.shape != (m, n):
            raise ValueError("the shapes of the matrices of a product do not fit")
        multiply(c, alpha, a, b)

    return add_product
