import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_array_equal
from PIL import Image

from dae import tile_raster_images
from dae.reports.tiles import (
    draw_filters,
    draw_in_rows,
    draw_side_by_side,
    enlarge,
    save_animation,
    save_image,
    sort_by_contribution,
)


def tiles_pixel_by_pixel(X, img_shape, tile_shape, tile_spacing, scale, as_bytes):
    """The picture of a float matrix, every pixel looked up by itself."""
    (height, width), (rows, columns), (gap_y, gap_x) = img_shape, tile_shape, tile_spacing
    out = np.zeros(
        (rows * (height + gap_y) - gap_y, columns * (width + gap_x) - gap_x),
        np.uint8 if as_bytes else X.dtype,
    )
    for top in range(out.shape[0]):
        for left in range(out.shape[1]):
            row, y = divmod(top, height + gap_y)
            column, x = divmod(left, width + gap_x)
            i = row * columns + column
            if y >= height or x >= width or i >= len(X):
                continue
            value = X[i, y * width + x]
            if scale:
                shifted = X[i] - X[i].min()
                value = shifted[y * width + x] * (1 / (shifted.max() + X.dtype.type(1e-8)))
            out[top, left] = int(value * 255) if as_bytes else value
    return out


grids = st.tuples(st.integers(1, 3), st.integers(1, 3))


@given(
    data=st.data(),
    img_shape=grids,
    tile_shape=grids,
    tile_spacing=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    scale=st.booleans(),
    as_bytes=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float64]),
    n=st.integers(0, 10),
)
def test_against_an_independent_implementation(
    data, img_shape, tile_shape, tile_spacing, scale, as_bytes, dtype, n
):
    limits = {"min_value": -100, "max_value": 100} if scale else {"min_value": 0, "max_value": 1}
    width = 32 if dtype == np.float32 else 64
    X = data.draw(
        arrays(dtype, (n, math.prod(img_shape)), elements=st.floats(**limits, width=width))
    )
    options = (img_shape, tile_shape, tile_spacing, scale, as_bytes)
    actual = tile_raster_images(X, *options)
    expected = tiles_pixel_by_pixel(X, *options)
    assert actual.dtype == expected.dtype
    assert_array_equal(actual, expected)


def test_integers_are_scaled_like_floats():
    X = np.arange(24, dtype=np.uint8).reshape(4, 6)
    options = ((2, 3), (2, 2))
    assert_array_equal(tile_raster_images(X, *options), tile_raster_images(X / 1.0, *options))
    floats = tile_raster_images(X, *options, output_pixel_vals=False)
    assert floats.dtype == np.float64
    assert floats.max() <= 1
    assert_array_equal(
        tile_raster_images(np.eye(4, dtype=int), (2, 2), (1, 4), (0, 0), False)[:, :2],
        [[255, 0], [0, 0]],
    )


@pytest.mark.parametrize("output_pixel_vals", [True, False])
def test_channels(output_pixel_vals):
    red, blue = np.random.default_rng(0).uniform(size=(2, 3, 4)).astype(np.float32)
    options = ((2, 2), (2, 2), (1, 1), False, output_pixel_vals)
    picture = tile_raster_images((red, None, blue, None), *options)
    assert picture.shape == (5, 5, 4)
    assert picture.dtype == (np.uint8 if output_pixel_vals else np.float32)
    assert_array_equal(picture[..., 0], tile_raster_images(red, *options))
    assert_array_equal(picture[..., 1], 0)
    assert_array_equal(picture[..., 2], tile_raster_images(blue, *options))
    assert_array_equal(picture[..., 3], 255 if output_pixel_vals else 1)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros((2, 5)), r"shape \(2, 5\); expected rows of 2x2 pixels"),
        (np.zeros(4), r"shape \(4,\)"),
        (np.full((1, 4), 2.0), r"outside \[0, 1\]"),
        (np.full((1, 4), np.nan), "not finite"),
        ((np.zeros((1, 4)),), "expected four channels"),
        ((None, None, None, None), "expected four channels"),
    ],
)
def test_what_cannot_be_drawn_is_refused(X, message):
    with pytest.raises(ValueError, match=message):
        tile_raster_images(X, (2, 2), (1, 1), scale_rows_to_unit_interval=False)


@pytest.mark.parametrize(("n_hidden", "shape"), [(1, (2, 3)), (5, (5, 11)), (100, (29, 39))])
def test_filters_are_the_columns_of_W_in_a_square(n_hidden, shape):
    W = np.random.default_rng(0).normal(size=(6, n_hidden))
    picture = draw_filters(W, (2, 3))
    assert picture.shape == shape
    assert_array_equal(picture[:2, :3], tile_raster_images(W[:, :1].T, (2, 3), (1, 1)))


def test_side_by_side_puts_a_white_band_between():
    x, z = np.zeros((2, 100, 4))
    picture = draw_side_by_side(x, z, img_shape=(2, 2))
    assert picture.shape == (29, 29 + 1 + 29)
    assert_array_equal(np.flatnonzero(picture.all(axis=0)), [29])


