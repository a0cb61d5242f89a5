"""The commands that use a trained model: what they compute and write, how they refuse and end.

Where a process can be asked, it is one, or a fork of one; where only answers count, `main` is
called.
"""

import contextlib
import csv
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import textwrap
from pathlib import Path

import numpy as np
import pytensor
import pytest
from numpy.random import RandomState
from numpy.testing import assert_allclose, assert_array_equal
from oracle import sigmoid
from PIL import Image

import dae
from dae import DenoisingAutoencoder, encode, reconstruct, save_model
from dae.commands._model_and_images import CHUNK

REPOSITORY = Path(dae.__file__).parents[1]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(REPOSITORY)}
ENCODE = [sys.executable, "-W", "error", "-m", "dae.encode"]
RECONSTRUCT = [sys.executable, "-W", "error", "-m", "dae.reconstruct"]

N_TRAIN, N_VALID, N_TEST = CHUNK + 7, 5, 6
N_IMAGES = N_TRAIN + N_VALID + N_TEST
X = RandomState(1).randint(256, size=(N_IMAGES, 16)).astype(np.uint8)
Y = RandomState(2).randint(10, size=N_IMAGES)
PARTS = {
    "train": slice(0, N_TRAIN),
    "valid": slice(N_TRAIN, N_TRAIN + N_VALID),
    "test": slice(N_TRAIN + N_VALID, N_IMAGES),
    "all": slice(0, N_IMAGES),
}

ASLEEP = """
import sys, time
import dae.encode, dae.reconstruct
from dae.models import Autoencoder

def method(self, images, *args):
    print("asleep", flush=True)
    time.sleep(float(sys.argv[2]))
    return images / 256

Autoencoder.encode = Autoencoder.reconstruct = method
sys.exit(getattr(dae, sys.argv[1]).main(sys.argv[3:]))
"""
"""A command whose model takes its time; arguments: which one, the seconds, and its own."""


