"""`dae.datasets._image_folder`: folders of images as users have them."""

import builtins
import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from dae.datasets import DataError, read_data


def drawn(n, height=6, width=5):
    """The n-th of a few different grey images."""
    return ((np.arange(height * width) * 7 + 40 * n) % 256).astype("uint8").reshape(height, width)


@pytest.mark.parametrize("extension", ["png", "bmp", "gif", "tif", "pgm", "tga", "webp", "JP2"])
def test_images_of_any_lossless_format_are_read_as_they_are(extension, tmp_path):
    lossless = {"webp": {"lossless": True}}.get(extension, {})
    for n in range(3):
        Image.fromarray(drawn(n)).save(tmp_path / f"{n}.{extension}", **lossless)
    train, valid, test, image_shape = read_data(tmp_path)
    assert image_shape == (6, 5)
    assert train[0].dtype == np.uint8
    np.testing.assert_array_equal(train[0], [drawn(n).ravel() for n in range(3)])
    assert train[1] is valid[1] is test[1] is None
    assert valid[0].shape == test[0].shape == (0, 30)


def test_jpeg_colours_and_mixed_formats_become_greys(tmp_path):
    flat = np.full((8, 8), 100, "uint8")
    Image.fromarray(flat).save(tmp_path / "1.jpeg")
    Image.fromarray(np.stack([flat, flat, flat], axis=2)).save(tmp_path / "2.png")
    Image.fromarray(flat > 50).save(tmp_path / "3.png")
    Image.new("RGB", (8, 8), (255, 0, 0)).save(tmp_path / "4.ppm")
    images = read_data(tmp_path).train[0]
    # The last is red, whose luma is 0.299 of white (ITU-R BT.601).
    assert images.max(axis=1).tolist() == images.min(axis=1).tolist() == [100, 100, 255, 76]


def test_images_come_in_the_order_of_their_names_numbers_as_numbers(tmp_path):
    names = ["10.png", "2.png", "1.png", "a10b2.png", "a2b10.png", "a2b9.png", "a02b9.png", "b.PNG"]
    names += ["²3.png", "3.png"]
    order = ["1.png", "2.png", "3.png", "10.png"]
    order += ["a02b9.png", "a2b9.png", "a2b10.png", "a10b2.png", "b.PNG", "²3.png"]
    for name in names:
        Image.new("L", (1, 1), order.index(name)).save(tmp_path / name)
    assert read_data(tmp_path).train[0].ravel().tolist() == list(range(10))


def test_hidden_files_other_files_and_folders_are_passed_over(tmp_path):
    Image.fromarray(drawn(0)).save(tmp_path / "image.png")
    (tmp_path / "._image.png").write_bytes(b"what macOS leaves on foreign disks")
    (tmp_path / "labels.csv").write_text("image,1\n")
    (tmp_path / "Thumbs.db").write_bytes(b"what Windows leaves")
    (tmp_path / "more.png").mkdir()
    Image.fromarray(drawn(1)).save(tmp_path / "more.png" / "image.png")
    np.testing.assert_array_equal(read_data(tmp_path).train[0], [drawn(0).ravel()])


def test_images_of_different_sizes_need_a_shape_and_are_stretched_to_it(tmp_path):
    Image.new("L", (20, 10), 50).save(tmp_path / "1.png")
    Image.new("L", (7, 9), 200).save(tmp_path / "2.png")
    half = np.zeros((40, 60), "uint8")
    half[:, 30:] = 255
    Image.fromarray(half).save(tmp_path / "3.png")
    with pytest.raises(DataError, match=r"2\.png: 9x7 pixels, but 1\.png has 10x20; .*shape"):
        read_data(tmp_path)
    dataset = read_data(tmp_path, image_shape=(4, 6))
    assert dataset.image_shape == (4, 6)
    images = dataset.train[0].reshape(3, 4, 6)
    assert (images[0] == 50).all()
    assert (images[1] == 200).all()
    assert (images[2, :, :2] < 20).all()
    assert (images[2, :, -2:] > 235).all()


def test_sixteen_bits_are_scaled_and_transparency_is_black(tmp_path):
    deep = np.array([[0, 255, 256, 32768, 65535]], "uint16")
    Image.fromarray(deep).save(tmp_path / "1.png")
    Image.fromarray(deep).save(tmp_path / "2.tif")
    colours = np.zeros((1, 5, 4), "uint8")
    colours[..., :3] = 200
    colours[..., 3] = [0, 255, 0, 255, 255]
    Image.fromarray(colours).save(tmp_path / "3.png")
    palette = Image.new("P", (5, 1), 1)
    palette.putpalette([0, 0, 0, 90, 90, 90, 255, 255, 255])
    palette.putpixel((0, 0), 2)
    palette.save(tmp_path / "4.png", transparency=b"\xff\xff\x00")
    assert read_data(tmp_path).train[0].tolist() == [
        [0, 0, 1, 128, 255],
        [0, 0, 1, 128, 255],
        [0, 200, 0, 200, 200],
        [0, 90, 90, 90, 90],
    ]


