"""The matrix product of the training step, in vector instructions.

A minibatch has few rows. BLAS, which is made for large matrices, takes up to half as long again
for its products, and its threads wait for each other where the machine does something else as well.
These loops give the same digits whatever the processor, if only it can multiply and add in one
step, and whatever the number of threads. They are written in LLVM's own language, since what Numba
makes of loops in Python keeps no part of the result in registers.
"""

import sys
from contextlib import contextmanager
from functools import cache, partial, reduce

from llvmlite import ir
from numba.core import types
from numba.core.cgutils import bool_t, intp_t, unpack_tuple
from numba.extending import intrinsic
from numba.np.arrayobj import _empty_nd_impl

from dae._machine_code import compile_once, write_c_call
from dae.compiler import _block, _copies, _matrix, _threads
from dae.compiler._kernels import contiguous_arrays, write_writable
from dae.compiler._matrix import (
    ITEMSIZES,
    Matrix,
    ceiling,
    choose,
    larger,
    loop,
    number,
    share_of,
    smaller,
)
from dae.compiler._threads import wanted_blocks, write_shared

VERSION = 16
"""See `dae._machine_code.cache_key`."""

ROWS, COLUMNS = 520, 2048
"""Rows and columns of a block of the result, at most: so few that they stay in the cache, and so
many that most minibatches are one block, for which b has to be read and copied only once."""

SHALLOW = {5: 32, 10: 64}
"""Up to how many terms, by the rows of a tile, the result is what is large, and written in the
order of its memory."""

SPEED = {16: 200, 32: 120, 64: 400}
"""What one core does in a nanosecond, about, by the bytes of a register: multiplications, times the
bytes of a number. The first is a guess."""


def divided(builder, m, n, terms, rows, itemsize, register_size, height):
    """Return how to divide a result of m times n numbers into blocks.

    Parameters
    ----------
    builder : llvmlite.ir.IRBuilder
    m, n : llvmlite.ir.Value
    terms : llvmlite.ir.Value
        How many terms each number is the sum of.
    rows : int
        Those to be made at a time, at most.
    itemsize : int
        Bytes of a number.
    register_size : int
        Bytes of a register.
    height : int
        Rows of a tile.

    Returns
    -------
    down, across : llvmlite.ir.Value
        How many blocks there are one above the other, and side by side.
    blocks : llvmlite.ir.Value
        How many there are in all; minus that many, if they are too little work to be shared.
    rows : llvmlite.ir.Value
        Those of a block to be made at a time.
    """
    size = builder.mul(m, n)
    # All are judged as an update, of two products: if only some products of a step were divided,
    # the others would wait for what is in the caches of other cores.
    work = builder.mul(builder.mul(size, terms), number(2 * itemsize))
    wanted = wanted_blocks(builder, builder.sdiv(work, number(SPEED[register_size])))
    is_deep = builder.icmp_signed(">", terms, number(SHALLOW[height]))
    rows = builder.select(is_deep, number(rows), number(2 * height))
    least = builder.select(is_deep, larger(builder, ceiling(builder, m, rows), 1), number(1))
    width = 2 * register_size // itemsize
    most = builder.select(is_deep, builder.sdiv(n, number(2 * width)), number(1))
    across = smaller(builder, ceiling(builder, wanted, least), most)
    across = larger(builder, ceiling(builder, n, COLUMNS), larger(builder, across, 1))
    fitting = builder.sdiv(m, number(height))
    down = larger(builder, least, smaller(builder, ceiling(builder, wanted, across), fitting))
    blocks = builder.mul(down, across)
    is_shared = builder.icmp_signed(">", wanted, number(1))
    blocks = builder.select(is_shared, blocks, builder.neg(blocks))
    is_empty = builder.icmp_signed("==", size, number(0))
    return down, across, builder.select(is_empty, number(0), blocks), rows