def test_saved_pixels_come_back(tmp_path):
    pixels = enlarge(np.array([[0, 255], [255, 0]], np.uint8), 3)
    save_image(tmp_path / "noise.png", pixels)
    assert_array_equal(np.asarray(Image.open(tmp_path / "noise.png")), pixels)
    assert_array_equal(pixels[:3, :3], 0)
    assert pixels.shape == (6, 6)


def test_colours_are_scaled_and_tiled_together():
    W = np.random.default_rng(0).normal(size=(2 * 3 * 3, 5))
    picture = draw_filters(W, (2, 3, 3))
    assert picture.shape == (5, 11, 3)
    for i in range(5):
        top, left = 3 * (i // 3), 4 * (i % 3)
        filter = W[:, i].reshape(2, 3, 3)
        expected = 255 * (filter - filter.min()) / (filter.max() - filter.min())
        tile = picture[top : top + 2, left : left + 3]
        assert np.abs(tile - expected).max() <= 1
        assert (tile.min(), tile.max() >= 254) == (0, True)


def test_images_in_rows():
    x, z = np.random.default_rng(0).uniform(size=(2, 12, 4))
    picture = draw_in_rows(x, z, img_shape=(2, 2))
    assert picture.shape == (2 + 1 + 2, 10 * 3 - 1)
    assert_array_equal(picture[3:, 27:], (255 * z[9]).astype(np.uint8).reshape(2, 2))
    assert draw_in_rows(x[:3], z[:3], x[:3], img_shape=(2, 2)).shape == (8, 8)
    assert draw_in_rows(x, img_shape=(1, 4)).shape == (1, 49)


def test_side_by_side_leaves_no_row_empty():
    x = np.ones((12, 4))
    picture = draw_side_by_side(x, x, img_shape=(2, 2))
    assert picture.shape == (2 + 1 + 2, 29 + 1 + 29)
    assert draw_side_by_side(x[:3], x[:3], img_shape=(2, 2)).shape == (2, 8 + 1 + 8)


def test_colours_side_by_side():
    x, z = np.random.default_rng(0).uniform(size=(2, 5, 12))
    picture = draw_side_by_side(x, z, img_shape=(2, 2, 3), tile_shape=(2, 3))
    assert picture.shape == (5, 8 + 1 + 8, 3)
    assert_array_equal(picture[:, 8], 255)
    assert_array_equal(picture[:2, 9:11], (255 * z[0]).astype(np.uint8).reshape(2, 2, 3))


def test_units_that_contribute_most_come_first():
    rng = np.random.default_rng(0)
    W_prime, y = rng.normal(size=(6, 20)), rng.uniform(size=(50, 6))
    y[:, 3] = 1  # always on
    W_prime[4] *= 10
    # What a unit adds to each pre-activation, without the mean.
    added = np.einsum("ij,jk->jik", y - y.mean(axis=0), W_prime)
    expected = np.argsort(np.sqrt((added**2).sum(axis=2).mean(axis=1)))[::-1]
    order = sort_by_contribution(W_prime, y)
    assert_array_equal(order, expected)
    assert (order[0], order[-1]) == (4, 3)


@pytest.mark.parametrize(
    ("shape", "factor"),
    [((1, 13), 39), ((5, 17), 30), ((89, 89), 5), ((256, 256, 3), 2), ((257, 9), 1), ((900, 9), 1)],
)
def test_small_pictures_are_enlarged_by_a_whole_factor(shape, factor):
    pixels = np.random.default_rng(0).integers(256, size=shape).astype(np.uint8)
    enlarged = enlarge(pixels)
    assert enlarged.shape == (factor * shape[0], factor * shape[1], *shape[2:])
    assert_array_equal(enlarged[factor - 1 :: factor, ::factor], pixels)
    assert_array_equal(enlarged, enlarge(pixels, factor))


@pytest.mark.parametrize("shape", [(9, 7), (9, 7, 3)])
def test_an_animation_shows_every_frame(tmp_path, shape):
    frames = [np.full(shape, value, np.uint8) for value in (0, 100, 255)]
    frames[1][2:4] = 200
    save_animation(tmp_path / "filters.gif", frames)
    with Image.open(tmp_path / "filters.gif") as animation:
        assert (animation.n_frames, animation.size) == (3, (7, 9))
        assert animation.info["loop"] == 0
        for i, frame in enumerate(frames):
            animation.seek(i)
            pixels = np.asarray(animation.convert("RGB"), int)
            assert np.abs(pixels - frame.reshape(9, 7, -1)).max() <= 2
            assert animation.info["duration"] == 2000  # 6 seconds for three, and 2 for the last


def test_an_animation_of_equal_frames_lasts_as_long(tmp_path):
    save_animation(tmp_path / "filters.gif", 5 * [np.zeros((3, 3), np.uint8)])
    with Image.open(tmp_path / "filters.gif") as animation:
        durations = []
        for i in range(animation.n_frames):
            animation.seek(i)
            durations.append(animation.info["duration"])
    assert sum(durations) == 4 * 1200 + 2000
