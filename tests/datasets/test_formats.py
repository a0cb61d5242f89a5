"""All formats: whatever a file holds, it is read, or refused with a `DataError`."""

import contextlib
import gzip
import io
import os
import pickle
import re
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dae.datasets import DataError, read_data, to_floatX

# The pixels of the arrays here, unlike those of images, need not vary.
pytestmark = pytest.mark.filterwarnings("ignore:.*hardly vary")

# How many damaged files are tried of each format. In full: DAE_FUZZ_EXAMPLES=20000 pytest ...
FUZZ_EXAMPLES = int(os.environ.get("DAE_FUZZ_EXAMPLES", "200"))


def idx_bytes(array, *, magic=b"\0\0\x08"):
    return magic + struct.pack(f">B{array.ndim}I", array.ndim, *array.shape) + array.tobytes()


def npy_bytes(array, version=None):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version)
    return file.getvalue()


def npz_bytes(members, method=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), content, method)
    return file.getvalue()


X = (np.arange(60) % 256).astype("uint8").reshape(5, 4, 3)
Y = np.arange(5, dtype="uint8")
MNIST = {
    "train-images-idx3-ubyte": idx_bytes(X),
    "train-labels-idx1-ubyte": idx_bytes(Y),
    "t10k-images-idx3-ubyte": idx_bytes(X[:2]),
    "t10k-labels-idx1-ubyte": idx_bytes(Y[:2]),
}
MEMBERS = {
    "train_x": npy_bytes(X),
    "train_y": npy_bytes(Y),
    "valid_x": npy_bytes(X[:1]),
    "test_x": npy_bytes(X[:2]),
}
PAIRS = [(X.reshape(5, 12) / np.float32(256), Y.astype("int64"))] * 3

# Each way to read a file, with the good content that is going to be damaged and what it is called.
FILES = {
    "IDX images": ("train-images-idx3-ubyte", MNIST["train-images-idx3-ubyte"]),
    "IDX labels": ("train-labels-idx1-ubyte", MNIST["train-labels-idx1-ubyte"]),
    "gzipped IDX": ("train-images-idx3-ubyte.gz", gzip.compress(MNIST["train-images-idx3-ubyte"])),
    "npy of bytes": ("data.npy", npy_bytes(X)),
    "npy of floats": ("data.npy", npy_bytes(np.asfortranarray(PAIRS[0][0]), (2, 0))),
    "npz": ("data.npz", npz_bytes(MEMBERS)),
    "npz, stored": ("data.npz", npz_bytes(MEMBERS, zipfile.ZIP_STORED)),
    "pickle, protocol 0": ("data.pkl", pickle.dumps(PAIRS, 0)),
    "pickle, protocol 2": ("data.pkl", pickle.dumps(PAIRS, 2)),
    "pickle, protocol 4": ("data.pkl", pickle.dumps(PAIRS, 4)),
    "pickle, protocol 5": ("data.pkl", pickle.dumps(PAIRS, 5)),
    "gzipped pickle": ("data.pkl.gz", gzip.compress(pickle.dumps(PAIRS, 2))),
}


