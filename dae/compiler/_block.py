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

from dae.compiler._matrix import (
    LINE,
    Matrix,
    buffer,
    ceiling,
    first_lanes,
    larger,
    loop,
    number,
    smaller,
    spans,
    strips,
)

VERSION = 2
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

BAND = 8
"""Columns of a tile that are copied before those of the next one, where a is transposed: so few
that what lies beside them in memory, and belongs to the next tile, is still in the cache then."""

BROAD, BELOW = 8, 8
"""Vectors that are read of a row of b for a result of a single row, and how many rows further down
the next are fetched."""

APART = 5
"""Rows of a tile at most of which each is found by an address of its own, in a register, where LLVM
would go from one to the next by an addition."""

TOGETHER = 4
"""Terms that are added in one step of a loop where it takes no instruction to find those of a. What
counts the steps then takes few instructions, and the products the most of them: that helps above
all where something else runs on the same core."""


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

    def write_step(k, terms):
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


def tile_of(builder, depth, tiles, i):
    """Return where the tile that begins at row i is copied to, and has a row for each column.

    Vectors are stored there whole: what is too much is overwritten by the next row, and there is
    room for one more behind the last.
    """
    return tiles.part(0, builder.mul(i, builder.add(depth, number(1))))


def write_tiles_from_rows(builder, vector, height, m, depth, a, tiles):
    """Write code that copies a to where tile follows tile, column by column."""
    with loop(builder, m, height) as i:
        # The last tile may have fewer rows; then its last one is copied in their place.
        last = builder.sub(m, number(1))
        rows = [a.part(smaller(builder, builder.add(i, number(j)), last), 0) for j in range(height)]
        tile = tile_of(builder, depth, tiles, i)
        for k, side in spans(builder, depth, [vector, 1]):
            squares = []
            for start in range(0, height, side):
                square = [row.load(0, k, side) for row in rows[start : start + side]]
                square += square[-1:] * (side - len(square))
                squares.append(transposed(builder, square))
            for within, parts in enumerate(zip(*squares, strict=True)):
                for j, part in enumerate(parts):
                    tile.part(k, 0).store(part, within, j * side)


def write_tiles_from_columns(builder, vector, height, m, depth, a, tiles):
    """Write code that does the same where columns are what lies together in memory."""
    with (
        loop(builder, depth, BAND) as first,
        loop(builder, m, height) as i,
        loop(builder, smaller(builder, builder.sub(depth, first), BAND)) as within,
    ):
        k = builder.add(first, within)
        there = smaller(builder, builder.sub(m, i), height)
        tile = tile_of(builder, depth, tiles, i)
        for start in range(0, height, vector):
            mask = first_lanes(builder, vector, builder.sub(there, number(start)))
            tile.store(a.T.part(k, i).load(0, start, vector, mask), k, start)


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
        with loop(builder, share) as k:
            b.prefetch(builder.add(first, k), 0, width)


def write_product(builder, vector, height, m, n, depth, out, c, alpha, a, b):
    """Write code that computes c + alpha a b, strip by strip and tile by tile."""
    is_tall = builder.icmp_signed(">=", m, number(TALL[height]))
    # Whether a number of a is found from where its row begins, and registers can hold that.
    has_rows = not a.is_transposed and height <= APART
    is_close = None
    if are_copied(a.is_transposed):
        tiles, has_tiles, is_close = write_tiles(builder, vector, height, m, n, depth, is_tall, a)
    if not b.is_transposed:
        done = write_single_row(builder, vector, m, n, depth, out, c, alpha, a, b)
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
            together = TOGETHER if has_rows and rows > 1 else 1
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
                    write_tile(builder, *parts, tile, copy, together=TOGETHER)
                with apart:
                    if has_rows:
                        fetch()
                    beside = None if has_rows else ahead
                    write_tile(builder, *parts, rows_from(i), *strip, beside, together)


def write_single_row(builder, vector, m, n, depth, out, c, alpha, a, b):
    """Write code that computes the result if it is a single row, and return how much of it.

    All of b has to come from memory for that row, and comes fastest where what is read of each of
    its rows is long.
    """
    width = BROAD * vector
    is_single = builder.icmp_signed("==", m, number(1))
    end = builder.sub(n, builder.srem(n, number(width)))
    done = builder.select(is_single, end, number(0))
    with loop(builder, done, width) as j:
        parts = out.part(0, j), c.part(0, j), alpha, a, b.part(0, j)
        write_tile(builder, 1, width, None, depth, *parts, ahead=b.part(BELOW, j))
    return done


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
