"""`read_data(lazy=True)`: rows that stay in their file until they are used."""

import gzip
import os
import pickle
import subprocess
import sys
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from dae.datasets import DataError, FileRows, read_data, to_floatX
from dae.datasets._rows import stamp_of

BYTES = np.random.RandomState(1).randint(256, size=(40, 12)).astype("uint8")


def save(path, x):
    """Save an array and return its rows, in the file."""
    np.save(path, x)
    [rows, y], *_ = read_data(path, lazy=True)
    assert isinstance(rows, FileRows)
    assert y is None
    return rows


@pytest.fixture
def rows(tmp_path):
    return save(tmp_path / "data.npy", BYTES)


# What they hold


@pytest.mark.parametrize("dtype", ["u1", "<f2", "<f4", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize("sides", [(12,), (4, 3)])
def test_rows_are_those_that_are_read_otherwise(dtype, sides, tmp_path):
    x = (BYTES if dtype == "u1" else BYTES / 256).astype(dtype).reshape(-1, *sides)
    rows = save(tmp_path / "data.npy", x)
    eager, lazy = read_data(tmp_path / "data.npy"), read_data(tmp_path / "data.npy", lazy=True)
    assert lazy.image_shape == eager.image_shape
    expected = eager.train[0]
    assert (len(rows), rows.shape, rows.ndim) == (40, (40, 12), 2)
    assert rows.dtype == expected.dtype
    for part, expected_part in [
        (rows, expected),
        (rows[:0], expected[:0]),
        (rows[7:9], expected[7:9]),
        (rows[-3:100], expected[-3:]),
        (rows[9:7], expected[9:7]),
        (rows[5:30][10:12], expected[15:17]),
        (rows[[7, 0, 39, 7]], expected[[7, 0, 39, 7]]),
        (rows[5:30][np.array([24, 0], "uint8")], expected[[29, 5]]),
        (rows[np.zeros(0, int)], expected[:0]),
        (rows[1:30:7], expected[1:30:7]),
        (rows[5:30][::-9], expected[5:30][::-9]),
    ]:
        assert part.shape == expected_part.shape
        array = np.asarray(part)
        assert array.dtype == expected.dtype
        assert array.flags.c_contiguous
        assert array.flags.writeable
        np.testing.assert_array_equal(array, expected_part)
    for floatX in ("float32", "float64"):
        np.testing.assert_array_equal(to_floatX(rows, floatX), to_floatX(expected, floatX))
        for array in (rows.astype(floatX)[3:8], rows.astype(floatX)[[3, 4, 5, 6, 7]]):
            assert np.asarray(array).dtype == floatX
            np.testing.assert_array_equal(array, expected[3:8].astype(floatX))


def test_the_parts_that_a_file_lacks_are_arrays(rows):
    _, valid, test, *_ = read_data(rows.path, lazy=True)
    for x, y in (valid, test):
        assert isinstance(x, np.ndarray)
        assert (x.shape, x.dtype, y) == ((0, 12), np.uint8, None)


def test_rows_that_do_not_lie_together_are_read_at_once(tmp_path):
    path = tmp_path / "data.npy"
    np.save(path, np.asfortranarray(BYTES))
    in_fortrans_order = read_data(path, lazy=True).train[0]
    np.save(path, BYTES)
    path.write_bytes(gzip.compress(path.read_bytes()))
    packed = read_data(path, lazy=True).train[0]
    np.savez(tmp_path / "data.npz", train_x=BYTES)
    archived = read_data(tmp_path / "data.npz", lazy=True).train[0]
    for x in (in_fortrans_order, packed, archived):
        assert isinstance(x, np.ndarray)
        np.testing.assert_array_equal(x, BYTES)


def test_a_copy_in_another_process_reads_the_same(rows):
    program = (
        "import pickle, sys, numpy\n"
        "rows = pickle.load(sys.stdin.buffer)\n"
        "sys.stdout.buffer.write(numpy.asarray(rows[3:5]).tobytes())"
    )
    process = subprocess.run(
        [sys.executable, "-c", program], input=pickle.dumps(rows), capture_output=True, check=True
    )
    assert process.stdout == BYTES[3:5].tobytes()


@pytest.mark.parametrize(
    "index", [3, None, [0.5], [[1]], [True] * 40, "x", (1, 2), (slice(3), 2), ...]
)
def test_rows_are_chosen_by_slices_and_vectors_of_integers_only(index, rows):
    with pytest.raises(IndexError, match="expected a slice, or a vector of integers"):
        rows[index]


@pytest.mark.parametrize("index", [[40], [-1], [3, 40, 2]])
def test_rows_that_there_are_not_are_refused(index, rows):
    with pytest.raises(IndexError, match="there are 40 rows"):
        rows[index]


# What it takes


def test_only_what_is_used_is_read(tmp_path):
    rows = save(tmp_path / "data.npy", np.resize(np.arange(256, dtype="uint8"), (10_000, 1000)))
    tracemalloc.start()
    try:
        np.asarray(rows[2000:2100])
        rows[np.arange(0, 10_000, 100)]
        assert tracemalloc.get_traced_memory()[1] < 2e5
    finally:
        tracemalloc.stop()


def test_more_than_the_memory_holds_is_refused_where_it_is_read(tmp_path):
    path = tmp_path / "data.npy"
    header = {"descr": "|u1", "fortran_order": False, "shape": (10**6, 2**20)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        end = file.tell() + 10**6 * 2**20
        file.write(bytes(range(256)))
        file.truncate(end)  # a terabyte of zeros, which takes no room
    rows = read_data(path, lazy=True).train[0]
    assert rows[[999_999]].sum() == 0
    with pytest.raises(DataError, match=r"data\.npy: would take 1,048,576 MB of memory"):
        np.asarray(rows)


# What is no data set


def test_a_file_that_is_not_whole_or_too_long_is_refused(rows):
    content = rows.path.read_bytes()
    for damaged in (*(content[:size] for size in range(len(content))), content + b"x"):
        rows.path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"data\.npy"):
            read_data(rows.path, lazy=True)


@pytest.mark.parametrize(
    "x",
    [np.zeros(4, "uint8"), np.zeros((2, 2), int), np.zeros((0, 4)), np.array([[None]])],
    ids=["one dimension", "integers", "no images", "objects"],
)
def test_arrays_that_are_no_images_are_refused(x, tmp_path):
    np.save(tmp_path / "data.npy", x)
    with pytest.raises(DataError, match=r"data\.npy"):
        read_data(tmp_path / "data.npy", lazy=True)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1.001, -0.001])
