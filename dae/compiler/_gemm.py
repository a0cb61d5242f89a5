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
from functools import cache, reduce

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
from pytensor.link.numba.dispatch.basic import numba_njit

from dae.compiler._threads import wanted_blocks, write_shared

VERSION = 6
"""See `dae._machine_code.cache_key`."""

DEPTH = 128
"""Terms that a tile adds up at a time, at most: so few that those of b stay in the cache."""

ROWS, COLUMNS = 120, 512
"""Rows and columns of a block of the result, at most: so few that they stay in the cache."""

TALL, WIDE, DEEP = 60, 8, 32
"""From how many rows, strips and terms on matrices are copied to where they lie close together."""

SHALLOW = 64
"""Up to how many terms the result is what is large, and written in the order of its memory."""

SPEED = 400
"""What one core does in a nanosecond, about: multiplications, times the bytes of a number."""

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


def larger(builder, i, j):
    """Return the larger of two numbers of the code being written."""
    return builder.select(builder.icmp_signed(">", i, number(j)), i, number(j))


def ceiling(builder, i, j):
    """Return i / j, rounded up."""
    return builder.sdiv(builder.add(i, builder.sub(number(j), number(1))), number(j))


def choose(builder, i, values):
    """Return the value number i of some."""
    chosen = values[0]
    for j, value in enumerate(values[1:], 1):
        chosen = builder.select(builder.icmp_signed("==", i, number(j)), value, chosen)
    return chosen


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


def first_lanes(builder, width, n):
    """Return a mask that leaves out all but the first n elements of a vector."""
    lanes = ir.VectorType(int32_t, width)(list(range(width)))
    one = builder.insert_element(lanes, builder.trunc(n, int32_t), int32_t(0))
    repeated = builder.shuffle_vector(one, one, lanes.type([0] * width))
    return builder.icmp_signed("<", lanes, repeated)


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
            yield start, width, rest, first_lanes(builder, width, rest)


@contextmanager
def loop(builder, stop, step=1):
    """Loop over range(0, stop, step), and keep LLVM from unrolling it.

    That would make nothing faster, but compiling slower. LLVM does not copy a body in which there
    is a piece of assembler, though it be empty.
    """
    with for_range_slice(builder, number(0), number(stop), number(step)) as (i, _):
        builder.asm(ir.FunctionType(ir.VoidType(), []), "", "", [], side_effect=True)
        yield i


def write_tile(builder, rows, width, mask, depth, c, alpha, a, b, ahead):
    """Write code that adds alpha a b to c, for a number of rows, columns and terms.

    A mask leaves out columns that there are not. What will be needed next is fetched into the
    cache: rows of a matrix, if any, beside those of b, and what lies below in c.
    """
    fused = ["contract"]
    zeros = ir.VectorType(c.element, width)([0.0] * width)
    sums = [alloca_once_value(builder, zeros) for _ in range(rows)]  # LLVM makes them registers
    for i in range(rows):
        c.prefetch(i + rows, 0, width)
    with loop(builder, depth) as k:
        row = b.load(k, 0, width, mask)
        if ahead is not None:
            ahead.prefetch(k, 0, width)
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


def write_columns(builder, vector, width, there, mask, depth, b, columns):
    """Write code that copies columns of b to where they lie side by side."""
    if b.is_transposed:
        for k, side in spans(builder, depth, [vector, 1] if mask is None else [1]):
            with loop(builder, there, side) as j:
                write_transpose(builder, side, b.part(k, j).T, columns.part(k, j))
    else:
        with loop(builder, depth) as k:
            columns.store(b.load(k, 0, width, mask), k, 0)


def buffer(builder, size, element):
    """Return where there is memory for so many elements, as long as the function runs."""
    start = alloca_once(builder, element, size=number(size))
    start.align = LINE
    return start


def write_panels(builder, vector, height, rows, depth, a, panels):
    """Write code that copies a, which is transposed, a column of a tile after the other.

    Vectors are stored whole: what is too much is overwritten by what comes next.
    """
    with loop(builder, rows, height) as i, loop(builder, depth) as k:
        there = smaller(builder, builder.sub(rows, i), height)
        place = builder.add(builder.mul(i, depth), builder.mul(k, number(height)))
        for start in range(0, height, vector):
            mask = first_lanes(builder, vector, builder.sub(there, number(start)))
            column = a.T.part(k, i).load(0, start, vector, mask)
            panels.store(column, 0, builder.add(place, number(start)))