class Folder:
    """A folder to read one file from, among the good files that it needs beside it."""

    def __init__(self, path):
        self.path = path

    def read(self, name, content):
        """Put `content` into the file `name` and read the data set that it is part of."""
        for old in self.path.iterdir():
            old.unlink()
        is_idx = name.removesuffix(".gz") in MNIST
        if is_idx:
            for other, good in MNIST.items():
                if other != name.removesuffix(".gz"):
                    (self.path / other).write_bytes(good)
        (self.path / name).write_bytes(content)
        return read_data(self.path if is_idx else self.path / name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return Folder(tmp_path_factory.mktemp("data"))


@contextlib.contextmanager
def memory_below(limit):
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < limit


def assert_refused(folder, name, content):
    with pytest.raises(DataError) as refusal:
        folder.read(name, content)
    message = str(refusal.value)
    assert message.startswith(str(folder.path / name))
    assert message.isprintable()
    assert len(message) < len(str(folder.path / name)) + 300
    return message


@pytest.mark.parametrize("kind", FILES)
def test_a_good_file_is_read(kind, folder):
    x, _ = folder.read(*FILES[kind]).train
    np.testing.assert_array_equal(to_floatX(x, "float32"), PAIRS[0][0])


@pytest.mark.parametrize("kind", FILES)
def test_a_file_truncated_anywhere_is_refused(kind, folder):
    name, content = FILES[kind]
    for size in range(len(content)):
        assert_refused(folder, name, content[:size])


@pytest.mark.parametrize("kind", FILES)
def test_bytes_after_the_data_are_refused(kind, folder):
    name, content = FILES[kind]
    for tail in (b"x", b"\xff" * 100, content):
        assert_refused(folder, name, content + tail)


@pytest.mark.parametrize("kind", ["gzipped IDX", "npz", "npz, stored", "gzipped pickle"])
def test_a_wrong_bit_in_a_packed_file_is_found_or_changes_nothing(kind, folder):
    name, content = FILES[kind]
    good = folder.read(name, content)
    refused = 0
    for position in range(len(content)):
        wrong = bytearray(content)
        wrong[position] ^= 0x80
        try:
            dataset = folder.read(name, wrong)
        except DataError:
            refused += 1
        else:  # a date or the like
            for pair, good_pair in zip(dataset[:3], good[:3], strict=True):
                for array, good_array in zip(pair, good_pair, strict=True):
                    np.testing.assert_array_equal(array, good_array)
    assert refused > len(content) / 2


# Headers that lie


@pytest.mark.parametrize(
    "content",
    [
        idx_bytes(X, magic=b"\0\0\x0d"),
        idx_bytes(X, magic=b"\0\1\x08"),
        idx_bytes(X.reshape(5, 12)),
        idx_bytes(X.reshape(5, 4, 3, 1)),
        idx_bytes(X[:0]),
        idx_bytes(X[:, :0]),
        b"\0\0\x08\x03" + b"\xff" * 12,
        b"\0\0\x08\x03" + struct.pack(">3I", 0, 2**32 - 1, 2**32 - 1),
        b"\0\0\x08\x03" + struct.pack(">3I", 60_000, 28, 28) + bytes(1000),
        b"\0\0\x08\x01" + struct.pack(">I", 2**31) + bytes(1000),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_an_idx_header_that_lies_is_refused(content, pack, folder):
    with memory_below(3e6), pytest.raises(DataError):
        folder.read("train-images-idx3-ubyte", pack(content))
    with memory_below(3e6), pytest.raises(DataError):
        folder.read("train-labels-idx1-ubyte", pack(content))


def npy_with(header, version=1, size=None):
    size = len(header) if size is None else size
    return (
        b"\x93NUMPY"
        + bytes([version, 0])
        + size.to_bytes(2 if version == 1 else 4, "little")
        + header.encode()
        + X.tobytes()
    )


GOOD_HEADER = "{'descr': '|u1', 'fortran_order': False, 'shape': (5, 12), }"


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize(
    "header",
    [
        GOOD_HEADER,
        GOOD_HEADER + "   \n",
        "{'descr':'|u1','fortran_order':False,'shape':(5,12)}",
        "{'shape': (5, 12), 'descr': '|u1', 'fortran_order': False}",
        GOOD_HEADER.replace("|", "<"),
    ],
)
def test_the_npy_header_may_be_spelt_as_the_format_allows(header, version, folder):
    x = folder.read("data.npy", npy_with(header, version)).train[0]
    np.testing.assert_array_equal(x, X.reshape(5, 12))


@pytest.mark.parametrize(
    "content",
    [
        npy_with(GOOD_HEADER, version=4),
        npy_with(GOOD_HEADER, size=10_000),
        npy_with(GOOD_HEADER, version=2, size=2**32 - 1),
        npy_with(GOOD_HEADER + " " * 30_000),
        npy_with("{'descr': '|u1', 'fortran_order': False, 'shape': " + "(" * 10_000),
        npy_with(GOOD_HEADER.replace("False", "__import__('os')")),
        npy_with(GOOD_HEADER.replace("|u1", "|O")),
        npy_with(GOOD_HEADER.replace("|u1", "|V1")),
        npy_with(GOOD_HEADER.replace("|u1", "|b1")),
        npy_with(GOOD_HEADER.replace("'|u1'", "[('a', '|u1')]")),
        npy_with(GOOD_HEADER.replace("'descr'", "'shape'")),
        npy_with(GOOD_HEADER.replace("(5, 12)", "(5, -12)")),
        npy_with(GOOD_HEADER.replace("(5, 12)", "(5, 13)")),
        npy_with(GOOD_HEADER.replace("(5, 12)", "(5, 11)")),
        npy_with(GOOD_HEADER.replace("(5, 12)", "(60,)")),
        npy_with(GOOD_HEADER.replace("(5, 12)", "()")),
        npy_with(GOOD_HEADER.replace("(5, 12)", "(5, 2, 3, 2)")),
        npy_with(GOOD_HEADER.replace("(5, 12)", "(1000000000000, 12)")),
        npy_with(GOOD_HEADER.replace("(5, 12)", "(0, 9223372036854775807, 9223372036854775807)")),
        npy_with(GOOD_HEADER.replace("5", "5" * 900)),
    ],
    ids=range(20),
)
def test_an_npy_header_that_lies_is_refused(content, folder):
    with memory_below(3e6):
        assert_refused(folder, "data.npy", content)
    with memory_below(3e6):
        assert_refused(folder, "data.npz", npz_bytes({"train_x": content}))


# Archives


def test_an_archive_that_numpy_does_not_write_is_refused(folder):
    good = npz_bytes(MEMBERS)
    file = io.BytesIO(good)
    with zipfile.ZipFile(file, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("train_x.npy", npy_bytes(255 - X))
    twice = file.getvalue()
    encrypted = good.replace(b"\x14\0\0\0\x08\0", b"\x14\0\x01\0\x08\0")
    for content, fault in [
        (twice, "two arrays of the same name"),
        (encrypted, "encrypted"),
        (npz_bytes(MEMBERS, zipfile.ZIP_LZMA), "packed by a method"),
        (npz_bytes(MEMBERS, zipfile.ZIP_BZIP2), "packed by a method"),
        (npz_bytes({"train_x": MEMBERS["train_x"] + b"x"}), "left over"),
        (npz_bytes({"train_x": b"text"}), "truncated"),
        (b"PK\3\4" + good[-22:], "."),
    ]:
        assert fault in assert_refused(folder, "data.npz", content)


# Bombs


def zeros_gzipped(head, megabytes):
    """A gzip file of `head` and megabytes of zeros, a thousandth as large."""
    return gzip.compress(head) + gzip.compress(bytes(2**20)) * megabytes


@pytest.mark.parametrize(
    ("n_images", "fault"), [(2**30, "more data than a file of its size"), (100, "left over")]
)
def test_a_gzipped_idx_bomb_is_refused_before_it_unfolds(n_images, fault, folder):
    head = b"\0\0\x08\x03" + struct.pack(">3I", n_images, 28, 28)
    with memory_below(5e6):
        name = "train-images-idx3-ubyte.gz"
        assert fault in assert_refused(folder, name, zeros_gzipped(head, 500))


def test_a_zipped_bomb_is_refused_before_it_unfolds(folder):
    bomb = npy_with(GOOD_HEADER.replace("(5, 12)", "(100000, 1000)"))[:-60] + bytes(10**8)
    honest = npz_bytes({"train_x": bomb})
    # In the archive's directory, where readers look, the size follows the checksum.
    sizes = struct.pack("<I", len(bomb))
    assert honest.count(sizes) == 2
    lying = honest.replace(sizes, struct.pack("<I", 1_000_000))
    with memory_below(20e6):
        assert_refused(folder, "data.npz", lying)


BOUNDED = """
import resource, sys
from dae.datasets import DataError, read_data

def used():
    return int(open("/proc/self/statm").read().split()[5]) * resource.getpagesize()

limit = used() + 2**28
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
try:
    read_data(sys.argv[1])
except DataError as error:
    print(error, "|", used() < limit - 2**27)
"""


@pytest.mark.parametrize("name", ["data.npz", "many.npz", "data.pkl.gz"])
def test_what_the_memory_cannot_hold_is_refused_before_it_unfolds(name, tmp_path):
    zeros = np.zeros((450, 1000, 1000), "uint8")
    path = tmp_path / name
    if name == "data.pkl.gz":
        with gzip.open(path, "wb", 1) as file:
            pickle.dump([(zeros, None)] * 3, file, 2)
    else:
        parts = {"train_x": zeros}
        if name == "many.npz":  # none of them too large by itself
            parts = dict(zip(["train_x", "valid_x", "test_x"], np.split(zeros, 3), strict=True))
        np.savez_compressed(path, **parts)
    process = subprocess.run(
        [sys.executable, "-c", BOUNDED, path], capture_output=True, text=True, check=False
    )
    message = r".*: would take 45\d MB of memory, and 2\d\d MB are free; expected fewer.* \| True\n"
    assert re.fullmatch(message, process.stdout), process.stderr


def test_a_blank_data_set_is_not_taken_for_a_bomb(folder):
    x = np.zeros((10_000, 784), "uint8")
    folder.read("data.npz", npz_bytes({"train_x": npy_bytes(x)}))


@pytest.mark.parametrize("name", ["data.npz", "data.pkl.gz"])
def test_a_sparse_data_set_is_not_taken_for_a_bomb(name, tmp_path):
    x = np.zeros((30_000, 784))
    x.flat[np.random.RandomState(1).choice(x.size, x.size // 100, replace=False)] = 0.5
    path = tmp_path / name
    if name == "data.npz":
        np.savez_compressed(path, train_x=x)
    else:
        y = np.zeros(len(x), int)
        with gzip.open(path, "wb") as file:
            pickle.dump([(x, y), (x[:1], y[:1]), (x[:1], y[:1])], file, 2)
    assert x.nbytes > 2**26 + 100 * path.stat().st_size  # what was taken for one
    np.testing.assert_array_equal(read_data(path).train[0], x)


def test_arrays_are_held_once_while_they_are_read(folder):
    x = np.random.RandomState(0).randint(256, size=(3_000, 80, 100)).astype("uint8")
    npy = npy_bytes(x)
    for name, content in [
        ("data.npy", npy),
        ("data.npz", npz_bytes({"train_x": npy}, zipfile.ZIP_STORED)),
        ("data.pkl", pickle.dumps([(x, np.arange(3_000))] * 3, 5)),
    ]:
        with memory_below(1.25 * x.nbytes):
            folder.read(name, content)


# Damage of every kind


def damaged(content):
    """Copies of `content` in which pieces are replaced, cut out, put in or repeated."""
    position = st.integers(0, len(content))
    numbers = [b"\0" * 4, b"\xff" * 4, b"\xff" * 8, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"]
    piece = st.one_of(st.binary(max_size=8), st.sampled_from(numbers))
    replacement = st.tuples(position, st.integers(0, 8), piece)
    repetition = st.tuples(position, st.integers(1, 40), st.integers(0, 3))

    def apply(edits):
        result = bytearray(content)
        for start, size, new in edits:
            piece = result[start : start + size]
            result[start : start + size] = piece * new if isinstance(new, int) else new
        return bytes(result)

    return st.lists(st.one_of(replacement, repetition), min_size=1, max_size=4).map(apply)


# What is damaged inside its packing has a right checksum nevertheless.
PACKING = {
    "gzipped IDX, inside": ("IDX images", "train-images-idx3-ubyte.gz", gzip.compress),
    "npz, inside": ("npy of bytes", "data.npz", lambda npy: npz_bytes(MEMBERS | {"train_x": npy})),
    "gzipped pickle, inside": ("pickle, protocol 4", "data.pkl.gz", gzip.compress),
}


@pytest.mark.parametrize("kind", [*FILES, *PACKING])
def test_a_damaged_file_is_read_or_refused(kind, folder):
    good_kind, name, pack = PACKING.get(kind, (kind, FILES.get(kind, [None])[0], bytes))

    @settings(max_examples=FUZZ_EXAMPLES, deadline=timedelta(seconds=60))
    @given(damaged(FILES[good_kind][1]))
    def check(content):
        with memory_below(10e6):
            try:
                dataset = folder.read(name, pack(content))
            except DataError as error:
                message = str(error)
                assert message.startswith(str(folder.path))
                assert message.isprintable()
                return
        height, width = dataset.image_shape
        assert len(dataset.train[0]) > 0
        for x, y in (dataset.train, dataset.valid, dataset.test):
            floats = to_floatX(x, "float64")
            assert floats.shape[1] == height * width
            assert ((floats >= 0) & (floats <= 1)).all()
            assert y is None or (y.dtype == np.int32 and y.shape == (len(x),) and (y >= 0).all())

    check()
