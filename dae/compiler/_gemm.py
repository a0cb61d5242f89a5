"""The matrix product of the training step, in vector instructions.

A minibatch has few rows. BLAS, which is made for large matrices, takes up to half as long again
for its products, and its threads wait for each other where the machine does something else as well.
These loops give the same digits whatever the processor, if only it can multiply and add in one
step, and whatever the number of threads. They are written in LLVM's own language, since what Numba
makes of loops in Python keeps no part of the result in registers.

The result is made in tiles, of as many rows and columns as there are registers for: a part of a
row of b is loaded once, and multiplied by one number of each row of a. What lies above each other
in the result are tiles of a; what lies side by side are strips of b. Where it pays, they are copied
to where their numbers lie close together.
"""

import sys
from contextlib import contextmanager
from functools import cache, partial, reduce

import llvmlite.binding
from llvmlite import ir
from numba.core import types
from numba.core.cgutils import alloca_once_value, bool_t, int32_t, intp_t, unpack_tuple
from numba.extending import intrinsic
from numba.np.arrayobj import _empty_nd_impl

from dae._machine_code import compile_once, write_c_call
from dae.compiler import _matrix, _threads
from dae.compiler._kernels import contiguous_arrays, write_writable
from dae.compiler._matrix import (
    ITEMSIZES,
    LINE,
    Matrix,
    buffer,
    ceiling,
    choose,
    first_lanes,
    larger,
    loop,
    number,
    share_of,
    smaller,
    spans,
    strips,
)
from dae.compiler._threads import wanted_blocks, write_shared

VERSION = 15
"""See `dae._machine_code.cache_key`."""

DEPTH = 264
"""Terms that a tile adds up at a time, at most: so few that those of b stay in the cache."""

ROWS, COLUMNS = 520, 2048
"""Rows and columns of a block of the result, at most: so few that they stay in the cache, and so
many that most minibatches are one block, for which b has to be read and copied only once."""

COPIED = {4: 400, 8: 200}
"""Rows of a block at most where tiles of a are copied, by the bytes of a number: so few that the
copy fits on the stack of a thread, which has half a megabyte on macOS."""

TALL = {5: 20, 10: 60}
"""From how many rows on strips of b are copied to where they lie close together, by the rows of a
tile."""

WIDE = {(5, False): 8, (5, True): 4, (10, True): 8}
"""From how many strips on tiles of a are copied, by the rows of a tile and whether a is transposed;
the terms must be as many as `DEEP`, and where a is not transposed, the rows as many as `TALL`."""

DEEP = 32
"""From how many terms on tiles of a are copied."""

BAND = 8
"""Columns of a tile that are copied before those of the next one, where a is transposed: so few
that what lies beside them in memory, and belongs to the next tile, is still in the cache then."""

APART = 5
"""Rows of a tile at most of which each is found by an address of its own, in a register, where LLVM
would go from one to the next by an addition."""

TOGETHER = 4
"""Terms that are added in one step of a loop where tiles and strips lie close together. What counts
the steps then takes few instructions, and the products the most of them: that helps above all
where something else runs on the same core."""

SHALLOW = {5: 32, 10: 64}
"""Up to how many terms, by the rows of a tile, the result is what is large, and written in the
order of its memory."""

SPEED = 400
"""What one core does in a nanosecond, about: multiplications, times the bytes of a number."""


@cache
def registers():
    """Return the bytes of a vector register, and the rows of a tile that is two of them wide."""
    features = llvmlite.binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 64, 10
    return (32 if features.get("avx") else 16), 5


def are_copied(a_transposed):
    """Return whether tiles of a are copied, if they are large enough.

    With registers of 64 bytes only those of a transposed a are, whose rows lie apart in memory: for
    the others it was measured with narrower registers alone, which need more numbers of a.
    """
    return a_transposed or registers()[0] < 64


