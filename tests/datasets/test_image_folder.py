"""`dae.datasets._image_folder`: folders of images as users have them."""

import builtins
import os
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from dae.datasets import DataError, DataWarning, _memory, load_data, read_data

flat_images = pytest.mark.filterwarnings("ignore:.*hardly vary")


def drawn(n, height=6, width=5):
    """The n-th of a few different grey images."""
    return ((np.arange(height * width) * 7 + 40 * n) % 256).astype("uint8").reshape(height, width)


@pytest.mark.parametrize("extension", ["png", "bmp", "gif", "tif", "pgm", "tga", "webp", "JP2"])
def test_images_of_any_lossless_format_are_read_as_they_are(extension, tmp_path):
    lossless = {"webp": {"lossless": True}}.get(extension, {})
    for n in range(3):
        Image.fromarray(drawn(n)).save(tmp_path / f"{n}.{extension}", **lossless)
    train, valid, test, image_shape, *_ = read_data(tmp_path)
    assert image_shape == (6, 5)
    assert train[0].dtype == np.uint8
    np.testing.assert_array_equal(train[0], [drawn(n).ravel() for n in range(3)])
    assert train[1] is valid[1] is test[1] is None
    assert valid[0].shape == test[0].shape == (0, 30)


@flat_images
def test_jpeg_colours_and_mixed_formats_become_greys(tmp_path):
    flat = np.full((8, 8), 100, "uint8")
    Image.fromarray(flat).save(tmp_path / "1.jpeg")
    Image.fromarray(np.stack([flat, flat, flat], axis=2)).save(tmp_path / "2.png")
    Image.fromarray(flat > 50).save(tmp_path / "3.png")
    Image.new("RGB", (8, 8), (255, 0, 0)).save(tmp_path / "4.ppm")
    images = read_data(tmp_path).train[0]
    # The last is red, whose luma is 0.299 of white (ITU-R BT.601).
    assert images.max(axis=1).tolist() == images.min(axis=1).tolist() == [100, 100, 255, 76]


@flat_images
def test_images_come_in_the_order_of_their_names_numbers_as_numbers(tmp_path):
    names = ["10.png", "2.png", "1.png", "a10b2.png", "a2b10.png", "a2b9.png", "a02b9.png", "b.PNG"]
    names += ["²3.png", "3.png"]
    order = ["1.png", "2.png", "3.png", "10.png"]
    order += ["a02b9.png", "a2b9.png", "a2b10.png", "a10b2.png", "b.PNG", "²3.png"]
    for name in names:
        Image.new("L", (1, 1), order.index(name)).save(tmp_path / name)
    assert read_data(tmp_path).train[0].ravel().tolist() == list(range(10))


def test_hidden_files_other_files_and_folders_without_images_are_passed_over(tmp_path):
    Image.fromarray(drawn(0)).save(tmp_path / "image.png")
    (tmp_path / "._image.png").write_bytes(b"what macOS leaves on foreign disks")
    (tmp_path / "labels.csv").write_text("image,1\n")
    (tmp_path / "Thumbs.db").write_bytes(b"what Windows leaves")
    (tmp_path / "more.png").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "read me.txt").write_text("what the owner leaves")
    (tmp_path / ".hidden").mkdir()
    Image.fromarray(drawn(1)).save(tmp_path / ".hidden" / "image.png")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "._image.png").write_bytes(b"what macOS leaves in archives")
    np.testing.assert_array_equal(read_data(tmp_path).train[0], [drawn(0).ravel()])


@flat_images
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


@flat_images
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


# A folder as users have them