@cache
def add_products(n_products, dtype, a_transposed, b_transposed, inplace):
    """Return the function that computes c plus alpha times one matrix product, or two.

    For code that Numba compiles. Its arguments are those of `Gemm`. Each block of c is read from
    memory once, and of the result written once. It is all written for LLVM, since PyTensor would
    have Numba compile a function of Python twice.
    """
    name = compile_products(n_products, dtype, a_transposed, b_transposed)
    orders = [-1 if transposed else 1 for transposed in (a_transposed, b_transposed)] * n_products

    def product(_, c, alpha, a, b):
        return typed(c, alpha, a, b)

    def products(_, c, alpha, a, b, other_a, other_b):
        return typed(c, alpha, a, b, other_a, other_b)

    def typed(c, *others):
        result = types.Array(c.dtype, 2, "C")
        kinds = [result if inplace else c, *others]

        def write(context, builder, signature, args):
            shape_of_c, _, *shapes = (
                unpack_tuple(builder, context.make_array(kind)(context, builder, value).shape)
                for kind, value in zip(signature.args, args, strict=True)
            )
            # Before any copy is made: an error leaves at once, and would not free it.
            m, n = check_shapes(context, builder, shape_of_c, shapes, orders)
            start = write_writable(context, builder, c, args[0]) if inplace else args[0]
            with contiguous_arrays(context, builder, kinds, [start, *args[1:]]) as arrays:
                added, alpha, *matrices = arrays
                out = added if inplace else _empty_nd_impl(context, builder, result, [m, n])
                with repeated(context, builder, c, added, n) as start_of_c:
                    c_step = n if c.ndim == 2 else number(0)
                    values = [out.data, m, n, start_of_c, c_step, alpha.data]
                    for matrix, shape in zip(matrices, shapes, strict=True):
                        values += [matrix.data, *shape]
                    write_c_call(context, builder, name, values)
            return out._getvalue()

        return result(c, *others), write

    return intrinsic(product if n_products == 1 else products)


def check_shapes(context, builder, shape_of_c, shapes, orders):
    """Write code that raises ValueError if shapes do not fit, and return that of the result.

    Parameters
    ----------
    context : numba.core.base.BaseContext
    builder : llvmlite.ir.IRBuilder
    shape_of_c : list of llvmlite.ir.Value
        That of what is added, without what it is repeated along.
    shapes : list of list of llvmlite.ir.Value
        Those of the factors.
    orders : list of int
        Of each factor 1, or -1 if its transpose is multiplied.

    Returns
    -------
    m, n : llvmlite.ir.Value
    """
    shapes = [shape[::order] for shape, order in zip(shapes, orders, strict=True)]
    m, n = shapes[0][0], shapes[1][1]
    pairs = []
    for (rows, k), (k_of_b, columns) in zip(shapes[::2], shapes[1::2], strict=True):
        pairs += [(rows, m), (k, k_of_b), (columns, n)]
    check(context, builder, pairs, "the shapes of the matrices of a product do not fit")
    pairs = zip(shape_of_c, [m, n][2 - len(shape_of_c) :], strict=True)
    check(context, builder, pairs, "what is to be added to a product has another shape")
    return m, n


def check(context, builder, pairs, message):
    """Write code that raises ValueError if numbers that belong together differ."""
    for pair in pairs:
        differ = builder.icmp_signed("!=", *pair)
        with builder.if_then(differ, likely=False):
            context.call_conv.return_user_exc(builder, ValueError, (message,))


@contextmanager
def repeated(context, builder, kind, array, n):
    """Yield where an array begins; a number is repeated n times for that, in memory of its own."""
    if kind.ndim:
        yield array.data
        return
    kind = types.Array(kind.dtype, 1, "C")
    row = _empty_nd_impl(context, builder, kind, [n])
    element = context.get_data_type(kind.dtype)
    value = Matrix(builder, array.data, element, 0).load(0, 0, 1)
    with loop(builder, n) as j:
        Matrix(builder, row.data, element, 0).store(value, 0, j)
    yield row.data
    context.nrt.decref(builder, kind, row._getvalue())


