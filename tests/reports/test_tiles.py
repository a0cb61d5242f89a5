import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_array_equal
from PIL import Image

from dae import tile_raster_images
from dae.reports.tiles import draw_filters, draw_side_by_side, enlarge, save_image


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