def save(path, pixels, **options):
    """Save an image given as an array, in a folder that may not be there yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


@pytest.fixture
def photos(tmp_path):
    """A folder of all that users have, and for each image the grey values that it should become.

    The images have 6x5 pixels, like `drawn`, and their classes are "cats" and "dogs".
    """
    folder = tmp_path / "photos"
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was turned by 90 degrees
    grey = drawn(1)
    opaque = np.stack([grey, np.full_like(grey, 255)], axis=2)
    opaque[0, 0] = 9, 0  # transparent
    behind = grey.copy()
    behind[0, 0] = 0
    deep = np.arange(0, 65536, 65536 // 30)[:30].astype("uint16").reshape(6, 5)

    save(folder / "cats" / "IMG_2.PNG", grey)
    save(folder / "cats" / "IMG_10.png", drawn(2))
    save(folder / "cats" / "old" / "1998" / "IMG_1.Tif", deep)
    save(folder / "cats" / "rgba.png", opaque[..., [0, 0, 0, 1]])
    save(folder / "cats" / "la.png", opaque)
    save(folder / "dogs" / "turned.jpeg", np.full((5, 6), 100, "uint8"), exif=turned)
    save(folder / "dogs" / "Turned.png", np.rot90(drawn(3)), exif=turned)
    palette = Image.new("P", (5, 6))
    palette.putdata((grey // 64).ravel().tolist())
    palette.putpalette([channel for value in (10, 80, 160, 240) for channel in 3 * [value]])
    palette.save(folder / "dogs" / "palette.gif")
    twelve = deep >> 4
    save(folder / "dogs" / "twelve.png", twelve)

    (folder / ".DS_Store").write_bytes(b"what macOS leaves")
    (folder / "cats" / "Thumbs.db").write_bytes(b"what Windows leaves")
    (folder / "cats" / "._IMG_2.PNG").write_bytes(b"what macOS leaves on foreign disks")
    (folder / "dogs" / "notes.txt").write_text("not an image")
    (folder / "README.pdf").write_bytes(b"%PDF-1.4")
    (folder / "__MACOSX" / "cats").mkdir(parents=True)
    (folder / "__MACOSX" / "cats" / "._IMG_2.PNG").write_bytes(b"what macOS leaves in archives")
    return folder, {
        "cats/IMG_2.PNG": grey,
        "cats/IMG_10.png": drawn(2),
        "cats/la.png": behind,
        "cats/old/1998/IMG_1.Tif": deep >> 8,
        "cats/rgba.png": behind,
        "dogs/Turned.png": drawn(3),
        "dogs/palette.gif": np.array([10, 80, 160, 240], "uint8")[grey // 64],
        "dogs/turned.jpeg": np.full((6, 5), 100),
        "dogs/twelve.png": deep >> 12,
    }


@flat_images
def test_a_folder_as_users_have_it_is_read_with_its_classes(photos):
    folder, expected = photos
    dataset = read_data(folder)
    images, labels = dataset.train
    assert dataset.names == (tuple(expected), (), ())
    assert dataset.label_names == ("cats", "dogs")
    assert dataset.image_shape == (6, 5)
    assert (images.dtype, labels.dtype) == (np.uint8, np.int32)
    assert labels.tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1]
    for name, image, pixels in zip(*dataset.names[:1], images, expected.values(), strict=True):
        np.testing.assert_array_equal(image.reshape(6, 5), pixels, err_msg=name)


def test_a_dataset_begins_with_its_parts_and_their_shape(photos):
    dataset = read_data(photos[0] / "cats" / "old")
    _train, valid, _test, image_shape, *_ = dataset
    assert image_shape == (6, 5)
    assert valid[0].shape == (0, 30)
    assert read_data().names is read_data().label_names is None


def test_without_classes_there_are_names_and_no_labels(tmp_path):
    for name in ("b10.png", "b9.png", "A.png"):
        save(tmp_path / name, drawn(len(name)))
    dataset = read_data(tmp_path)
    assert dataset.names == (("A.png", "b9.png", "b10.png"), (), ())
    assert dataset.label_names is dataset.train[1] is dataset.valid[1] is None


def test_classes_are_sorted_as_imagefolder_sorts_them(tmp_path):
    for number in range(12):
        save(tmp_path / str(number) / "image.png", drawn(number))
    dataset = read_data(tmp_path)
    assert dataset.label_names == tuple(sorted(map(str, range(12))))
    assert dataset.train[1].tolist() == list(range(12))
    assert dataset.names[0] == tuple(f"{name}/image.png" for name in dataset.label_names)
    np.testing.assert_array_equal(dataset.train[0][2], drawn(10).ravel())


@pytest.mark.parametrize("valid", ["valid", "val", "Validation", None])
def test_folders_for_train_valid_and_test_are_parts(valid, tmp_path):
    parts = ("train", valid, "test") if valid else ("train", "test")
    for part in parts:
        for n, name in enumerate(["cat/1.png", "cat/2.png", "dog/1.png"]):
            save(tmp_path / part / name, drawn(n + len(part)))
    save(tmp_path / "test" / "bird" / "1.png", drawn(9))
    dataset = read_data(tmp_path)
    assert dataset.label_names == ("bird", "cat", "dog")
    assert dataset.train[1].tolist() == [1, 1, 2], "the last sixth of sorted classes is one class"
    assert dataset.test[1].tolist() == [0, 1, 1, 2]
    assert dataset.valid[1].dtype == np.int32
    assert dataset.valid[1].tolist() == ([1, 1, 2] if valid else [])
    for part, names in zip(
        (dataset.train, dataset.valid, dataset.test), dataset.names, strict=True
    ):
        for name, x in zip(names, part[0], strict=True):
            np.testing.assert_array_equal(x, np.asarray(Image.open(tmp_path / name)).ravel())


def test_parts_need_no_classes_and_are_none_beside_other_folders(tmp_path):
    for n, name in enumerate(["train/1.png", "train/2.png", "test/1.png"]):
        save(tmp_path / name, drawn(n))
    dataset = read_data(tmp_path)
    assert dataset.names == (("train/1.png", "train/2.png"), (), ("test/1.png",))
    assert dataset.label_names is dataset.train[1] is dataset.test[1] is None
    np.testing.assert_array_equal(dataset.test[0], [drawn(2).ravel()])
    save(tmp_path / "plane" / "1.png", drawn(3))
    dataset = read_data(tmp_path)
    assert dataset.label_names == ("plane", "test", "train")
    assert len(dataset.train[0]) == 4
    (tmp_path / "plane").rename(tmp_path / "TEST")
    with pytest.raises(DataError, match="two folders for one part: TEST, test, train"):
        read_data(tmp_path)


@pytest.mark.parametrize("root", ["", "train/"])
def test_images_beside_folders_of_images_are_read_without_labels(root, tmp_path):
    for n, name in enumerate(["cat/1.png", "dog/1.png", "stray.png"]):
        save(tmp_path / root / name, drawn(n))
    with pytest.warns(DataWarning, match=r"no labels, because .* \(stray\.png\) beside .* \(cat\)"):
        dataset = read_data(tmp_path)
    assert dataset.names[0] == tuple(f"{root}{n}" for n in ("cat/1.png", "dog/1.png", "stray.png"))
    assert dataset.label_names is dataset.train[1] is None
    np.testing.assert_array_equal(dataset.train[0], [drawn(n).ravel() for n in range(3)])


def test_images_beside_the_folders_of_parts_are_refused(tmp_path):
    for n, name in enumerate(["train/1.png", "test/1.png", "stray.png"]):
        save(tmp_path / name, drawn(n))
    with pytest.raises(DataError, match=r"holds images \(stray\.png\) beside test and train; move"):
        read_data(tmp_path)


def test_links_are_followed_but_not_in_circles(tmp_path):
    save(tmp_path / "elsewhere" / "1.png", drawn(0))
    (tmp_path / "photos" / "dogs").mkdir(parents=True)
    (tmp_path / "photos" / "cats").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos" / "dogs" / "back").symlink_to(tmp_path / "photos")
    (tmp_path / "photos" / "dogs" / "1.png").symlink_to(tmp_path / "elsewhere" / "1.png")
    (tmp_path / "elsewhere" / "over").symlink_to(tmp_path / "photos" / "dogs")
    names = read_data(tmp_path / "photos").names[0]
    assert names == ("cats/1.png", "cats/over/1.png", "dogs/1.png")


def test_files_of_formats_that_pillow_lacks_are_told(tmp_path):
    for name in ("1.png", "cat/2.png", "cat/3.HEIC", "cat/4.heic", "5.svg", "6.txt"):
        save((tmp_path / name).with_suffix(".png"), drawn(0))
        (tmp_path / name).with_suffix(".png").rename(tmp_path / name)
    (tmp_path / "1.png").unlink()
    with pytest.warns(DataWarning, match=r": 3 files are left out, .* read \.heic, \.svg; convert"):
        assert read_data(tmp_path).names[0] == ("cat/2.png",)


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    save(tmp_path / "cats" / "1.png", drawn(0))

    def refuse(path, scandir=os.scandir):
        if os.fspath(path).endswith("cats"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match="cats: Permission denied"):
        read_data(tmp_path)


# Bad files


@flat_images
def test_bad_files_are_named_and_left_out_if_asked(photos):
    folder, expected = photos
    whole = (folder / "cats" / "IMG_10.png").read_bytes()
    (folder / "cats" / "IMG_3.png").write_bytes(whole[: len(whole) // 2])
    (folder / "birds").mkdir()
    (folder / "birds" / "page.jpg").write_text("<html>not found</html>")
    (folder / "dogs" / "gone.png").symlink_to(folder / "none.png")
    with pytest.raises(DataError, match=r"page\.jpg: cannot identify.*skip_bad_images leaves it o"):
        read_data(folder)
    with pytest.warns(DataWarning) as warned:
        dataset = read_data(folder, skip_bad_images=True)
    assert {warning.filename for warning in warned} == {__file__}
    messages = [str(warning.message) for warning in warned if "vary" not in str(warning.message)]
    for name, message in zip(["page.jpg", "IMG_3.png", "gone.png"], messages, strict=False):
        assert f"{name}: " in message
        assert message.endswith("; left out")
    assert messages[3:] == [f"{folder}: 3 of 12 images cannot be read and are left out"]
    assert dataset.names[0] == tuple(expected)
    assert dataset.label_names == ("birds", "cats", "dogs")
    assert dataset.train[1].tolist() == [1, 1, 1, 1, 1, 2, 2, 2, 2]
    for image, pixels in zip(dataset.train[0], expected.values(), strict=True):
        np.testing.assert_array_equal(image, pixels.ravel())


def test_a_folder_of_bad_files_only_is_refused(tmp_path):
    for name in ("1.png", "2.png"):
        (tmp_path / name).write_bytes(b"")
    with (
        pytest.warns(DataWarning, match=r"\d\.png: .*; left out"),
        pytest.raises(DataError, match="none of 2 images can be read"),
    ):
        read_data(tmp_path, skip_bad_images=True)


def test_another_size_is_no_bad_file(tmp_path):
    save(tmp_path / "1.png", drawn(0))
    save(tmp_path / "2.png", drawn(0, 5, 6))
    with pytest.raises(
        DataError, match=r"2\.png: 5x6 pixels, but 1\.png has 6x5; give an image sh"
    ):
        read_data(tmp_path, skip_bad_images=True)


def test_more_images_than_memory_holds_are_refused_before_it_is_taken(tmp_path, monkeypatch):
    for n in range(3):
        save(tmp_path / f"{n}.png", drawn(n))
    monkeypatch.setattr(_memory, "available_memory", lambda: 3 * 30 - 1)
    with pytest.raises(DataError, match=r"would take 0 MB of memory"):
        read_data(tmp_path)
    monkeypatch.setattr(_memory, "available_memory", lambda: 3 * 30)
    assert len(read_data(tmp_path).train[0]) == 3


@flat_images
def test_progress_is_told_in_images(photos):
    calls = []
    dataset = read_data(photos[0], progress=lambda *call: calls.append(call))
    assert calls == [(name, i + 1, 9) for i, name in enumerate(dataset.names[0])]


# One image


def test_an_image_is_a_data_set_of_one(tmp_path):
    save(tmp_path / "Cat.PNG", drawn(4))
    for path in (tmp_path / "Cat.PNG", str(tmp_path / "Cat.PNG")):
        dataset = read_data(path)
        assert (dataset.image_shape, dataset.names) == ((6, 5), (("Cat.PNG",), (), ()))
        assert dataset.train[1] is dataset.label_names is None
        np.testing.assert_array_equal(dataset.train[0], [drawn(4).ravel()])


@pytest.mark.parametrize("name", ["", "cat.png"])
def test_resizing_can_be_refused(name, tmp_path):
    save(tmp_path / "cat.png", drawn(4))
    path = tmp_path / name
    assert read_data(path, (6, 5), resize=False).train[0].shape == (1, 30)
    assert read_data(path, (3, 4)).train[0].shape == (1, 12)
    fault = r"cat\.png: 6x5 pixels; expected 3x4, or the option resize$"
    with pytest.raises(DataError, match=fault):
        read_data(path, (3, 4), resize=False)
    with pytest.raises(DataError, match=fault):
        read_data(path, (3, 4), resize=False, skip_bad_images=True)
    with pytest.raises(DataError, match=fault):
        read_data(path, (3, 4, 3), resize=False)


def test_a_bad_image_is_named(tmp_path):
    (tmp_path / "cat.png").write_bytes(b"dog")
    with pytest.raises(DataError, match=r"cat\.png: cannot identify image file [^(]*$"):
        read_data(tmp_path / "cat.png")


# Colours


def coloured(height=6, width=5):
    return np.arange(height * width * 3, dtype="uint8").reshape(height, width, 3) * 2


@pytest.mark.parametrize("options", [{"color": True}, {"image_shape": (6, 5, 3)}])
def test_colours_are_kept_if_asked(options, tmp_path):
    save(tmp_path / "1.png", coloured())
    save(tmp_path / "2.png", drawn(0))
    save(tmp_path / "3.tif", drawn(1).astype("uint16") << 8)
    clear = np.concatenate([coloured(), np.full((6, 5, 1), 255, "uint8")], axis=2)
    clear[2, 3, 3] = 0
    save(tmp_path / "4.png", clear)
    dataset = read_data(tmp_path, background="#ff8000", **options)
    assert dataset.image_shape == (6, 5, 3)
    images = dataset.train[0].reshape(4, 6, 5, 3)
    clear[2, 3, :3] = 255, 128, 0
    np.testing.assert_array_equal(images[0], coloured())
    np.testing.assert_array_equal(images[1], np.stack([drawn(0)] * 3, axis=2))
    np.testing.assert_array_equal(images[2], np.stack([drawn(1)] * 3, axis=2))
    np.testing.assert_array_equal(images[3], clear[..., :3])
    assert read_data(tmp_path, (3, 4), color=True).image_shape == (3, 4, 3)


@pytest.mark.parametrize("name", ["data.npy", "data.npz"])
def test_arrays_of_colour_images_are_read(name, tmp_path):
    x = np.random.RandomState(1).randint(256, size=(7, 6, 5, 3)).astype("uint8")
    path = tmp_path / name
    write = np.save if name == "data.npy" else lambda path, x: np.savez(path, x_train=x)

    def read(x, *args, **options):
        write(path, x)
        return read_data(path, *args, **options)

    for dataset in (
        read(x),
        read(x, (6, 5, 3)),
        read(x, np.array([6, 5, 3])),
        read(x, (6, 5), color=True),
        read(x.reshape(7, 90), (6, 5, 3)),
        read(x.reshape(7, 90), (6, 5), color=True),
    ):
        assert dataset.image_shape == (6, 5, 3)
        np.testing.assert_array_equal(dataset.train[0], x.reshape(7, 90))
    assert read(x.reshape(7, 90), color=True).image_shape == (1, 30, 3)
    assert read(x[:, :5].reshape(7, 75), color=True).image_shape == (5, 5, 3)
    assert read(x[..., :1]).image_shape == read(x[..., :1], (6, 5, 1)).image_shape == (6, 5)
    for sides, options in [((6, 5), {}), ((5, 5, 3), {}), (None, {"color": True})]:
        pixels = x if sides else x[..., 0]
        with pytest.raises(DataError, match=r"images of (90|30) pixels do not have the shape \("):
            read(pixels, sides, **options)
    for channels in (x[..., :2], x.reshape(7, 3, 5, 6), np.zeros((7, 2, 2, 2, 3), "uint8")):
        with pytest.raises(DataError, match=r"expected .*\(images, height, width, 3\)"):
            read(channels)


# Cropping


@pytest.mark.parametrize("upright", [False, True])
def test_cropping_keeps_the_middle_and_the_proportions(upright, tmp_path):
    ramp = np.tile(np.arange(20, dtype="uint8") * 10, (10, 1))  # linear from left to right
    save(tmp_path / "1.png", ramp.T if upright else ramp)

    def read(sides, **options):
        (row,) = read_data(tmp_path, sides[::-1] if upright else sides, **options).train[0]
        image = row.reshape(sides[::-1] if upright else sides)
        return image.T if upright else image

    # Of 20 columns the middle 10 stay, and two of them become one; their mean lies in between.
    np.testing.assert_array_equal(read((5, 5), crop=True)[:, 1:-1], [[75, 95, 115]] * 5)
    # Of 20 columns the middle 15, from 2.5 on, become as many.
    np.testing.assert_array_equal(
        read((10, 15), crop=True)[:, 1:-1], [[25 + 10 * column for column in range(1, 14)]] * 10
    )
    # The same proportions: nothing is cut off.
    np.testing.assert_array_equal(read((5, 10), crop=True), read((5, 10)))
    assert not np.array_equal(read((5, 5), crop=True), read((5, 5)))


def test_cropping_needs_a_shape(tmp_path):
    save(tmp_path / "1.png", drawn(0))
    with pytest.raises(DataError, match="the option crop needs an image shape, such as 28x28"):
        read_data(tmp_path, crop=True)
    assert read_data(crop=True).image_shape == (28, 28), "arrays are taken as they are"


# Contrast and background


def test_autocontrast_stretches_each_image_to_the_whole_range(tmp_path):
    twelve = np.array([[100, 101, 612, 4095]], "uint16")
    save(tmp_path / "1.png", twelve)
    save(tmp_path / "2.tif", twelve)
    save(tmp_path / "3.png", np.array([[7, 9, 8, 11]], "uint8"))
    save(tmp_path / "4.tif", twelve.astype("int32") * 1000)
    save(tmp_path / "5.tif", -twelve.astype("float32") / 1000)
    save(tmp_path / "6.png", np.array([[0, 255, 4, 5]], "uint8"))
    images = read_data(tmp_path, autocontrast=True).train[0].tolist()
    deep = [round((value - 100) * 255 / 3995) for value in (100, 101, 612, 4095)]
    assert images == [
        deep, deep, [0, 128, 64, 255], deep, [255 - value for value in deep], [0, 255, 4, 5],
    ]  # fmt: skip


def test_autocontrast_comes_after_resizing_and_keeps_colours(tmp_path):
    line = np.zeros((40, 40), "uint16")
    line[:, 20] = 4095
    save(tmp_path / "1.png", line)
    image = read_data(tmp_path, (8, 8), autocontrast=True).train[0].reshape(8, 8)
    assert (image.min(), image.max()) == (0, 255)
    save(tmp_path / "1.png", np.array([[[10, 20, 30], [60, 40, 10]]], "uint8"))
    image = read_data(tmp_path, color=True, autocontrast=True).train[0]
    assert image.tolist() == [[0, 51, 102, 255, 153, 0]]


@flat_images
def test_autocontrast_leaves_even_images_alone_and_refuses_what_is_no_number(tmp_path):
    save(tmp_path / "1.png", np.full((1, 2), 200, "uint8"))
    save(tmp_path / "2.png", np.full((1, 2), 0x8081, "uint16"))
    assert read_data(tmp_path, autocontrast=True).train[0].tolist() == [[200, 200], [0x80, 0x80]]
    for value in (np.nan, np.inf):
        save(tmp_path / "3.tif", np.array([[0, value]], "float32"))
        with pytest.raises(DataError, match=r"3\.tif: has pixels that are infinite or NaN"):
            read_data(tmp_path, autocontrast=True)


@pytest.mark.parametrize(
    ("background", "value"), [("white", 255), ("#808080", 128), ("rgb(255, 0, 0)", 76)]
)
def test_transparent_pixels_have_the_background_asked_for(background, value, tmp_path):
    logo = np.zeros((1, 3, 4), "uint8")
    logo[0, :, 3] = 255, 0, 51  # the last is transparent by four fifths
    save(tmp_path / "1.png", logo)
    (image,) = read_data(tmp_path, background=background).train[0].tolist()
    assert image[:2] == [0, value]
    assert abs(image[2] - 0.8 * value) <= 1


@pytest.mark.parametrize("background", ["wite", "#ff", "", None, 3, "#ff000000"])
def test_a_background_that_is_no_colour_is_refused(background, tmp_path):
    save(tmp_path / "1.png", drawn(0))
    with pytest.raises(DataError, match=r"background is .*; expected a colour, such as white"):
        read_data(tmp_path, background=background, skip_bad_images=True)


def test_images_that_hardly_vary_are_warned_of(tmp_path):
    black = np.zeros((6, 5, 4), "uint8")
    black[2:4, 2:4, 3] = 255
    save(tmp_path / "black.png", black)
    for n in range(9):
        save(tmp_path / f"good{n}.png", drawn(n))
    with pytest.warns(
        DataWarning, match=r"1 of 10 images hardly vary \(black\.png .* 0 to 0 of 255"
    ):
        read_data(tmp_path)
    read_data(tmp_path, background="white")
    save(tmp_path / "good9.png", drawn(9))
    read_data(tmp_path)
    for n in range(10):
        save(tmp_path / f"good{n}.png", drawn(n).astype("uint16") << 4)
    with pytest.warns(
        DataWarning, match="11 of 11 images hardly vary .* see the options autocontra"
    ):
        read_data(tmp_path)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_arrays_that_hardly_vary_are_warned_of(dtype, tmp_path):
    x = np.random.RandomState(1).uniform(size=(2000, 4))
    scale = 255 if dtype == "uint8" else 1
    np.save(tmp_path / "data.npy", (x * scale).astype(dtype))
    read_data(tmp_path / "data.npy")
    np.save(tmp_path / "data.npy", (x * scale / 10).astype(dtype))
    with pytest.warns(
        DataWarning, match=r"data\.npy: its pixels hardly vary \(values from \d.* to "
    ):
        read_data(tmp_path / "data.npy")


def test_load_data_has_the_same_options(tmp_path):
    save(tmp_path / "cat" / "1.png", coloured())
    (x, y), _valid, _test = load_data(tmp_path, (6, 5), color=True)
    np.testing.assert_array_equal(x.get_value() * 256, [coloured().ravel()])
    assert y.get_value().tolist() == [0]
