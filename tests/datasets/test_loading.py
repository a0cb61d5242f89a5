"""`dae.datasets`: every route to the same arrays, and what is no data set refused."""

import gzip
import hashlib
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytensor
import pytest

import dae
from dae.commands import make_mini_mnist
from dae.datasets import MINI_MNIST, DataError, _downloads, load_data, read_data, to_floatX

# The pixels of the arrays here, unlike those of images, need not vary.
pytestmark = pytest.mark.filterwarnings("ignore:.*hardly vary")

IDX_NAMES = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
]


def idx_bytes(array):
    """The IDX format: two zeros, type 8 (unsigned byte), dimensions, big-endian sides, values."""
    sides = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, 8, array.ndim]) + sides + array.tobytes()


@pytest.fixture
def mnist():
    """An MNIST of 60 and 12 images of 4x3 pixels: train_x, train_y, test_x, test_y."""
    rng = np.random.RandomState(1)
    return (
        rng.randint(256, size=(60, 4, 3)).astype("uint8"),
        rng.randint(10, size=60).astype("uint8"),
        rng.randint(256, size=(12, 4, 3)).astype("uint8"),
        rng.randint(10, size=12).astype("uint8"),
    )


def write_idx_folder(folder, mnist, suffix="", change=bytes, rename=str):
    folder.mkdir(exist_ok=True)
    for name, array in zip(IDX_NAMES, mnist, strict=True):
        (folder / (rename(name) + suffix)).write_bytes(change(idx_bytes(array)))
    return folder


# Mini MNIST


def test_arrays_do_not_wait_for_what_reads_images():
    program = (
        "import sys; from dae.datasets import read_data; read_data(); print('PIL' in sys.modules)"
    )
    root = Path(dae.__file__).parents[1]
    process = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    )
    assert process.stdout == "False\n"