def test_a_photograph_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by 90 degrees
    Image.fromarray(drawn(0)).save(tmp_path / "1.png", exif=exif)
    dataset = read_data(tmp_path)
    assert dataset.image_shape == (5, 6)
    np.testing.assert_array_equal(dataset.train[0][0].reshape(5, 6), np.rot90(drawn(0), -1))


def png_of_declared_size(width, height):
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")):
        png += struct.pack(">I", len(data)) + kind + data
        png += struct.pack(">I", zlib.crc32(kind + data))
    return png


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"<html>not found</html>", id="a page"),
        pytest.param(png_of_declared_size(12_000, 12_000), id="a bomb of which Pillow warns"),
        pytest.param(png_of_declared_size(100_000, 100_000), id="a bomb that Pillow refuses"),
        pytest.param(png_of_declared_size(0, 5), id="no pixels"),
    ],
)
@pytest.mark.parametrize("name", ["0.png", "2.jpg", "3.eps", "4.ps"])
def test_a_file_named_as_an_image_that_is_none_is_refused(name, content, tmp_path):
    Image.fromarray(drawn(0)).save(tmp_path / "1.png")
    (tmp_path / name).write_bytes(content)
    for image_shape in (None, (6, 5)):
        with pytest.raises(DataError, match=rf"{name}: \S+") as refusal:
            read_data(tmp_path, image_shape)
        assert str(refusal.value).isprintable()


def test_an_image_is_read_whole_or_refused(tmp_path):
    Image.fromarray(drawn(0)).save(tmp_path / "1.png")
    whole = (tmp_path / "1.png").read_bytes()
    refused = 0
    for size in range(len(whole)):
        (tmp_path / "1.png").write_bytes(whole[:size])
        try:
            images = read_data(tmp_path).train[0]
        except DataError:
            refused += 1
        else:  # what is missing are checksums
            np.testing.assert_array_equal(images, [drawn(0).ravel()])
    assert refused >= len(whole) - 20


def test_postscript_is_refused_and_not_run(tmp_path, monkeypatch):
    marker = tmp_path / "marker"
    ghostscript = tmp_path / "bin" / "gs"
    ghostscript.parent.mkdir()
    ghostscript.write_text(f"#!/bin/sh\ntouch {marker}\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", str(ghostscript.parent), prepend=os.pathsep)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    Image.fromarray(drawn(0)).save(tmp_path / "1.eps")
    (tmp_path / "1.eps").replace(tmp_path / "2.png")
    for name in ("1.eps", "2.png", "3.ps"):
        next(tmp_path.glob("[123].*")).replace(tmp_path / name)
        with pytest.raises(DataError, match=f"{name}: cannot identify"):
            read_data(tmp_path)
    assert not marker.exists()
    with Image.open(tmp_path / "3.ps") as image, pytest.raises(OSError, match="cannot identify"):
        image.load()
    assert marker.exists(), "Pillow does not run it, so refusing it proves nothing"


def test_pixels_of_unknown_range_are_refused(tmp_path):
    for mode in ("F", "I"):
        Image.new(mode, (5, 6)).save(tmp_path / "1.tif")
        with pytest.raises(DataError, match=r"1\.tif: has 32-bit pixels"):
            read_data(tmp_path)


def test_a_link_to_nowhere_is_refused(tmp_path):
    (tmp_path / "1.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(DataError, match=r"1\.png: No such file"):
        read_data(tmp_path)


def test_a_shape_that_no_memory_holds_is_refused(tmp_path):
    for n in range(4):
        Image.fromarray(drawn(n)).save(tmp_path / f"{n}.png")
    with pytest.raises(DataError, match=r"0\.png: ."):
        read_data(tmp_path, image_shape=(10**9, 10**9))


@pytest.fixture
def warning_format():
    """A format, .warns, whose decoder warns in the category that the file names."""
    Image.init()

    def decode(file, name):
        with file:
            category = getattr(builtins, file.read()[5:].decode())
        warnings.warn("look here", category, stacklevel=1)
        return Image.new("L", (6, 5), 7)

    Image.register_open("WARNS", decode, lambda prefix: prefix.startswith(b"WARNS"))
    Image.register_extension("WARNS", ".warns")
    yield
    Image.ID.remove("WARNS")
    del Image.OPEN["WARNS"], Image.EXTENSION[".warns"]


@pytest.mark.usefixtures("warning_format")
@pytest.mark.parametrize(
    "category",
    ["DeprecationWarning", "PendingDeprecationWarning", "FutureWarning", "ResourceWarning"],
)
def test_warnings_about_code_are_not_the_datas_fault(category, tmp_path):
    (tmp_path / "1.warns").write_text(f"WARNS{category}")
    with pytest.warns(getattr(builtins, category), match="look here"):
        dataset = read_data(tmp_path)
    np.testing.assert_array_equal(dataset.train[0], np.full((1, 30), 7))
    with pytest.raises(getattr(builtins, category), match="look here"):
        read_data(tmp_path)  # warnings are errors in the tests: the caller's wish


@pytest.mark.usefixtures("warning_format")
@pytest.mark.parametrize("category", ["UserWarning", "RuntimeWarning"])
def test_warnings_about_the_picture_are_errors(category, tmp_path):
    (tmp_path / "1.warns").write_text(f"WARNS{category}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(DataError, match=r"1\.warns: look here"):
            read_data(tmp_path)