@cache
def compile_products(n_products, dtype, a_transposed, b_transposed):
    """Compile the code of `add_products` for C-contiguous arrays once, and return its name."""
    element = {"float32": ir.FloatType(), "float64": ir.DoubleType()}[dtype]
    register_size, height = _block.registers()
    itemsize = ITEMSIZES[element]
    vector = register_size // itemsize
    width = 2 * vector
    facts = n_products, dtype, int(a_transposed), int(b_transposed), register_size, height
    name = "_".join(map(str, ["dae_add_products", *facts]))

    def write(library, builder, out, m, n, c, c_step, alpha, *factors):
        terms = [terms for *_, terms in products_of(builder, factors)]
        most = reduce(partial(larger, builder), terms)
        rows = _block.COPIED[itemsize] if _block.are_copied(a_transposed) else ROWS
        *division, blocks, rows = divided(
            builder, m, n, most, rows, itemsize, register_size, height
        )
        values = [*division, rows, out, m, n, c, c_step, alpha, *factors]
        write_shared(builder, blocks, values, write_block)
        return bool_t(False)

    def write_block(builder, index, down, across, at_once, out, m, n, c, c_step, alpha, *factors):
        out, c = Matrix(builder, out, element, n), Matrix(builder, c, element, c_step)
        alpha = Matrix(builder, alpha, element, 0)
        top, rows = share_of(builder, m, height, builder.sdiv(index, across), down)
        j, columns = share_of(builder, n, width, builder.srem(index, across), across)
        with loop(builder, rows, at_once) as done:
            i, some = builder.add(top, done), smaller(builder, builder.sub(rows, done), at_once)
            place = i, j, some, columns, out.part(i, j), c.part(i, j), alpha
            if a_transposed and not b_transposed:
                products = products_of(builder, factors)
                is_outer = have_terms(builder, builder.and_, products, 1)
                with builder.if_else(is_outer) as (outer, other):
                    with outer:
                        parts = [(a.part(i, 0), b.part(0, j)) for a, b, _ in products]
                        _block.write_outer_products(builder, vector, *place[2:], parts)
                    with other:
                        write_sums(builder, *place, factors)
            else:
                write_sums(builder, *place, factors)

    def write_sums(builder, i, j, rows, columns, out, c, alpha, factors):
        # Without terms, the loop would not write the result.
        lacks_terms = have_terms(builder, builder.or_, products_of(builder, factors), 0)
        with builder.if_then(lacks_terms, likely=False):
            _block.write_outer_products(builder, vector, rows, columns, out, c, alpha, [])
        with loop(builder, n_products) as product:
            chosen = [choose(builder, product, factors[place::6]) for place in range(6)]
            a, b, terms = matrices(builder, *chosen)
            # The parts of a sum are of the same length, which depends on nothing else.
            n_parts = larger(builder, ceiling(builder, terms, _block.DEPTH), 1)
            depth = ceiling(builder, terms, n_parts)
            with loop(builder, terms, depth) as k:
                some = smaller(builder, builder.sub(terms, k), depth)
                builder.assume(builder.icmp_signed(">", some, number(0)))
                # The first part of the sum is added to c, the others to what there is then.
                is_first = builder.icmp_signed("==", builder.or_(product, k), number(0))
                start = builder.select(is_first, c.start, out.start)
                step = builder.select(is_first, c.row_step, out.row_step)
                parts = Matrix(builder, start, element, step), alpha, a.part(i, k), b.part(k, j)
                _block.write_product(builder, vector, height, rows, columns, some, out, *parts)

    def have_terms(builder, combine, products, wanted):
        """Return whether all or any of the products have so many terms."""
        tests = [builder.icmp_signed("==", terms, number(wanted)) for *_, terms in products]
        return reduce(combine, tests)

    def products_of(builder, factors):
        """Return the result of `matrices` for each product."""
        return [matrices(builder, *factors[i : i + 6]) for i in range(0, len(factors), 6)]

    def matrices(builder, a, a_rows, a_columns, b, _, b_columns):
        """Return a, b and the number of terms of each sum of a product."""
        terms = a_rows if a_transposed else a_columns
        a, b = Matrix(builder, a, element, a_columns), Matrix(builder, b, element, b_columns)
        return a.T if a_transposed else a, b.T if b_transposed else b, terms

    matrix = element.as_pointer(), intp_t, intp_t
    compile_once(
        name,
        [*matrix, *matrix[:2], matrix[0], *matrix * (2 * n_products)],
        write,
        sys.modules[__name__],
        _block,
        _copies,
        _matrix,
        _threads,
    )

    return name