def test_mini_mnist_is_the_file_that_its_provenance_describes():
    assert hashlib.sha256(MINI_MNIST.read_bytes()).hexdigest() == (
        "bbe8dd6a8126c69ee439e0080f50fd670e8b9fe976555fc2bc7b464149f9577a"
    )
    with zipfile.ZipFile(MINI_MNIST) as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_mini_mnist_is_a_tenth_of_each_part_of_the_tutorials_mnist():
    train, valid, test, image_shape, *_ = read_data()
    assert image_shape == (28, 28)
    for (x, y), n in ((train, 5000), (valid, 1000), (test, 1000)):
        assert x.shape == (n, 784)
        assert x.dtype == np.uint8
        assert y.shape == (n,)
        assert y.dtype == np.int32
    # The first labels of MNIST's training file, of its images from 50,000 on and of its test file.
    assert train[1][:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert valid[1][:10].tolist() == [3, 8, 6, 9, 6, 4, 5, 3, 8, 4]
    assert test[1][:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]


def test_make_mini_mnist_takes_the_first_tenth_of_each_part(mnist, tmp_path):
    train_x, train_y, test_x, test_y = mnist
    folder = write_idx_folder(tmp_path / "mnist", mnist)
    make_mini_mnist.main([str(folder), str(tmp_path / "mini.npz")])
    train, valid, test, image_shape, *_ = read_data(tmp_path / "mini.npz")
    assert image_shape == (4, 3)
    np.testing.assert_array_equal(train[0], train_x[:5].reshape(5, 12))
    np.testing.assert_array_equal(train[1], train_y[:5])
    np.testing.assert_array_equal(valid[0], train_x[50:51].reshape(1, 12))
    np.testing.assert_array_equal(valid[1], train_y[50:51])
    np.testing.assert_array_equal(test[0], test_x[:1].reshape(1, 12))
    np.testing.assert_array_equal(test[1], test_y[:1])


# Shared variables


@pytest.mark.parametrize("floatX", ["float32", "float64"])
def test_load_data_gives_shared_variables_as_the_tutorial_does(floatX):
    with pytensor.config.change_flags(floatX=floatX):
        train_set, valid_set, test_set = load_data()
    train_set_x, train_set_y = train_set
    assert train_set_x.get_value(borrow=True).shape[0] == 5000
    for x, y in (train_set, valid_set, test_set):
        assert x.dtype == floatX
        assert y.dtype == "int32"
        assert x.get_value(borrow=True).flags.c_contiguous
    bytes_ = read_data()
    index, batch_size = 3, 20
    batch = train_set_x[index * batch_size : (index + 1) * batch_size].eval()
    np.testing.assert_array_equal(batch, bytes_.train[0][60:80] / 256)
    np.testing.assert_array_equal(test_set[0][:100].eval(), bytes_.test[0][:100] / 256)
    np.testing.assert_array_equal(train_set_y.eval(), bytes_.train[1])


def test_load_data_without_labels_gives_none_for_them(tmp_path):
    np.save(tmp_path / "data.npy", np.zeros((7, 4), "uint8"))
    train_set, valid_set, test_set = load_data(tmp_path / "data.npy")
    assert train_set[0].get_value().shape == (7, 4)
    assert valid_set[0].get_value().shape == test_set[0].get_value().shape == (0, 4)
    assert [y for _, y in (train_set, valid_set, test_set)] == [None] * 3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_byte_is_divided_by_256_and_a_float_taken_as_it_is(dtype):
    bytes_ = np.arange(256, dtype="uint8").reshape(16, 16)
    x = to_floatX(bytes_[:, ::2], dtype)
    assert x.dtype == dtype
    assert x.flags.c_contiguous
    assert x.tolist() == [[(16 * i + 2 * j) / 256 for j in range(8)] for i in range(16)]
    assert to_floatX(x, dtype) is x
    half = to_floatX(np.array([[0.5, 1.0]], "float16"), dtype)
    assert half.dtype == dtype
    assert half.tolist() == [[0.5, 1.0]]


# All routes


def routes(mnist, folder):
    """Write one small MNIST in each way that leads to the tutorial's three parts."""
    train_x, train_y, test_x, test_y = mnist
    train, valid, test = (
        (train_x[:50], train_y[:50]),
        (train_x[50:], train_y[50:]),
        (test_x, test_y),
    )
    yield write_idx_folder(folder / "plain", mnist)
    yield write_idx_folder(folder / "gzipped", mnist, ".gz", gzip.compress)
    yield write_idx_folder(
        folder / "dotted", mnist, rename=lambda name: name.replace("-idx", ".idx")
    )

    parts = dict(zip(("train", "valid", "test"), (train, valid, test), strict=True))
    named = {f"{part}_{v}": a for part, xy in parts.items() for v, a in zip("xy", xy, strict=True)}
    np.savez(folder / "three.npz", **named)
    yield folder / "three.npz"
    np.savez_compressed(
        folder / "matrices.npz",
        **named
        | {name: array.reshape(len(array), -1) for name, array in named.items() if "x" in name},
    )
    yield folder / "matrices.npz"
    np.savez(folder / "keras.npz", x_train=train_x, y_train=train_y, x_test=test_x, y_test=test_y)
    yield folder / "keras.npz"

    tutorial = [
        ((x.reshape(len(x), 12) / 256).astype("float32"), y.astype("int64"))
        for x, y in (train, valid, test)
    ]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        path = folder / f"mnist{protocol}.pkl.gz"
        path.write_bytes(gzip.compress(pickle.dumps(tuple(tutorial), protocol)))
        yield path


def test_all_routes_give_identical_arrays(mnist, tmp_path, monkeypatch):
    monkeypatch.setattr(_downloads, "MIRRORS", ())
    monkeypatch.setattr(
        _downloads,
        "MNIST",
        [
            _downloads.PackedFile(
                f"{name}.gz", 0, "", len(idx_bytes(a)), hashlib.sha256(idx_bytes(a)).hexdigest()
            )
            for name, a in zip(IDX_NAMES, mnist, strict=True)
        ],
    )
    monkeypatch.setenv("DAE_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    write_idx_folder(tmp_path / "cache" / "mnist", mnist, ".gz", gzip.compress)

    expected_x = [mnist[0][:50] / 256, mnist[0][50:] / 256, mnist[2] / 256]
    expected_y = [mnist[1][:50], mnist[1][50:], mnist[3]]
    for source in ("mnist", *routes(mnist, tmp_path)):
        dataset = read_data(source, image_shape=(4, 3))
        assert dataset.image_shape == (4, 3)
        for (x, y), wanted_x, wanted_y in zip(dataset[:3], expected_x, expected_y, strict=True):
            for dtype in ("float32", "float64"):
                floats = to_floatX(x, dtype)
                assert floats.dtype == dtype
                np.testing.assert_array_equal(floats, wanted_x.reshape(-1, 12), str(source))
            assert y.dtype == np.int32
            np.testing.assert_array_equal(y, wanted_y, str(source))


def test_the_gzipped_one_of_two_equal_files_is_read(mnist, tmp_path):
    write_idx_folder(tmp_path, mnist, ".gz", gzip.compress)
    write_idx_folder(tmp_path, mnist, change=lambda content: b"not this one")
    assert len(read_data(tmp_path).train[0]) == 50


def test_each_missing_idx_file_is_named(mnist, tmp_path):
    for name in IDX_NAMES:
        write_idx_folder(tmp_path, mnist)
        (tmp_path / name).unlink()
        with pytest.raises(DataError, match=f"has no {name}"):
            read_data(tmp_path)


# What a data set may be


def test_a_matrix_of_bytes_or_floats_is_training_data_without_labels(tmp_path):
    path = tmp_path / "data.npy"
    bytes_ = np.arange(24, dtype="uint8").reshape(6, 4)
    for dtype in ("u1", "<f2", "<f4", ">f4", "<f8", ">f8"):
        x = bytes_ if dtype == "u1" else (bytes_ / 256).astype(dtype)
        for array in (x, np.asfortranarray(x), x.reshape(6, 2, 2)):
            np.save(path, array)
            dataset = read_data(path)
            np.testing.assert_array_equal(to_floatX(dataset.train[0], "float64"), bytes_ / 256)
            assert dataset.train[0].flags.c_contiguous
            assert dataset.train[0].dtype == x.dtype.newbyteorder("=")
            assert dataset.image_shape == (2, 2)
            for x_none, y_none in (dataset.valid, dataset.test):
                assert x_none.shape == (0, 4)
                assert y_none is None


@pytest.mark.parametrize(
    "x",
    [
        pytest.param(np.array([[0.5, np.nan]]), id="NaN"),
        pytest.param(np.array([[0.5, np.inf]]), id="infinity"),
        pytest.param(np.array([[0.5, 1.001]]), id="above 1"),
        pytest.param(np.array([[0.5, -0.001]], "float32"), id="below 0"),
        pytest.param(np.array([[0, 1]], "int64"), id="integers"),
        pytest.param(np.array([[0, 1]], "int8"), id="signed bytes"),
        pytest.param(np.array([[False, True]]), id="truth values"),
        pytest.param(np.array([[0.5j]]), id="complex"),
        pytest.param(np.array([["0.5"]]), id="strings"),
        pytest.param(np.array([[b"0.5"]]), id="byte strings"),
        pytest.param(np.zeros((2, 2), "u1,f4"), id="structures"),
        pytest.param(np.zeros((2, 2), "M8[s]"), id="dates"),
        pytest.param(np.array([[None]]), id="objects"),
        pytest.param(np.zeros((), "uint8"), id="no dimension"),
        pytest.param(np.zeros(4, "uint8"), id="one dimension"),
        pytest.param(np.zeros((2, 2, 2, 2), "uint8"), id="four dimensions"),
        pytest.param(np.zeros((0, 4), "uint8"), id="no images"),
        pytest.param(np.zeros((4, 0), "uint8"), id="no pixels"),
    ],
)
def test_arrays_that_are_no_images_are_refused(x, tmp_path):
    np.save(tmp_path / "data.npy", x)
    np.savez(tmp_path / "data.npz", train_x=x)
    for name in ("data.npy", "data.npz"):
        with pytest.raises(DataError, match=name):
            read_data(tmp_path / name)


@pytest.mark.parametrize(
    ("y", "fault"),
    [
        (np.arange(5), "6 images, but labels of shape"),
        (np.arange(7), "6 images, but labels of shape"),
        (np.eye(6, dtype="uint8"), "6 images, but labels of shape"),
        (np.arange(6.0), "labels must be integers"),
        (np.arange(6) - 1, "labels must be integers, 0 and up"),
        (np.full(6, 2**31), "labels must be integers"),
        (np.full(6, 2**64 - 1, "uint64"), "labels must be integers"),
    ],
)
def test_arrays_that_are_no_labels_are_refused(y, fault, tmp_path):
    np.savez(tmp_path / "data.npz", train_x=np.zeros((6, 4)), train_y=y)
    with pytest.raises(DataError, match=rf"data\.npz, train: {fault}"):
        read_data(tmp_path / "data.npz")


@pytest.mark.parametrize("dtype", ["u1", "i1", "<i2", ">i4", "<i8", ">u8"])
def test_labels_of_any_integer_type_become_int32(dtype, tmp_path):
    np.savez(tmp_path / "data.npz", train_x=np.zeros((6, 4)), train_y=np.arange(6, dtype=dtype))
    y = read_data(tmp_path / "data.npz").train[1]
    assert y.dtype == np.int32
    assert y.dtype.isnative
    assert y.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("n", [1, 5, 6, 7, 59, 60, 61])
def test_the_last_sixth_validates_where_there_is_test_but_no_validation_data(n, tmp_path):
    path = tmp_path / "data.npz"
    x = np.arange(4 * n, dtype="uint8").reshape(n, 4)
    y = np.arange(n)
    np.savez(path, x_train=x, y_train=y, x_test=x[:2])
    train, valid, test, *_ = read_data(path)
    assert len(valid[0]) == n // 6
    np.testing.assert_array_equal(np.concatenate([train[0], valid[0]]), x)
    np.testing.assert_array_equal(np.concatenate([train[1], valid[1]]), y)
    np.testing.assert_array_equal(test[0], x[:2])
    assert test[1] is None
    np.savez(path, x_train=x, y_train=y)
    assert len(read_data(path).train[0]) == n
    np.savez(path, x_train=x, x_valid=x[:1], x_test=x[:2])
    assert [len(x) for x, _ in read_data(path)[:3]] == [n, 1, min(n, 2)]


X, Y = np.zeros((6, 4), "uint8"), np.zeros(6, "uint8")


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"test_x": X},
        {"train_y": Y},
        {"train_x": X, "valid_y": Y},
        {"train_x": X, "x_train": X},
        {"train_x": X, "y_train": Y},
        {"train_x": X, "labels": Y},
        {"arr_0": X},
        {"train_x\n\x1b[31m": X},
    ],
    ids=lambda arrays: "+".join(map(repr, arrays)),
)
def test_an_npz_file_with_other_names_is_refused_and_told_the_right_ones(arrays, tmp_path):
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(DataError, match=r"data\.npz: holds .*; expected train_x") as refusal:
        read_data(tmp_path / "data.npz")
    assert str(refusal.value).isprintable()