@pytest.mark.parametrize("dtype", ["<f4", ">f8"])
def test_floats_that_are_no_pixels_are_refused_where_they_are_read(value, dtype, tmp_path):
    x = np.resize((BYTES / 256).astype(dtype), (3000, 12))
    x[20, 3] = value  # of so many rows, read_data looks at every third
    rows = save(tmp_path / "data.npy", x)
    np.testing.assert_array_equal(rows[:20], x[:20])
    np.testing.assert_array_equal(rows[[19, 21]], x[[19, 21]])
    for read in (lambda: np.asarray(rows), lambda: np.asarray(rows[15:25]), lambda: rows[[20]]):
        with pytest.raises(DataError, match=r"data\.npy: images must be bytes .* in \[0, 1\]"):
            read()


# A file that changes


def cut_off(path):
    os.truncate(path, path.stat().st_size // 2)


def extend(path):
    with path.open("ab") as file:
        file.write(b"x")


def overwrite(path):
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1_000_000))


def replace_file(path):
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(0, path.stat().st_mtime_ns))
    os.replace(other, path)


@pytest.mark.parametrize("change", [cut_off, extend, overwrite, replace_file])
@pytest.mark.parametrize("read", [lambda rows: np.asarray(rows[:2]), lambda rows: rows[[0, 39]]])
def test_a_file_that_has_changed_is_an_error(change, read, rows):
    read(rows)
    change(rows.path)
    with pytest.raises(OSError, match="cut off or changed while it is in use") as error:
        read(rows)
    assert error.value.filename == str(rows.path)


def test_a_file_that_is_cut_off_just_now_is_an_error(rows):
    cut_off(rows.path)
    with rows.path.open("rb") as file:
        rows = replace(rows, stamp=stamp_of(file))
    np.testing.assert_array_equal(rows[:10], BYTES[:10])
    with pytest.raises(OSError, match="cut off or changed while it is in use"):
        np.asarray(rows)


def test_a_file_that_is_gone_is_an_error(rows):
    rows.path.unlink()
    with pytest.raises(FileNotFoundError) as error:
        np.asarray(rows)
    assert error.value.filename == str(rows.path)
