"""One block of a matrix product, in vector instructions.

The result is made in tiles, of as many rows and columns as there are registers for: a part of a
row of b is loaded once, and multiplied by one number of each row of a. What lies above each other
in the result are tiles of a; what lies side by side are strips of b. Where it pays, they are copied
to where their numbers lie close together.
"""

from functools import cache, partial

import llvmlite.binding
from llvmlite import ir
from numba.core.cgutils import alloca_once_value, int32_t

from dae.compiler._copies import (
    tile_of,
    transposed,
    write_columns,
    write_tiles_from_columns,
    write_tiles_from_rows,
)
from dae.compiler._matrix import (
    LINE,
    UNROLLED,
    Matrix,
    buffer,
    ceiling,
    larger,
    loop,
    number,
    smaller,
    spans,
    strips,
)

VERSION = 3
"""See `dae._machine_code.cache_key`."""

DEPTH = 264
"""Terms that a tile adds up at a time, at most: so few that those of b stay in the cache."""

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

BROAD, BELOW = 8, 8
"""Vectors that are read of a row of b for a result of few rows, and how many rows further down the
next are fetched."""

APART = 5
"""Rows of a tile at most of which each is found by an address of its own, in a register, where LLVM
would go from one to the next by an addition."""


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


def write_tile(
    builder, rows, width, mask, depth, out, c, alpha, a, b, mask_of_b=None, ahead=None, together=1
):
    """Write code that computes c + alpha a b, for a number of rows, columns and terms.

    Masks leave out columns that there are not, of the result and of b. What will be needed next is
    fetched into the cache: rows of a matrix, if any, beside those of b, and what lies below in c
    and the result. So many terms are added in one step of the loop, which is worth it where the
    columns of a are a known step apart: then it takes no instruction to find them.
    """
    fused = ["contract"]
    zeros = ir.VectorType(c.element, width)([0.0] * width)
    sums = [alloca_once_value(builder, zeros) for _ in range(rows)]  # LLVM makes them registers
    a_rows = [a.part(i, 0) for i in range(rows)]
    if a.row_step != 1 and (rows <= APART or together > 1):
        a_rows = [row.hidden() for row in a_rows]
    for i in range(rows):
        c.prefetch(i + rows, 0, width)
        out.prefetch(i + rows, 0, width)

    for k, terms in spans(builder, depth, [together, 1] if together > 1 else [1]):
        factors = [row.part(0, k) for row in a_rows]
        columns = b.part(k, 0)
        for term in range(terms):
            row = columns.load(term, 0, width, mask_of_b)
            if ahead is not None:
                ahead.part(k, 0).prefetch(term, 0, width)
            for i in range(rows):
                product = builder.fmul(factors[i].repeat(0, term, width), row, flags=fused)
                total = builder.load(sums[i], typ=zeros.type)
                builder.store(builder.fadd(total, product, flags=fused), sums[i])

    # All are loaded before one is stored: processors let a load wait for a masked store nearby.
    totals = []
    for i in range(rows):
        total = builder.load(sums[i], typ=zeros.type)
        term = builder.fmul(alpha.repeat(0, 0, width), total, flags=fused)
        totals.append(builder.fadd(c.load(i, 0, width, mask), term, flags=fused))
    for i in range(rows):
        out.store(totals[i], i, 0, mask)


def write_fetch(builder, width, depth, b, i, n_tiles):
    """Write code that fetches a share of b into the cache, while number i of the tiles is made."""
    share = ceiling(builder, depth, n_tiles)
    first = builder.mul(i, share)
    share = smaller(builder, share, builder.sub(depth, first))
    if b.is_transposed:
        line = LINE // b.itemsize
        with loop(builder, width) as j, loop(builder, share, line) as k:
            b.T.part(j, builder.add(first, k)).prefetch(0, 0, line)
    else:
        with loop(builder, share, UNROLLED) as k:
            for row in range(UNROLLED):
                b.part(builder.add(first, k), 0).prefetch(row, 0, width)