def write_product(builder, vector, height, m, n, depth, c, alpha, a, b):
    """Write code that adds alpha a b to c, strip by strip and tile by tile."""
    if a.is_transposed:
        tile_step, a = write_close_columns(builder, vector, height, m, n, depth, a)
    else:
        tile_step = a.row_step
    is_tall = builder.icmp_signed(">=", m, number(TALL))
    copies = buffer(builder, 2 * vector * DEPTH, b.element)
    for j, width, there, mask in strips(builder, vector, n):
        columns, copy = b.part(0, j), Matrix(builder, copies, b.element, width)
        if b.is_transposed:
            write_columns(builder, vector, width, there, mask, depth, columns, copy)
            columns, ahead = copy, None
        else:
            ahead = columns.part(0, width)
            with builder.if_then(is_tall):
                write_columns(builder, vector, width, there, mask, depth, columns, copy)
            start = builder.select(is_tall, copy.start, columns.start)
            step = builder.select(is_tall, number(width), number(columns.row_step))
            columns = Matrix(builder, start, b.element, step)
        for i, rows in spans(builder, m, [height, 1]):
            in_tile = builder.srem(i, number(height))
            tile = a.part(in_tile, 0)
            place = builder.mul(builder.sub(i, in_tile), number(tile_step))
            tile.start = builder.gep(tile.start, [place], source_etype=a.element)
            parts = c.part(i, j), alpha, tile, columns, ahead
            write_tile(builder, rows, width, mask, depth, *parts)


def write_close_columns(builder, vector, height, m, n, depth, a):
    """Write code that copies a, which is transposed, if that is worth it.

    Returns
    -------
    tile_step : llvmlite.ir.Value
        How far the rows of a tile are from those of the next, divided by the number of rows.
    a : Matrix
        The copy or a itself; its steps hold within a tile.
    """
    is_wide = builder.icmp_signed(">=", n, number(2 * vector * WIDE))
    is_worth_it = builder.and_(is_wide, builder.icmp_signed(">=", depth, number(DEEP)))
    panels = Matrix(builder, buffer(builder, ROWS * DEPTH + vector, a.element), a.element, 0)
    with builder.if_then(is_worth_it):
        write_panels(builder, vector, height, m, depth, a, panels)
    start = builder.select(is_worth_it, panels.start, a.start)
    column_step = builder.select(is_worth_it, number(height), number(a.column_step))
    tile_step = builder.select(is_worth_it, depth, number(1))
    return tile_step, Matrix(builder, start, a.element, 1, column_step)


def write_outer_products(builder, vector, rows, columns, c, alpha, products):
    """Write code that adds products of a column and a row to c, in the order of its memory.

    That of tiles would take most of the time for finding the way from one to the next.
    """
    with loop(builder, rows) as i:
        for j, width, _, mask in strips(builder, 2 * vector, columns):
            scale, total = alpha.repeat(0, 0, width), c.load(i, j, width, mask)
            for a, b in products:
                term = builder.fmul(a.repeat(i, 0, width), b.load(0, j, width, mask))
                term = builder.fmul(scale, term, flags=["contract"])
                total = builder.fadd(total, term, flags=["contract"])
            c.store(total, i, j, mask)