def write_tile(builder, rows, width, mask, depth, out, c, alpha, a, b, ahead=None, together=1):
    """Write code that computes c + alpha a b, for a number of rows, columns and terms.

    A mask leaves out columns that there are not. What will be needed next is fetched into the
    cache: rows of a matrix, if any, beside those of b, and what lies below in c and the result.
    So many terms are added in one step of the loop, which is worth it where the steps of a and b
    are known: then it takes no instruction to find them.
    """
    fused = ["contract"]
    zeros = ir.VectorType(c.element, width)([0.0] * width)
    sums = [alloca_once_value(builder, zeros) for _ in range(rows)]  # LLVM makes them registers
    a_rows = [a.part(i, 0) for i in range(rows)]
    if a.row_step != 1 and rows <= APART:
        a_rows = [row.hidden() for row in a_rows]
    for i in range(rows):
        c.prefetch(i + rows, 0, width)
        out.prefetch(i + rows, 0, width)

    def write_step(k, terms):
        factors = [row.part(0, k) for row in a_rows]
        columns = b.part(k, 0)
        for term in range(terms):
            row = columns.load(term, 0, width, mask)
            if ahead is not None:
                ahead.part(k, 0).prefetch(term, 0, width)
            for i in range(rows):
                product = builder.fmul(factors[i].repeat(0, term, width), row, flags=fused)
                total = builder.load(sums[i], typ=zeros.type)
                builder.store(builder.fadd(total, product, flags=fused), sums[i])

    rest = builder.srem(depth, number(together))
    most = builder.sub(depth, rest)
    with loop(builder, most, together) as k:
        write_step(k, together)
    if together > 1:
        with loop(builder, rest) as k:
            write_step(builder.add(most, k), 1)
    # All are loaded before one is stored: processors let a load wait for a masked store nearby.
    totals = []
    for i in range(rows):
        total = builder.load(sums[i], typ=zeros.type)
        term = builder.fmul(alpha.repeat(0, 0, width), total, flags=fused)
        totals.append(builder.fadd(c.load(i, 0, width, mask), term, flags=fused))
    for i in range(rows):
        out.store(totals[i], i, 0, mask)