@pytest.fixture(autouse=True, scope="module")
def sigint_heard():
    """Have SIGINT heard, here and in processes started from here, also in a shell's background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def new_model(dtype="float64", n_visible=16, n_hidden=3):
    with pytensor.config.change_flags(floatX=dtype):
        return DenoisingAutoencoder(RandomState(3), n_visible=n_visible, n_hidden=n_hidden)


@pytest.fixture(params=["float64", "float32"])
def model(request):
    return new_model(request.param)


@pytest.fixture
def run(tmp_path, model):
    """A run directory, as far as the commands need it, of 4x4 pixels."""
    directory = tmp_path / "run"
    directory.mkdir()
    save_model(directory / "model.npz", model, {"image_shape": [4, 4]})
    return directory


@pytest.fixture
def data(tmp_path):
    """A file of images in three parts, with labels."""
    path = tmp_path / "data.npz"
    arrays = {}
    for part in ("train", "valid", "test"):
        arrays |= {f"{part}_x": X[PARTS[part]], f"{part}_y": Y[PARTS[part]]}
    np.savez(path, **arrays)
    return path


@pytest.fixture
def folder(tmp_path):
    """A folder of pictures in classes; the names, and the images in their order."""
    names = ["cat/1.png", "cat/2, too.bmp", "cat/10.png", 'dog/"a".png']
    for name, pixels in zip(names, X, strict=False):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.reshape(4, 4)).save(path)
    return tmp_path / "pictures", names, X[:4]


@pytest.fixture
def call(capfd):
    """Call a command; give its exit status and what it wrote to stdout and to stderr."""

    def call(command, *options):
        try:
            status = command.main([str(option) for option in options])
        except SystemExit as end:
            status = end.code
        return status, *capfd.readouterr()

    return call


@pytest.fixture
def ok(call):
    """Call a command that succeeds without complaint."""

    def ok(command, *options):
        status, stdout, stderr = call(command, *options)
        assert (status, stderr) == (0, "")
        return stdout

    return ok


def popen(*options, program=None, **settings):
    """Start a program, or a command, as a process with pipes."""
    start = [] if program is None else [sys.executable, "-W", "error", "-c", program]
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | settings
    return subprocess.Popen(
        [*start, *map(str, options)], env=ENVIRONMENT, text=True, bufsize=1, **settings
    )


def read_npz(path):
    with np.load(path, allow_pickle=False) as archive:
        return dict(archive)


def pixels_of(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def expected_codes(model, images):
    W, b, _ = (np.asarray(param.get_value(), np.longdouble) for param in model.params)
    return sigmoid(images / np.longdouble(256) @ W + b)


# Codes


@pytest.mark.parametrize("part", PARTS)
def test_codes_are_those_of_numpy_and_of_the_method(ok, run, data, model, tmp_path, part):
    out = tmp_path / "codes.npy"
    stdout = ok(encode, run, data, "-o", out, f"--part={part}")
    codes = np.load(out, allow_pickle=False)
    images = X[PARTS[part]]
    assert codes.dtype == model.x.dtype
    assert_allclose(
        codes, expected_codes(model, images), rtol=2e-6 if codes.itemsize == 4 else 1e-14
    )
    if part != "all":
        assert_allclose(codes, model.encode(images), rtol=1e-6 if codes.itemsize == 4 else 1e-15)
    assert stdout.splitlines() == [
        f"DenoisingAutoencoder with 16 visible and 3 hidden units, {codes.dtype}: {run}",
        f"{data}: {len(images)} images of 4x4",
        f"{len(images)} codes of 3 values: {out}",
    ]


def test_all_is_the_default_and_the_method_is_met_to_the_bit(ok, run, data, model, tmp_path):
    ok(encode, run, data, "-o", tmp_path / "codes.npy")
    ok(encode, run / "model.npz", data, "-o", tmp_path / "codes.npz", "--quiet")
    expected = np.concatenate([model.encode(X[PARTS[part]]) for part in ("train", "valid", "test")])
    assert_array_equal(np.load(tmp_path / "codes.npy"), expected)
    found = read_npz(tmp_path / "codes.npz")
    assert list(found) == ["codes", "labels"]
    assert_array_equal(found["codes"], expected)
    assert_array_equal(found["labels"], Y)


def test_the_file_is_what_numpy_writes(ok, run, data, tmp_path):
    for name in ("codes.npy", "codes.npz"):
        ok(encode, run, data, "-o", tmp_path / name)
    np.save(tmp_path / "numpys.npy", np.load(tmp_path / "codes.npy"))
    np.savez(tmp_path / "numpys.npz", **read_npz(tmp_path / "codes.npz"))
    for ending in (".npy", ".npz"):
        ours, numpys = (tmp_path / f"{name}{ending}" for name in ("codes", "numpys"))
        assert ours.read_bytes() == numpys.read_bytes()


def test_labels_and_names_of_a_folder(ok, run, folder, model, tmp_path):
    path, names, images = folder
    ok(encode, run, path, "-o", tmp_path / "codes.npz")
    found = read_npz(tmp_path / "codes.npz")
    assert list(found) == ["codes", "labels", "label_names", "names"]
    assert_array_equal(found["codes"], model.encode(images))
    assert found["labels"].tolist() == [0, 0, 0, 1]
    assert found["label_names"].tolist() == ["cat", "dog"]
    assert found["names"].tolist() == names


def read_csv(path, dtype):
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        header, *rows = csv.reader(file)
    n = sum(name.startswith("code_") for name in header)
    codes = np.array([[np.dtype(dtype).type(value) for value in row[-n:]] for row in rows], dtype)
    return header, [row[:-n] for row in rows], codes


def test_a_table_has_all_digits_names_and_classes(ok, run, folder, data, model, tmp_path):
    path, names, images = folder
    dtype = model.x.dtype
    ok(encode, run, path, "-o", tmp_path / "codes.csv")
    header, before, codes = read_csv(tmp_path / "codes.csv", dtype)
    assert header == ["name", "label", "code_0", "code_1", "code_2"]
    assert before == [list(pair) for pair in zip(names, ["cat"] * 3 + ["dog"], strict=True)]
    assert_array_equal(codes, model.encode(images))

    ok(encode, run, data, "-o", tmp_path / "codes.csv", "--force")
    header, before, codes = read_csv(tmp_path / "codes.csv", dtype)
    assert header == ["label", "code_0", "code_1", "code_2"]
    assert before == [[str(label)] for label in Y]
    ok(encode, run, data, "-o", tmp_path / "codes.npy")
    assert_array_equal(codes, np.load(tmp_path / "codes.npy"))

    np.save(tmp_path / "plain.npy", X)
    ok(encode, run, tmp_path / "plain.npy", "-o", tmp_path / "plain.csv")
    header, _, codes = read_csv(tmp_path / "plain.csv", dtype)
    assert header == ["code_0", "code_1", "code_2"]
    assert_array_equal(codes, model.encode(X))


def test_a_name_that_is_no_utf8(ok, run, model, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    name = os.fsdecode(b"caf\xe9.png")
    Image.fromarray(X[0].reshape(4, 4)).save(tmp_path / "x.png")
    (tmp_path / "x.png").rename(folder / name)
    ok(encode, run, folder, "-o", tmp_path / "codes.csv")
    ok(encode, run, folder, "-o", tmp_path / "codes.npz")
    assert b"\ncaf\xe9.png," in (tmp_path / "codes.csv").read_bytes()
    assert read_npz(tmp_path / "codes.npz")["names"].tolist() == [name]
    ok(reconstruct, run, folder, "-o", tmp_path / "out")
    assert os.listdir(tmp_path / "out") == [name]


def test_a_model_of_version_0_1(ok, tmp_path):
    data = Path(__file__).parents[1] / "training" / "data"
    model = data / "run_of_version_0.1" / "expected.npz"
    with np.load(model) as archive:
        n_visible, n_hidden = archive["W"].shape
    np.save(tmp_path / "data.npy", RandomState(1).uniform(size=(5, n_visible)))
    ok(encode, model, tmp_path / "data.npy", "-o", tmp_path / "codes.npy")
    assert np.load(tmp_path / "codes.npy").shape == (5, n_hidden)


# Reconstructions


def test_reconstructions_as_arrays(ok, run, data, model, tmp_path):
    ok(reconstruct, run, data, "-o", tmp_path / "z.npy", "--part=test")
    z = np.load(tmp_path / "z.npy")
    assert z.dtype == model.x.dtype
    assert_array_equal(z, model.reconstruct(X[PARTS["test"]]).reshape(-1, 4, 4))
    ok(reconstruct, run, data, "-o", tmp_path / "z.npz")
    found = read_npz(tmp_path / "z.npz")
    assert list(found) == ["reconstructions", "labels"]
    assert found["reconstructions"].shape == (N_IMAGES, 4, 4)
    assert_array_equal(found["reconstructions"][PARTS["test"]], z)


def test_noise_is_that_of_the_model_and_of_the_seed(ok, run, data, model, tmp_path):
    out = tmp_path / "z.npz"
    ok(reconstruct, run, data, "-o", out, "--corruption-level=0.25", "--seed=5", "--part=train")
    found = read_npz(out)
    assert list(found) == ["reconstructions", "corrupted", "labels"]
    tilde_x = found["corrupted"].reshape(-1, 16)
    for i in range(2):
        rows = slice(i * CHUNK, min((i + 1) * CHUNK, N_TRAIN))
        assert_array_equal(tilde_x[rows], model.corrupt(X[rows], 0.25, seed=[5, i]))
    assert abs((tilde_x == 0).mean() - 0.25) < 0.02
    z = model.reconstruct(tilde_x)
    rtol = 1e-6 if z.itemsize == 4 else 1e-14
    assert_allclose(found["reconstructions"].reshape(-1, 16), z, rtol=rtol)
    before = out.read_bytes()
    options = [run, data, "-o", out, "--corruption-level=0.25", "--part=train", "--force"]
    ok(reconstruct, *options, "--seed=5")
    assert out.read_bytes() == before
    ok(reconstruct, *options)
    assert out.read_bytes() != before


def tiles(picture, n_rows, n_columns, side=4):
    """The tiles of a picture that was enlarged; a pixel lies between them."""
    height, width = (side + 1) * n_rows - 1, (side + 1) * n_columns - 1
    factor = picture.shape[0] // height
    assert picture.shape[:2] == (factor * height, factor * width)
    small = picture[::factor, ::factor]
    assert_array_equal(small.repeat(factor, axis=0).repeat(factor, axis=1), picture)
    return [
        [
            small[(side + 1) * i : (side + 1) * i + side, (side + 1) * j : (side + 1) * j + side]
            for j in range(n_columns)
        ]
        for i in range(n_rows)
    ]


def test_a_picture_shows_images_noise_and_reconstructions_in_rows(ok, run, data, model, tmp_path):
    out = tmp_path / "z.png"
    ok(reconstruct, run, data, "-o", out, "--corruption-level=0.5", "--n-images=7", "--seed=1")
    rows = [
        X[:7] / 256,
        model.corrupt(X[:7], 0.5, seed=[1, 0]),
        model.reconstruct(X[:7], 0.5, seed=[1, 0]),
    ]
    for row, expected in zip(tiles(pixels_of(out), 3, 7), rows, strict=True):
        for tile, image in zip(row, expected, strict=True):
            assert_allclose(tile, image.reshape(4, 4) * 255, atol=1)

    stdout = ok(reconstruct, run, data, "-o", out, "--force")
    assert stdout.endswith(f"10 reconstructions: {out}\n")
    found = tiles(pixels_of(out), 2, 10)
    assert_allclose(found[1][9], model.reconstruct(X[9:10]).reshape(4, 4) * 255, atol=1)


def test_a_folder_of_pictures_has_the_names_of_the_images(ok, run, folder, model, tmp_path):
    path, _names, images = folder
    out = tmp_path / "out"
    out.mkdir()  # an empty one will do
    ok(reconstruct, run, path, "-o", out)
    found = sorted(str(path.relative_to(out)) for path in out.rglob("*.*"))
    assert found == ["cat/1.png", "cat/10.png", "cat/2, too.png", 'dog/"a".png']
    z = model.reconstruct(images).reshape(-1, 4, 4)
    assert_allclose(pixels_of(out / "cat/2, too.png"), z[1] * 256, atol=0.51)
    assert_allclose(pixels_of(out / 'dog/"a".png'), z[3] * 256, atol=0.51)
    assert sorted(os.listdir(tmp_path)) == ["out", "pictures", "run"]


def test_names_that_differ_in_their_endings_only_keep_them(ok, run, tmp_path):
    (tmp_path / "pictures").mkdir()
    for name in ("a.png", "A.bmp", "b.png"):
        Image.fromarray(X[0].reshape(4, 4)).save(tmp_path / "pictures" / name)
    ok(reconstruct, run, tmp_path / "pictures", "-o", tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "out")) == ["A.bmp.png", "a.png.png", "b.png.png"]


def test_images_without_names_are_numbered(ok, run, data, model, tmp_path):
    ok(reconstruct, run, data, "-o", tmp_path / "out", "--n-images=11")
    names = [f"{i:02d}.png" for i in range(11)]
    assert sorted(os.listdir(tmp_path / "out")) == names
    z = model.reconstruct(X[:11])
    found = [pixels_of(tmp_path / "out" / name).ravel() for name in names]
    assert_allclose(found, z * 256, atol=0.51)


def test_a_single_picture_resized_only_when_asked(call, ok, run, model, tmp_path):
    Image.fromarray(X[0].reshape(4, 4)).save(tmp_path / "right.png")
    Image.fromarray(np.kron(X[0].reshape(4, 4), np.ones((3, 3), np.uint8))).save(
        tmp_path / "large.png"
    )
    ok(encode, run, tmp_path / "right.png", "-o", tmp_path / "right.npy")
    assert_array_equal(np.load(tmp_path / "right.npy"), model.encode(X[:1]))
    status, stdout, stderr = call(encode, run, tmp_path / "large.png", "-o", tmp_path / "large.npy")
    assert (status, stdout) == (2, "")
    assert f"{tmp_path}/large.png: 12x12 pixels; expected 4x4, or" in stderr
    assert "resize" in stderr
    ok(encode, run, tmp_path / "large.png", "-o", tmp_path / "large.npy", "--resize")
    assert np.load(tmp_path / "large.npy").shape == (1, 3)


def test_a_model_of_colours_reads_and_writes_them(ok, tmp_path):
    model = new_model(n_visible=4 * 4 * 3)
    save_model(tmp_path / "model.npz", model, {"image_shape": [4, 4, 3]})
    pixels = RandomState(4).randint(256, size=(2, 4, 4, 3)).astype(np.uint8)
    (tmp_path / "pictures").mkdir()
    for i in range(2):
        Image.fromarray(pixels[i]).save(tmp_path / "pictures" / f"{i}.png")
    arguments = [tmp_path / "model.npz", tmp_path / "pictures", "-o"]
    z = model.reconstruct(pixels.reshape(2, -1)).reshape(2, 4, 4, 3)
    stdout = ok(reconstruct, *arguments, tmp_path / "z.npy")
    assert "2 images of 4x4x3" in stdout
    assert_array_equal(np.load(tmp_path / "z.npy"), z)
    ok(reconstruct, *arguments, tmp_path / "out")
    assert_allclose(pixels_of(tmp_path / "out" / "1.png"), z[1] * 256, atol=0.51)
    ok(reconstruct, *arguments, tmp_path / "z.png")
    found = tiles(pixels_of(tmp_path / "z.png"), 2, 2)
    assert_allclose(found[0][1], pixels[1], atol=1.1)
    assert_allclose(found[1][1], z[1] * 255, atol=1)


def test_images_are_read_as_they_were_for_the_training(ok, call, tmp_path):
    """Of a picture with a transparent left half, whose rest is dull."""
    model = new_model()
    save_model(
        tmp_path / "model.npz",
        model,
        {"image_shape": [4, 4], "autocontrast": True, "background": "white", "crop": True},
    )
    pixels = np.full((4, 6, 4), 100, np.uint8)
    pixels[:, 3:, 3] = 255
    pixels[:, :3, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    arguments = [tmp_path / "model.npz", tmp_path / "picture.png", "--resize", "-o"]
    ok(encode, *arguments, tmp_path / "codes.npy")
    seen = np.full((4, 4), 255, np.uint8)
    seen[:, 2:] = 0
    assert_array_equal(np.load(tmp_path / "codes.npy"), model.encode(seen.reshape(1, 16)))
    ok(encode, *arguments, tmp_path / "black.npy", "--background=black")
    seen = 255 - seen
    assert_array_equal(np.load(tmp_path / "black.npy"), model.encode(seen.reshape(1, 16)))


def test_a_warning_is_a_line(call, run, tmp_path):
    Image.new("L", (4, 4), 7).save(tmp_path / "dull.png")
    status, _stdout, stderr = call(encode, run, tmp_path / "dull.png", "-o", tmp_path / "c.npy")
    assert status == 0
    assert re.fullmatch(
        r"dae-encode: .*dull.png: the pixels of 1 of 1 images hardly vary.*\n", stderr
    )


# How they refuse


def test_help_and_usage_errors_do_not_wait_for_what_they_do_not_need():
    program = textwrap.dedent("""
        import sys
        from importlib import import_module
        try:
            import_module(sys.argv[1]).main(sys.argv[2:])
        except SystemExit as end:
            heavy = {"numpy", "pytensor", "matplotlib", "PIL", "tqdm"} & set(sys.modules)
            sys.exit(end.code if not heavy else f"imported: {heavy}")
        """)
    for command in ("dae.encode", "dae.reconstruct"):
        for options, status in (["--help"], 0), (["--version"], 0), (["run", "data"], 2):
            process = popen(command, *options, program=program)
            stdout, stderr = process.communicate()
            assert (process.returncode, bool(stdout), stderr.count("\n")) == (
                status, status == 0, status // 2,
            )  # fmt: skip


@pytest.mark.parametrize(
    ("command", "options", "words"),
    [
        (encode, "{run}", "the following arguments are required: DATA, -o/--output"),
        (encode, "{run} {data}", "the following arguments are required: -o/--output"),
        (encode, "{run} {data} -o {folder}/c.txt", "c.txt' is not a name ending in .npy, .npz or"),
        (encode, "{run} {data} -o {folder}/c", "c' is not a name ending in .npy, .npz or .csv"),
        (encode, "{run} {data} -o {folder}/none/c.npy", "none is not a directory, or read-only"),
        (encode, "{run} {data} -o {folder}/c.npy --part=some", "--part: invalid choice: 'some'"),
        (encode, "{run} {data} -o {folder}/c.npy --res", "unrecognized arguments: --res"),
        (encode, "{run} {data} -o {data}", "data.npz exists; give another name, or --force"),
        (encode, "{run} {data} -o {folder}/dir.npy", "dir.npy exists; give another name\n"),
        (encode, "{run} {data} -o {folder}/dir.npy --force", "dir.npy exists; give another name\n"),
        (encode, "{folder}/none {data} -o {folder}/c.npy", "none: no such file; expected a run di"),
        (encode, "{folder} {data} -o {folder}/c.npy", "holds no model.npz; expected a run dir"),
        (encode, "{data} {data} -o {folder}/c.npy", "holds arrays named 'train_x, train_y, valid"),
        (encode, "{run} {folder}/none -o {folder}/c.npy", "none: no such file or folder; expected"),
        (encode, "{run} {folder}/wide.npy -o {folder}/c.npy", "images of 15 pixels do not have"),
        (encode, "{run} {folder}/few.npy -o {folder}/c.npy --part=test", "few.npy has no test im"),
        (encode, "{folder}/bare.npz {folder}/wide.npy -o {folder}/c.npy",
         "wide.npy: images of 15 values; the model in {folder}/bare.npz expects 16"),
        (reconstruct, "{run} {data} -o {folder}/z.jpg", "z.jpg' is not a name ending in .png, .np"),
        (reconstruct, "{run} {data} -o {folder}", "exists and is not an empty folder; give ano"),
        (reconstruct, "{run} {data} -o {folder}/file", "file exists and is not an empty folder"),
        (reconstruct, "{run} {data} -o {folder}/none/z", "none is not a directory, or read-only"),
        (reconstruct, "{run} {data} -o {folder}/picture.png", "exists; give another name, or --f"),
        (reconstruct, "{run} {data} -o {folder}/z --corruption-level=-1", "'-1' is not a number"),
        (reconstruct, "{run} {data} -o {folder}/z --corruption-level=nan", "'nan' is not a number"),
        (reconstruct, "{run} {data} -o {folder}/z --corruption-level=2",
         "corruption_level is 2.0; expected a number in [0, 1]"),
        (reconstruct, "{run} {data} -o {folder}/z --seed=-1", "'-1' is not a whole number from 0"),
        (reconstruct, "{run} {data} -o {folder}/z --n-images=0", "'0' is not a whole number above"),
        (reconstruct, "{folder}/clean.npz {data} -o {folder}/z --corruption-level=0.3",
         "--corruption-level is 0.3, but the model in {folder}/clean.npz has no noise; expected 0"),
    ],
)  # fmt: skip
def test_wrong_usage_is_told_in_one_line_before_anything_is_done(
    call, run, data, model, tmp_path, command, options, words
):
    (tmp_path / "dir.npy").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "picture.png").write_text("mine")
    np.save(tmp_path / "wide.npy", X[:3, 1:])
    np.save(tmp_path / "few.npy", X)
    np.savez(tmp_path / "bare.npz", **{p.name: p.get_value() for p in model.params})
    save_model(tmp_path / "clean.npz", dae.Autoencoder(RandomState(1), n_visible=16, n_hidden=2))
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    names = {"run": run, "data": data, "folder": tmp_path}
    status, _stdout, stderr = call(command, *options.format(**names).split())
    assert words.format(**names) in stderr
    assert stderr.startswith(f"dae-{command.__name__.split('.')[-1]}: ")
    assert (status, stderr.count("\n")) == (2, 1)
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before


def test_a_file_that_appears_meanwhile_is_not_replaced(call, run, data, tmp_path, monkeypatch):
    def encode_and_meet(self, images):
        (tmp_path / "codes.npy").write_text("somebody else's")
        return np.zeros((len(images), 3))

    monkeypatch.setattr(DenoisingAutoencoder, "encode", encode_and_meet)
    status, _stdout, stderr = call(encode, run, data, "-o", tmp_path / "codes.npy")
    assert (status, stderr.count("\n")) == (2, 1)
    assert "codes.npy exists; give another name" in stderr
    assert (tmp_path / "codes.npy").read_text() == "somebody else's"
    assert sorted(os.listdir(tmp_path)) == ["codes.npy", "data.npz", "run"]


# How they end


COMMANDS = [
    ("encode", "codes.npy"),
    ("encode", "codes.npz"),
    ("encode", "codes.csv"),
    ("reconstruct", "z.npz"),
    ("reconstruct", "z"),
]


@pytest.fixture
def square(tmp_path):
    """A model with as many hidden as visible units, so that all results have the same shape."""
    save_model(tmp_path / "square.npz", new_model(n_hidden=16), {"image_shape": [4, 4]})
    return tmp_path / "square.npz"


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"]
)
@pytest.mark.parametrize(("command", "name"), COMMANDS)
def test_a_signal_ends_it_without_a_trace(
    forks, square, data, tmp_path, command, name, number, status
):
    out = tmp_path / "out"
    out.mkdir()
    (out / "codes.npy").write_text("mine")
    options = [square, data, "-o", out / name, *(["--force"] if name == "codes.npy" else [])]
    with forks.popen(command, 0.5, *options, program=ASLEEP) as process:
        read_until(process, "asleep")
        process.send_signal(number)
        _stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == status
    assert stderr == f"dae-{command}: stopped by {number.name}; nothing was written\n"
    assert os.listdir(out) == ["codes.npy"]
    assert (out / "codes.npy").read_text() == "mine"


def test_a_second_signal_ends_it_at_once(forks, square, data, tmp_path):
    options = ["encode", 60, square, data, "-o", tmp_path / "c.npy"]
    with forks.popen(*options, program=ASLEEP) as process:
        read_until(process, "asleep")
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.send_signal(signal.SIGINT)
        _stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert stderr == "dae-encode: stopped by SIGINT; nothing was written\n"
    assert not (tmp_path / "c.npy").exists()


def read_until(process, text):
    """Read lines of a process until one holds the text."""
    for line in process.stdout:
        if text in line:
            return
    pytest.fail(f"no {text!r}; stderr: {process.stderr.read()}")


def test_a_closed_pipe_ends_it(square, data, tmp_path):
    with popen(*ENCODE, square, data, "-o", tmp_path / "c.npy") as process:
        process.stdout.close()
        stderr = process.stderr.read()
    assert process.returncode == 1
    assert stderr == "dae-encode: stopped, because standard output failed: Broken pipe\n"
    assert not (tmp_path / "c.npy").exists()


def test_a_full_disk_behind_stdout_ends_it(square, data, tmp_path):
    with open("/dev/full", "w") as full:
        process = popen(*RECONSTRUCT, square, data, "-o", tmp_path / "z.png", stdout=full)
        _stdout, stderr = process.communicate()
        assert process.returncode == 1
        assert stderr.startswith("dae-reconstruct: stopped, because standard output failed: No sp")
        assert stderr.count("\n") == 1
        process = popen(*ENCODE, "--help", stdout=full)
        assert process.communicate() == (None, "")


def test_a_full_disk_is_told_and_what_was_there_stays(
    forks_with_disks, mount, square, data, tmp_path
):
    """A disk of 20 KB, which has a file already that is to be replaced."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount("-t", "tmpfs", "-o", "size=20k", "none", disk)
    on_disk = "import pathlib, sys; [disk] = map(pathlib.Path, sys.argv[1:])\n"
    write = f"{on_disk}(disk / 'codes.npy').write_text('mine')"
    assert forks_with_disks.run(disk, program=write)[0] == 0
    for command, name in COMMANDS:
        options = [square, data, "-o", disk / name, "--force", "--quiet"]
        assert forks_with_disks.run(*options, module=f"dae.{command}") == (
            1, "", f"dae-{command}: {disk}/{name}: No space left on device; nothing was written\n",
        )  # fmt: skip
    read = f"{on_disk}print(*((path.name, path.read_text()) for path in disk.iterdir()))"
    assert forks_with_disks.run(disk, program=read) == (0, "('codes.npy', 'mine')\n", "")