@cache
def add_products(dtype, a_transposed, b_transposed):
    """Return two functions, which add alpha times one matrix product to c, or that of two.

    Its arguments are c, alpha (without dimensions), a, b, and those of a second product, if any;
    all matrices are C-contiguous. Each block of c is read from memory and written back once.
    """
    element = {"float32": ir.FloatType(), "float64": ir.DoubleType()}[dtype]
    register_size, height = registers()
    itemsize = ITEMSIZES[element]
    vector = register_size // itemsize
    width = 2 * vector

    @intrinsic
    def multiply(_, c, alpha, matrices, rows, columns, across, blocks):
        def write(context, builder, signature, args):
            def parts(kind, value):
                array = context.make_array(kind)(context, builder, value)
                return array.data, *unpack_tuple(builder, array.shape)

            c, m, n = parts(signature.args[0], args[0])
            [alpha] = parts(signature.args[1], args[1])
            factors = [
                value
                for pair in zip(signature.args[2], unpack_tuple(builder, args[2]), strict=True)
                for value in parts(*pair)
            ]
            *sizes, blocks = args[3:]
            values = [c, m, n, alpha, *sizes, *factors]
            write_shared(builder, blocks, values, write_block)
            return context.get_dummy_value()

        return types.void(c, alpha, matrices, rows, columns, across, blocks), write

    def write_block(builder, index, c, m, n, alpha, rows, columns, across, *factors):
        c = Matrix(builder, c, element, n)
        alpha = Matrix(builder, alpha, element, 0)
        i = builder.mul(builder.sdiv(index, across), rows)
        j = builder.mul(builder.srem(index, across), columns)
        rows = smaller(builder, builder.sub(m, i), rows)
        columns = smaller(builder, builder.sub(n, j), columns)
        c = c.part(i, j)
        if a_transposed and not b_transposed:
            starts = range(0, len(factors), 6)
            products = [matrices(builder, *factors[start : start + 6]) for start in starts]
            are_outer = reduce(
                builder.and_,
                [builder.icmp_signed("==", terms, number(1)) for *_, terms in products],
            )
            with builder.if_then(are_outer):
                parts = [(a.part(i, 0), b.part(0, j)) for a, b, _ in products]
                write_outer_products(builder, vector, rows, columns, c, alpha, parts)
                builder.ret_void()
        with loop(builder, len(factors) // 6) as product:
            chosen = [choose(builder, product, factors[place::6]) for place in range(6)]
            a, b, terms = matrices(builder, *chosen)
            # The parts of a sum are of the same length, which depends on nothing else.
            n_parts = larger(builder, ceiling(builder, terms, DEPTH), 1)
            depth = ceiling(builder, terms, n_parts)
            with loop(builder, terms, depth) as k:
                some = smaller(builder, builder.sub(terms, k), depth)
                builder.assume(builder.icmp_signed(">", some, number(0)))
                parts = c, alpha, a.part(i, k), b.part(k, j)
                write_product(builder, vector, height, rows, columns, some, *parts)

    def matrices(builder, a, a_rows, a_columns, b, _, b_columns):
        """Return a, b and the number of terms of each sum of a product."""
        terms = a_rows if a_transposed else a_columns
        a, b = Matrix(builder, a, element, a_columns), Matrix(builder, b, element, b_columns)
        return a.T if a_transposed else a, b.T if b_transposed else b, terms

    @numba_njit(inline="always")
    def n_terms(c, a, b):
        m, k = (a.shape[1], a.shape[0]) if a_transposed else a.shape
        k_of_b, n = (b.shape[1], b.shape[0]) if b_transposed else b.shape
        if k != k_of_b or c.shape != (m, n):
            raise ValueError("the shapes of the matrices of a product do not fit")
        return k

    @numba_njit(inline="always")
    def add(c, alpha, matrices, terms, most):
        m, n = c.shape
        if m and n and terms:
            # In how many blocks to divide the result, down and across; how long these are.
            wanted = wanted_blocks(m * n * terms * itemsize / SPEED)
            down = -(-m // (ROWS if most > SHALLOW else 2 * height))
            across = max(-(-n // COLUMNS), min(-(-wanted // down), n // (2 * width)))
            down = max(down, min(-(-wanted // across), m // height))
            rows, columns = -(-m // (down * height)) * height, -(-n // (across * width)) * width
            across = -(-n // columns)
            blocks = -(-m // rows) * across
            blocks = blocks if wanted > 1 else -blocks
            multiply(c, alpha, matrices, rows, columns, across, blocks)

    @numba_njit(inline="always")
    def add_product(c, alpha, a, b):
        k = n_terms(c, a, b)
        add(c, alpha, (a, b), k, k)

    @numba_njit(inline="always")
    def add_two_products(c, alpha, a, b, other_a, other_b):
        k, other_k = n_terms(c, a, b), n_terms(c, other_a, other_b)
        add(c, alpha, (a, b, other_a, other_b), k + other_k, max(k, other_k))

    return add_product, add_two_products