def test_parts_whose_images_differ_in_size_are_refused(tmp_path):
    for test_x in (np.zeros((6, 9), "uint8"), np.zeros((6, 2, 2), "uint8")):
        np.savez(tmp_path / "data.npz", train_x=X, test_x=test_x)
        with pytest.raises(DataError, match=r"data\.npz, test: images in an array of shape"):
            read_data(tmp_path / "data.npz")


@pytest.mark.parametrize(
    ("sides", "given", "image_shape"),
    [
        ((9,), None, (3, 3)),
        ((12,), None, (1, 12)),
        ((12,), (3, 4), (3, 4)),
        ((4, 3), None, (4, 3)),
        ((4, 3), (6, 2), (6, 2)),
    ],
)
def test_the_image_shape_is_that_given_or_that_of_the_file_or_a_square(
    sides, given, image_shape, tmp_path
):
    np.save(tmp_path / "data.npy", np.zeros((2, *sides), "uint8"))
    assert read_data(tmp_path / "data.npy", given).image_shape == image_shape
    with pytest.raises(DataError, match=r"data\.npy: images of \d+ pixels do not have the shape"):
        read_data(tmp_path / "data.npy", (5, 5))


def test_what_is_not_there_or_of_no_known_kind_is_refused(mnist, tmp_path):
    (tmp_path / "data.csv").write_text("1,2,3\n")
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx_bytes(mnist[0]))
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "empty").mkdir()
    for name, fault in [
        ("absent.npz", "no such file or folder; expected mini-mnist"),
        ("pipe.npy", "no such file or folder; expected mini-mnist"),
        ("data.csv", "unknown kind of file; expected mini-mnist"),
        ("train-images-idx3-ubyte", "unknown kind of file; expected mini-mnist"),
        ("data.csv/data.npz", "no such file or folder"),
        ("a" * 300 + ".npz", "name too long"),
        ("empty", "holds neither images nor MNIST's four IDX files"),
    ]:
        with pytest.raises(DataError, match=f"{name}: .*{fault}"):
            read_data(tmp_path / name)
        with pytest.raises(DataError, match=fault):
            read_data(str(tmp_path / name))
