"""Copies of parts of matrices for a product, made where their numbers lie close together.

Tiles are rows of a, strips columns of b; see `_block`.
"""

from llvmlite import ir
from numba.core.cgutils import int32_t

from dae.compiler._matrix import ITEMSIZES, UNROLLED, first_lanes, loop, number, smaller, spans

VERSION = 1
"""See `dae._machine_code.cache_key`."""

BAND = 8
"""Columns of a tile that are copied before those of the next one, where a is transposed: so few
that what lies beside them in memory, and belongs to the next tile, is still in the cache then."""


def transposed(builder, rows):
    """Return the columns of a square, as vectors, given its rows.

    Interleaving the upper rows with the lower ones, as often as they can be halved, transposes it.
    That is done to the numbers of each 16 bytes, then to these as a whole: for either, most
    processors have one instruction.
    """
    side = len(rows)
    unit = min(side, 16 // ITEMSIZES[rows[0].type.element])
    parts = [interleaved(builder, rows[i : i + unit], unit, 1) for i in range(0, side, unit)]
    columns = [interleaved(builder, some, side, unit) for some in zip(*parts, strict=True)]
    return [column for some in zip(*columns, strict=True) for column in some]


def interleaved(builder, rows, span, unit):
    """Return rows interleaved as by `transposed`, in spans of elements; units stay together."""
    size = rows[0].type.count
    halves = []
    for start in (0, span // 2):
        order = []
        for place in range(0, size, unit):
            span_before, within = place - place % span, place % span // unit
            first = span_before + start + within // 2 * unit + size * (within % 2)
            order += range(first, first + unit)
        halves.append(ir.VectorType(int32_t, size)(order))
    for _ in range(len(rows).bit_length() - 1):
        pairs = zip(rows[: len(rows) // 2], rows[len(rows) // 2 :], strict=True)
        rows = [builder.shuffle_vector(*pair, half) for pair in pairs for half in halves]
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
        for k, rows in spans(builder, depth, [UNROLLED, 1]):
            some, same = b.part(k, 0), columns.part(k, 0)
            for row in range(rows):
                same.store(some.load(row, 0, width, mask), row, 0)


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