def test_a_bar_is_shown_on_a_terminal(forks, square, data, tmp_path):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (25, 80))
    options = [square, data, "-o", tmp_path / "c.npy"]
    process = forks.popen(*options, module="dae.encode", stderr=theirs)
    os.close(theirs)
    written = b""
    with contextlib.suppress(OSError):  # the terminal is gone when the process is
        while block := os.read(ours, 10_000):
            written += block
    os.close(ours)
    with process:
        stdout, _stderr = process.communicate()
    assert process.returncode == 0
    assert re.search(rf"100%\|█+\| {N_IMAGES}/{N_IMAGES} \[.*image/s", written.decode())
    assert set(stdout) - {"\n"} == set(filter(str.isprintable, stdout))


# What they hold in memory

PEAK = """
import resource, sys
import dae.encode, dae.reconstruct

status = getattr(dae, sys.argv[1]).main(sys.argv[2:])
print("peak", 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sys.exit(status)
"""


@pytest.mark.parametrize(
    ("command", "name", "n_visible", "n_hidden", "n_images"),
    [
        ("encode", "c.npy", 100, 500, 60_000),
        ("encode", "c.npz", 100, 500, 60_000),
        ("reconstruct", "z.npy", 784, 10, 40_000),
        ("reconstruct", "z.npz", 784, 10, 20_000),
    ],
)
def test_memory_does_not_grow_with_what_is_read_and_written(
    forks, tmp_path, command, name, n_visible, n_hidden, n_images
):
    model = new_model(n_visible=n_visible, n_hidden=n_hidden)
    save_model(tmp_path / "model.npz", model)
    image = np.arange(n_visible).astype(np.uint8)
    peaks = []
    for n in (2_000, n_images):
        np.save(tmp_path / "x.npy", np.broadcast_to(image, (n, n_visible)))
        status, stdout, stderr = forks.run(
            command, tmp_path / "model.npz", tmp_path / "x.npy", "-o", tmp_path / name, "--force",
            *(["--corruption-level=0.3"] if name == "z.npz" else []), program=PEAK,
        )  # fmt: skip
        assert (status, stderr) == (0, "")
        peaks.append(int(stdout.split()[-1]))
    assert (tmp_path / name).stat().st_size > 230e6
    assert peaks[1] - peaks[0] < 20e6