def write_product(builder, vector, height, m, n, depth, out, c, alpha, a, b):
    """Write code that computes c + alpha a b, strip by strip and tile by tile."""
    is_tall = builder.icmp_signed(">=", m, number(TALL[height]))
    # Whether a number of a is found from where its row begins, and registers can hold that.
    has_rows = not a.is_transposed and height <= APART
    is_close = None
    if are_copied(a.is_transposed):
        tiles, has_tiles, is_close = write_tiles(builder, vector, height, m, n, depth, is_tall, a)
    done = write_few_rows(builder, vector, height, m, n, depth, out, c, alpha, a, b)
    n = builder.sub(n, done)
    out, c, b = (matrix.part(0, done) for matrix in (out, c, b))
    copies = buffer(builder, 2 * vector * DEPTH, b.element)
    n_tiles = larger(builder, builder.sdiv(m, number(height)), 1)

    def rows_from(i):
        """Return the rows from number i on, as many as there are in one tile, of a or its copy."""
        if not a.is_transposed:
            return a.part(i, 0)
        within = builder.srem(i, number(height))
        copy = tile_of(builder, depth, tiles, builder.sub(i, within)).T.part(within, 0)
        start = builder.select(has_tiles, copy.start, a.part(i, 0).start)
        step = builder.select(has_tiles, number(height), a.column_step)
        return Matrix(builder, start, a.element, 1, step)

    for j, width, there, mask in strips(builder, vector, n):
        columns, copy = b.part(0, j), Matrix(builder, copies, b.element, width)
        following = b.part(0, builder.add(j, number(width)))
        # The last strip is soon copied: that pays for a single tile.
        is_last = has_rows and mask is not None
        ahead = None if is_last or b.is_transposed else following
        if b.is_transposed:
            write_columns(builder, vector, width, there, mask, depth, columns, copy)
            columns = copy
        else:
            least = number(height if is_last else TALL[height])
            is_copied = builder.icmp_signed(">=", m, least)
            with builder.if_then(is_copied):
                write_columns(builder, vector, width, there, mask, depth, columns, copy)
            start = builder.select(is_copied, copy.start, columns.start)
            step = builder.select(is_copied, number(width), number(columns.row_step))
            columns = Matrix(builder, start, b.element, step)
        # With one vector to a row, sums of two tiles at a time keep the processor busy.
        heights = [2 * height, height, 1] if has_rows and width == vector else [height, 1]
        for i, rows in spans(builder, m, heights):
            parts = rows, width, mask, depth, out.part(i, j), c.part(i, j), alpha
            together = UNROLLED if has_rows and rows > 1 else 1
            strip = (copy, None) if is_last and rows > 1 else (columns, mask)
            if mask is not None or rows != height or is_close is None:
                write_tile(builder, *parts, rows_from(i), *strip, ahead, together)
                continue
            index = builder.sdiv(i, number(height))
            fetch = partial(write_fetch, builder, width, depth, following, index, n_tiles)
            with builder.if_else(is_close) as (close, apart):
                with close:
                    fetch()
                    tile = tile_of(builder, depth, tiles, i).T
                    write_tile(builder, *parts, tile, copy, together=UNROLLED)
                with apart:
                    if has_rows:
                        fetch()
                    beside = None if has_rows else ahead
                    write_tile(builder, *parts, rows_from(i), *strip, beside, together)


def write_few_rows(builder, vector, height, m, n, depth, out, c, alpha, a, b):
    """Write code that computes a result of fewer rows than a tile, and return how much of it.

    All of b has to come from memory for them, and comes fastest where what is read of each of its
    rows is long. It is still in the cache for the second row of the result; but where columns are
    what lies together in memory, a copy of them already pays for two rows.
    """
    width, most = (2, 1) if b.is_transposed else (BROAD, height - 1)
    width *= vector
    are_few = builder.icmp_signed("<=", m, number(most))
    end = builder.sub(n, builder.srem(n, number(width)))
    done = builder.select(are_few, end, number(0))
    with loop(builder, done, width) as j, loop(builder, m) as i:
        parts = depth, out.part(i, j), c.part(i, j), alpha, a.part(i, 0), b.part(0, j)
        if b.is_transposed:
            write_dot_products(builder, vector, *parts)
        else:
            write_tile(builder, 1, width, None, *parts, ahead=b.part(BELOW, j))
    return done


def write_dot_products(builder, vector, depth, out, c, alpha, a, b):
    """Write code that computes two vectors of a row, where columns of b lie in memory."""
    fused = ["contract"]
    following = b.part(0, 2 * vector)
    zeros = ir.VectorType(c.element, vector)([0.0] * vector)
    parts = [(j, alloca_once_value(builder, zeros)) for j in (0, vector)]
    for k, side in spans(builder, depth, [vector, 1]):
        for j, total in parts:
            rows = [b.T.part(j, k).load(i, 0, side) for i in range(vector)]
            for i in range(vector):
                following.T.part(j, k).prefetch(i, 0, 1)
            columns = transposed(builder, rows) if side > 1 else [gathered(builder, rows)]
            for i, column in enumerate(columns):
                product = builder.fmul(a.part(0, k).repeat(0, i, vector), column, flags=fused)
                sums = builder.load(total, typ=zeros.type)
                builder.store(builder.fadd(sums, product, flags=fused), total)
    for j, total in parts:
        sums = builder.load(total, typ=zeros.type)
        term = builder.fmul(alpha.repeat(0, 0, vector), sums, flags=fused)
        out.store(builder.fadd(c.load(0, j, vector), term, flags=fused), 0, j)


def gathered(builder, rows):
    """Return the only column of some rows, as a vector."""
    column = ir.VectorType(rows[0].type.element, len(rows))(ir.Undefined)
    for i, row in enumerate(rows):
        element = builder.extract_element(row, int32_t(0))
        column = builder.insert_element(column, element, int32_t(i))
    return column


def write_tiles(builder, vector, height, m, n, depth, is_tall, a):
    """Write code that copies a to where each tile lies close together, if that is worth it.

    Returns
    -------
    tiles : Matrix
        Where the copy is; see `tile_of`.
    has_tiles : llvmlite.ir.Value
        Whether there is one (i1).
    is_close : llvmlite.ir.Value
        Whether strips of b are copied as well (i1).
    """
    least = 2 * vector * WIDE[height, a.is_transposed]
    is_wide = builder.icmp_signed(">=", n, number(least))
    is_deep = builder.icmp_signed(">=", depth, number(DEEP))
    has_tiles = builder.and_(is_wide, is_deep)
    is_close = builder.and_(has_tiles, is_tall)
    if not a.is_transposed:
        has_tiles = is_close
    room = buffer(builder, COPIED[a.itemsize] * (DEPTH + 1), a.element)
    tiles = Matrix(builder, room, a.element, height)
    write = write_tiles_from_columns if a.is_transposed else write_tiles_from_rows
    with builder.if_then(has_tiles):
        write(builder, vector, height, m, depth, a, tiles)
    return tiles, has_tiles, is_close


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