def transposed(builder, rows):
    """Return the columns of a square, as vectors, given its rows.

    Interleaving the upper rows with the lower ones, as often as it can be halved, transposes it.
    """
    side = len(rows)
    order = [i // 2 + side * (i % 2) for i in range(2 * side)]
    left, right = (ir.VectorType(int32_t, side)(half) for half in (order[:side], order[side:]))
    for _ in range(side.bit_length() - 1):
        pairs = zip(rows[: side // 2], rows[side // 2 :], strict=True)
        rows = [builder.shuffle_vector(*pair, half) for pair in pairs for half in (left, right)]
    return rows


def write_columns(builder, vector, width, there, mask, depth, b, columns):
    """Write code that copies columns of b to where they lie side by side."""
    if b.is_transposed:
        for k, side in spans(builder, depth, [vector, 1] if mask is None else [1]):
            with loop(builder, there, side) as j:
                rows = [b.T.part(j, k).load(i, 0, side) for i in range(side)]
                for i, column in enumerate(transposed(builder, rows)):
                    columns.part(k, j).store(column, i, 0)
    else:
        with loop(builder, depth) as k:
            columns.store(b.load(k, 0, width, mask), k, 0)


def tile_of(builder, depth, panels, i):
    """Return where the tile that begins at row i is copied to, and has a row for each column.

    Vectors are stored there whole: what is too much is overwritten by the next row, and there is
    room for one more behind the last.
    """
    return panels.part(0, builder.mul(i, builder.add(depth, number(1))))


def write_panels_of_rows(builder, vector, height, m, depth, a, panels):
    """Write code that copies a to where tile follows tile, column by column."""
    with loop(builder, m, height) as i:
        # The last tile may have fewer rows; then its last one is copied in their place.
        last = builder.sub(m, number(1))
        rows = [a.part(smaller(builder, builder.add(i, number(j)), last), 0) for j in range(height)]
        tile = tile_of(builder, depth, panels, i)
        for k, side in spans(builder, depth, [vector, 1]):
            squares = []
            for start in range(0, height, side):
                square = [row.load(0, k, side) for row in rows[start : start + side]]
                square += square[-1:] * (side - len(square))
                squares.append(transposed(builder, square))
            for within, parts in enumerate(zip(*squares, strict=True)):
                for j, part in enumerate(parts):
                    tile.part(k, 0).store(part, within, j * side)


def write_panels_of_columns(builder, vector, height, m, depth, a, panels):
    """Write code that does the same where columns are what lies together in memory."""
    with (
        loop(builder, depth, BAND) as first,
        loop(builder, m, height) as i,
        loop(builder, smaller(builder, builder.sub(depth, first), BAND)) as within,
    ):
        k = builder.add(first, within)
        there = smaller(builder, builder.sub(m, i), height)
        tile = tile_of(builder, depth, panels, i)
        for start in range(0, height, vector):
            mask = first_lanes(builder, vector, builder.sub(there, number(start)))
            tile.store(a.T.part(k, i).load(0, start, vector, mask), k, start)


def write_fetch(builder, width, depth, b, i, tiles):
    """Write code that fetches a share of b into the cache, while number i of the tiles is made."""
    share = ceiling(builder, depth, tiles)
    first = builder.mul(i, share)
    share = smaller(builder, share, builder.sub(depth, first))
    if b.is_transposed:
        line = LINE // b.itemsize
        with loop(builder, width) as j, loop(builder, share, line) as k:
            b.T.part(j, builder.add(first, k)).prefetch(0, 0, line)
    else:
        with loop(builder, share) as k:
            b.prefetch(builder.add(first, k), 0, width)


def write_product(builder, vector, height, m, n, depth, out, c, alpha, a, b):
    """Write code that computes c + alpha a b, strip by strip and tile by tile."""
    is_tall = builder.icmp_signed(">=", m, number(TALL[height]))
    tile_step, is_close = a.row_step, None
    if are_copied(a.is_transposed):
        tile_step, a, is_close = write_close_tiles(builder, vector, height, m, n, depth, is_tall, a)
    copies = buffer(builder, 2 * vector * DEPTH, b.element)
    tiles = larger(builder, builder.sdiv(m, number(height)), 1)
    for j, width, there, mask in strips(builder, vector, n):
        columns, copy = b.part(0, j), Matrix(builder, copies, b.element, width)
        following, ahead = b.part(0, builder.add(j, number(width))), None
        if b.is_transposed:
            write_columns(builder, vector, width, there, mask, depth, columns, copy)
            columns = copy
        else:
            ahead = following
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
            parts = rows, width, mask, depth, out.part(i, j), c.part(i, j), alpha
            if is_close is None or mask is not None or rows < height:
                write_tile(builder, *parts, tile, columns, ahead)
                continue
            with builder.if_else(is_close) as (close, apart):
                with close:
                    index = builder.sdiv(i, number(height))
                    write_fetch(builder, width, depth, following, index, tiles)
                    tile_of_copy = Matrix(builder, tile.start, a.element, 1, height)
                    write_tile(builder, *parts, tile_of_copy, copy, together=TOGETHER)
                with apart:
                    write_tile(builder, *parts, tile, columns, ahead)


def write_close_tiles(builder, vector, height, m, n, depth, is_tall, a):
    """Write code that copies a to where each tile lies close together, if that is worth it.

    Returns
    -------
    tile_step : llvmlite.ir.Value
        How far the rows of a tile are from those of the next, divided by the number of rows.
    a : Matrix
        The copy or a itself; its steps hold within a tile.
    is_close : llvmlite.ir.Value
        Whether it is the copy, and strips of b are copied as well (i1).
    """
    least = 2 * vector * WIDE[height, a.is_transposed]
    is_wide = builder.icmp_signed(">=", n, number(least))
    is_deep = builder.icmp_signed(">=", depth, number(DEEP))
    is_worth_it = builder.and_(is_wide, is_deep)
    is_close = builder.and_(is_worth_it, is_tall)
    if not a.is_transposed:
        is_worth_it = is_close
    room = buffer(builder, COPIED[a.itemsize] * (DEPTH + 1), a.element)
    panels = Matrix(builder, room, a.element, height)
    write_panels = write_panels_of_columns if a.is_transposed else write_panels_of_rows
    with builder.if_then(is_worth_it):
        write_panels(builder, vector, height, m, depth, a, panels)
    start, row_step, column_step, tile_step = (
        builder.select(is_worth_it, number(of_copy), number(of_a))
        for of_copy, of_a in [
            (panels.start, a.start),
            (1, a.row_step),
            (height, a.column_step),
            (builder.add(depth, number(1)), a.row_step),
        ]
    )
    if a.is_transposed:
        row_step = 1  # in either case, which is to be known
    return tile_step, Matrix(builder, start, a.element, row_step, column_step), is_close


def write_outer_products(builder, vector, rows, columns, out, c, alpha, products):
    """Write code that adds products of a column and a row to c, in the order of memory.

    That of tiles would take most of the time for finding the way from one to the next.
    """
    with loop(builder, rows) as i:
        for j, width, _, mask in strips(builder, 2 * vector, columns):
            scale, total = alpha.repeat(0, 0, width), c.load(i, j, width, mask)
            for a, b in products:
                term = builder.fmul(a.repeat(i, 0, width), b.load(0, j, width, mask))
                term = builder.fmul(scale, term, flags=["contract"])
                total = builder.fadd(total, term, flags=["contract"])
            out.store(total, i, j, mask)


def divided(builder, m, n, rows, terms, most, itemsize, height, width):
    """Return how to divide a result of m times n numbers, sums of so many terms, into blocks.

    Parameters
    ----------
    builder : llvmlite.ir.IRBuilder
    m, n : llvmlite.ir.Value
    rows : int
        Those of a block at most.
    terms : llvmlite.ir.Value
        Those of both products, if there are two.
    most : llvmlite.ir.Value
        Those of the product that has more.
    itemsize : int
        Bytes of a number.
    height, width : int
        Rows and columns of a tile.

    Returns
    -------
    down, across : llvmlite.ir.Value
        How many blocks there are one above the other, and side by side.
    blocks : llvmlite.ir.Value
        How many there are in all; minus that many, if they are too little work to be shared.
    """
    size = builder.mul(m, n)
    work = builder.mul(builder.mul(size, terms), number(itemsize))
    wanted = wanted_blocks(builder, builder.sdiv(work, number(SPEED)))
    is_deep = builder.icmp_signed(">", most, number(SHALLOW[height]))
    rows = builder.select(is_deep, number(rows), number(2 * height))
    down = larger(builder, ceiling(builder, m, rows), 1)
    fitting = builder.sdiv(n, number(2 * width))
    across = smaller(builder, ceiling(builder, wanted, down), fitting)
    across = larger(builder, ceiling(builder, n, COLUMNS), larger(builder, across, 1))
    fitting = builder.sdiv(m, number(height))
    down = larger(builder, down, smaller(builder, ceiling(builder, wanted, across), fitting))
    blocks = builder.mul(down, across)
    is_shared = builder.icmp_signed(">", wanted, number(1))
    blocks = builder.select(is_shared, blocks, builder.neg(blocks))
    is_empty = builder.icmp_signed("==", size, number(0))
    return down, across, builder.select(is_empty, number(0), blocks)


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
    register_size, height = registers()
    itemsize = ITEMSIZES[element]
    vector = register_size // itemsize
    width = 2 * vector
    facts = n_products, dtype, int(a_transposed), int(b_transposed), register_size, height
    name = "_".join(map(str, ["dae_add_products", *facts]))

    def write(library, builder, out, m, n, c, c_step, alpha, *factors):
        terms = [terms for *_, terms in products_of(builder, factors)]
        together, most = reduce(builder.add, terms), reduce(partial(larger, builder), terms)
        rows = COPIED[itemsize] if are_copied(a_transposed) else ROWS
        down, across, blocks = divided(builder, m, n, rows, together, most, itemsize, height, width)
        values = [down, across, out, m, n, c, c_step, alpha, *factors]
        write_shared(builder, blocks, values, write_block)
        return bool_t(False)

    def write_block(builder, index, down, across, out, m, n, c, c_step, alpha, *factors):
        out, c = Matrix(builder, out, element, n), Matrix(builder, c, element, c_step)
        alpha = Matrix(builder, alpha, element, 0)
        i, rows = share_of(builder, m, height, builder.sdiv(index, across), down)
        j, columns = share_of(builder, n, width, builder.srem(index, across), across)
        out, c = out.part(i, j), c.part(i, j)
        products = products_of(builder, factors)
        if a_transposed and not b_transposed:
            with builder.if_then(have_terms(builder, builder.and_, products, 1)):
                parts = [(a.part(i, 0), b.part(0, j)) for a, b, _ in products]
                write_outer_products(builder, vector, rows, columns, out, c, alpha, parts)
                builder.ret_void()
        # Without terms, nothing below would write the result.
        with builder.if_then(have_terms(builder, builder.or_, products, 0), likely=False):
            write_outer_products(builder, vector, rows, columns, out, c, alpha, [])
        with loop(builder, n_products) as product:
            chosen = [choose(builder, product, factors[place::6]) for place in range(6)]
            a, b, terms = matrices(builder, *chosen)
            # The parts of a sum are of the same length, which depends on nothing else.
            n_parts = larger(builder, ceiling(builder, terms, DEPTH), 1)
            depth = ceiling(builder, terms, n_parts)
            with loop(builder, terms, depth) as k:
                some = smaller(builder, builder.sub(terms, k), depth)
                builder.assume(builder.icmp_signed(">", some, number(0)))
                # The first part of the sum is added to c, the others to what there is then.
                is_first = builder.icmp_signed("==", builder.or_(product, k), number(0))
                start = builder.select(is_first, c.start, out.start)
                step = builder.select(is_first, c_step, n)
                parts = Matrix(builder, start, element, step), alpha, a.part(i, k), b.part(k, j)
                write_product(builder, vector, height, rows, columns, some, out, *parts)

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
        _matrix,
        _threads,
    )

    return name
