"""The command on folders of images: what it reads, tells, keeps and refuses."""

import contextlib
import io
import json
import re
import sys
import time
import warnings

import numpy as np
import pytest
from PIL import Image

from dae.commands import _reading
from dae.train import main
from dae.training import fitting

OPTIONS = ["--n-hidden=2", "--batch-size=2", "--training-epochs=2", "--quiet"]


@pytest.fixture
def command(capfd):
    """Call the command; give its exit status and the lines that it wrote to stderr."""

    def call(*options):
        try:
            status = main([*OPTIONS, *map(str, options)])
        except SystemExit as end:
            status = end.code
        stdout, stderr = capfd.readouterr()
        assert stdout == ""
        return status, stderr.splitlines()

    return call


@pytest.fixture
def photos(tmp_path):
    """A folder of four images of 8x10 pixels, in two classes."""
    folder = tmp_path / "photos"
    pixels = np.random.RandomState(1).randint(256, size=(4, 8, 10, 3)).astype("uint8")
    for name, image in zip(
        ["cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"], pixels, strict=True
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / name)
    return folder


def config_of(directory):
    return json.loads((directory / "config.json").read_text())


def test_a_folder_of_classes_is_trained_on(command, photos, tmp_path):
    assert command("--data", photos, "--output-dir", tmp_path / "out") == (0, [])
    assert (tmp_path / "out" / "model.npz").exists()
    assert config_of(tmp_path / "out")["image_shape"] == [8, 10]


def test_the_options_are_settings_with_which_a_run_goes_on(command, photos, tmp_path):
    bad = photos / "dog" / "3.png"
    bad.write_bytes(b"")
    out = tmp_path / "out"
    told = [
        f"dae-train: {bad}: cannot identify image file '{bad}'; left out",
        f"dae-train: {photos}: 1 of 5 images cannot be read and are left out",
    ]
    options = ["--image-shape=4x4", "--crop", "--autocontrast", "--background=#ff8800"]
    status, lines = command("--data", photos, "--output-dir", out, *options, "--skip-bad-images")
    assert (status, lines) == (0, told)
    settings = {
        "image_shape": [4, 4], "color": False, "crop": True, "autocontrast": True,
        "background": "#ff8800", "skip_bad_images": True,
    }  # fmt: skip
    assert settings.items() <= config_of(out).items()
    assert command("--resume", out, "--training-epochs=3") == (0, told)
    assert len((out / "costs.csv").read_text().splitlines()) == 4
    status, lines = command("--resume", out, "--training-epochs=4", "--background=white")
    assert status == 2
    assert "background is white, was #ff8800" in lines[-1]


def test_colours_are_visible_units(command, photos, tmp_path, monkeypatch):
    def stop(*args):
        raise FloatingPointError("enough")

    monkeypatch.setattr(fitting, "compile_step", stop)
    status, lines = command("--data", photos, "--color", "--output-dir", tmp_path / "out")
    assert (status, lines) == (1, ["dae-train: enough"])
    assert config_of(tmp_path / "out")["image_shape"] == [8, 10, 3]
    assert config_of(tmp_path / "out")["color"] is True


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], r"2\.png: image file is truncated.* \(the option --skip-bad-images leaves it out\)$"),
        (
            ["--skip-bad-images", "--crop"],
            "photos: the option --crop needs an image shape, ",
        ),
        (["--background=wite"], "background is 'wite'; expected a colour, such as white, black or"),
        (["--background"], "argument --background: expected one argument"),
        (["--image-shape=4x4x3"], "'4x4x3' is not HEIGHTxWIDTH in pixels"),
    ],
)
def test_wrong_usage_is_told_in_one_line(command, photos, tmp_path, options, words):
    path = photos / "cat" / "2.png"
    path.write_bytes(path.read_bytes()[:200])
    status, lines = command("--data", photos, "--output-dir", tmp_path / "out", *options)
    assert status == 2
    assert re.search(words, lines[-1])
    assert len(lines) == 1
    assert not (tmp_path / "out").exists()


def test_pixels_that_hardly_vary_are_told_in_one_line(command, photos, tmp_path):
    for path in photos.rglob("*.png"):
        Image.fromarray(np.arange(80, dtype="uint16").reshape(8, 10) * 50).save(path)
    status, lines = command("--data", photos, "--output-dir", tmp_path / "out")
    assert status == 0
    assert len(lines) == 1
    assert "4 of 4 images hardly vary (cat/1.png has values from 0 to 15 of 255)" in lines[0]
    options = ["--autocontrast", "--output-dir", tmp_path / "stretched"]
    assert command("--data", photos, *options) == (0, [])


def test_what_was_left_out_is_told_before_an_error(command, photos, tmp_path):
    for path in photos.rglob("*.png"):
        path.write_bytes(b"")
    options = ["--skip-bad-images", "--output-dir", tmp_path / "out"]
    status, lines = command("--data", photos, *options)
    assert status == 2
    assert [line.rpartition("; ")[2] for line in lines[:-1]] == ["left out"] * 4
    assert lines[-1] == f"dae-train: {photos}: none of 4 images can be read"


def test_a_bar_is_shown_while_images_are_read(photos, tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    read_data = _reading.read_data

    def read_slowly(source, image_shape, cache_dir, progress, **options):
        def show(*call):
            time.sleep(0.1)  # a bar is not shown for what is there at once
            progress(*call)

        return read_data(source, image_shape, cache_dir, show, **options)

    monkeypatch.setattr(_reading, "read_data", read_slowly)
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert main([*OPTIONS[:-1], f"--data={photos}", f"--output-dir={tmp_path / 'out'}"]) == 0
    assert re.search(r"100%[^\r]* 4\.00/4\.00 [^\r]*image[^\r]*, dog/2\.png", sys.stderr.getvalue())


def test_other_warnings_are_shown_as_ever(recwarn):
    class Console:
        def complain(self, message):
            raise AssertionError(message)

        def bar(self, **settings):
            warnings.warn("look here", UserWarning, stacklevel=2)
            return contextlib.nullcontext()

    warnings.simplefilter("always")
    dataset = _reading.read_for(Console(), "mini-mnist")
    assert dataset.image_shape == (28, 28)
    assert [str(warning.message) for warning in recwarn] == ["look here"]
