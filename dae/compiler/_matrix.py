"""Matrices in memory, and loops over them, for code that is written in LLVM's own language."""

from contextlib import contextmanager

from llvmlite import ir
from numba.core.cgutils import (
    alloca_once,
    for_range_slice,
    get_or_insert_function,
    int32_t,
    intp_t,
    voidptr_t,
)

VERSION = 4
"""See `dae._machine_code.cache_key`."""

LINE = 64
"""Bytes of a cache line."""

UNROLLED = 4
"""Steps of a loop that are written one after the other, where to count them would take many of its
instructions. That helps above all where something else runs on the same core."""

ITEMSIZES = {ir.FloatType(): 4, ir.DoubleType(): 8}
"""Bytes of an element."""


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

    def hidden(self):
        """Return the same matrix, whose beginning LLVM does not compute from anything else."""
        kind = self.start.type
        start = self.builder.asm(
            ir.FunctionType(kind, [kind]), "", "=r,0", [self.start], side_effect=True
        )
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
        """Fetch a part of a row into the cache, but for what shares a line with the part before.

        Where a row is taken part by part, that line is there already.
        """
        kind = ir.FunctionType(ir.VoidType(), [voidptr_t, int32_t, int32_t, int32_t])
        prefetch = self.builder.module.declare_intrinsic("llvm.prefetch", [voidptr_t], kind)
        to_read, to_keep, data = int32_t(0), int32_t(3), int32_t(1)
        elements = LINE // self.itemsize
        for last in range(width - 1, -1, -elements):
            place = self.builder.bitcast(self.part(i, j).part(0, last).start, voidptr_t)
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
            keep_rolled(builder)
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


def share_of(builder, length, unit, index, shares):
    """Return where one of the shares of a length begins, and how long it is.

    They consist of whole units, but for the last one, and differ by one unit at most.

    Parameters
    ----------
    builder : llvmlite.ir.IRBuilder
    length : llvmlite.ir.Value
    unit : int
    index : llvmlite.ir.Value
        Which share.
    shares : llvmlite.ir.Value
        How many there are.

    Returns
    -------
    start, length : llvmlite.ir.Value
    """
    units = ceiling(builder, length, unit)
    bounds = []
    for share in (index, builder.add(index, number(1))):
        units_before = builder.sdiv(builder.mul(share, units), shares)
        bounds.append(smaller(builder, builder.mul(units_before, number(unit)), length))
    start, stop = bounds
    return start, builder.sub(stop, start)


def keep_rolled(builder):
    """Keep LLVM from unrolling the loop being written.

    That would make nothing faster, but compiling slower. LLVM does not copy a body in which there
    is a piece of assembler, though it be empty.
    """
    builder.asm(ir.FunctionType(ir.VoidType(), []), "", "", [], side_effect=True)


@contextmanager
def loop(builder, stop, step=1):
    """Loop over range(0, stop, step); LLVM does not unroll it."""
    with for_range_slice(builder, number(0), number(stop), number(step)) as (i, _):
        keep_rolled(builder)
        yield i


def buffer(builder, size, element):
    """Return where there is memory for so many elements, as long as the function runs."""
    start = alloca_once(builder, element, size=number(size))
    start.align = LINE
    return start
