"""Images, filters and reconstructions, tiled into one picture."""

import numpy as np


def tile_raster_images(
    X,
    img_shape,
    tile_shape,
    tile_spacing=(0, 0),
    scale_rows_to_unit_interval=True,
    output_pixel_vals=True,
):
    """Tile the rows of a matrix, each an image, into a grid.

    Parameters
    ----------
    X : array_like, shape (n_images, height * width), or tuple of four such arrays or None
        The images, one per row. Images beyond the last place of the grid are left out, and places
        without an image are black. A tuple holds the channels red, green, blue and alpha; a colour
        that is None is 0 everywhere, an alpha that is None is opaque.
    img_shape : (int, int)
        Height and width of an image, in pixels.
    tile_shape : (int, int)
        Numbers of rows and of columns of the grid.
    tile_spacing : (int, int), default=(0, 0)
        Pixels between rows and between columns of the grid.
    scale_rows_to_unit_interval : bool, default=True
        Whether to scale each image so that its smallest value becomes 0 and its largest 1. If
        False, all values must be in [0, 1].
    output_pixel_vals : bool, default=True
        Whether to return uint8 from 0 to 255. If False, floats in [0, 1].

    Returns
    -------
    ndarray, shape (picture_height, picture_width), or with channels (..., 4)
        The picture, of uint8 or of the floating-point dtype of `X` (float64 if it has integers).

    Raises
    ------
    ValueError
        If the rows are not images of that shape, a tuple does not have four channels, or there
        are values outside [0, 1].

    Examples
    --------
    Two images of one row each, one below the other:

    >>> X = [[0.0, 1.0], [0.5, 0.25]]
    >>> tile_raster_images(X, (1, 2), (2, 1), (1, 0), scale_rows_to_unit_interval=False)
    array([[  0, 255],
           [  0,   0],
           [127,  63]], dtype=uint8)
    """
    if isinstance(X, tuple):
        return _tile_channels(
            X, img_shape, tile_shape, tile_spacing, scale_rows_to_unit_interval, output_pixel_vals
        )
    X = np.asarray(X)
    height, width = img_shape
    if X.ndim != 2 or X.shape[1] != height * width:
        raise ValueError(f"X has shape {X.shape}; expected rows of {height}x{width} pixels")
    if not np.issubdtype(X.dtype, np.floating):
        X = X.astype(np.float64)
    X = X[: tile_shape[0] * tile_shape[1]]
    if scale_rows_to_unit_interval:
        X = _rows_to_unit_interval(X)
    if not np.all((X >= 0) & (X <= 1)):
        raise ValueError(
            "X has values outside [0, 1] or not finite; scale them, for instance with "
            "scale_rows_to_unit_interval=True"
        )
    steps = (height + tile_spacing[0], width + tile_spacing[1])
    shape = [step * n - gap for step, n, gap in zip(steps, tile_shape, tile_spacing, strict=True)]
    out = np.zeros(shape, X.dtype)
    for i, image in enumerate(X):
        top, left = np.multiply(divmod(i, tile_shape[1]), steps)
        out[top : top + height, left : left + width] = image.reshape(img_shape)
    return (out * 255).astype(np.uint8) if output_pixel_vals else out


def _tile_channels(X, img_shape, tile_shape, *options):
    given = [channel for channel in X if channel is not None]
    if len(X) != 4 or not given:
        raise ValueError("X is a tuple; expected four channels, red, green, blue and alpha")
    first = tile_raster_images(given[0], img_shape, tile_shape, *options)
    out = np.zeros((*first.shape, 4), first.dtype)
    out[..., 3] = 255 if first.dtype == np.uint8 else 1
    for i, channel in enumerate(X):
        if channel is not None:
            out[..., i] = tile_raster_images(channel, img_shape, tile_shape, *options)
    return out


def _rows_to_unit_interval(X):
    # The small number avoids a division by zero where all pixels have the same value.
    low, high = X.min(axis=1, keepdims=True), X.max(axis=1, keepdims=True)
    return (X - low) * (1 / (high - low + 1e-8))


def tile_images(X, img_shape, tile_shape):
    """Tile grey or coloured images, a pixel apart.

    Parameters
    ----------
    X : ndarray of float, shape (n_images, n_visible)
        The images, with values in [0, 1].
    img_shape : (int, int) or (int, int, int)
        Height and width of an image, in pixels, and 3 if it has colours; their product is
        n_visible.
    tile_shape : (int, int)
        Numbers of rows and of columns of the grid.

    Returns
    -------
    ndarray of uint8, shape (picture_height, picture_width) or (picture_height, picture_width, 3)
        Places without an image are black.

    Raises
    ------
    ValueError
        If the rows are not images of that shape, or there are values outside [0, 1].
    """
    options = (tuple(img_shape[:2]), tile_shape, (1, 1), False)
    if len(img_shape) == 2:
        return tile_raster_images(X, *options)
    return tile_raster_images((X[:, 0::3], X[:, 1::3], X[:, 2::3], None), *options)[..., :3]


def draw_filters(W, img_shape):
    """Draw the filters of hidden units, the columns of W, in a grid that is about square.

    Parameters
    ----------
    W : ndarray of float, shape (n_visible, n_hidden)
        The weights.
    img_shape : (int, int) or (int, int, int)
        Height and width of an input, in pixels, and 3 if it has colours; their product is
        n_visible.

    Returns
    -------
    ndarray of uint8, shape (picture_height, picture_width) or (picture_height, picture_width, 3)
        The values of each filter, all colours together, are scaled to the whole range.

    Raises
    ------
    ValueError
        If the columns of W are not images of that shape.

    Examples
    --------
    >>> W = np.random.default_rng(1).normal(size=(784, 100))
    >>> draw_filters(W, (28, 28)).shape  # 10 rows of 10, a pixel apart
    (289, 289)
    """
    return tile_images(_rows_to_unit_interval(W.T), img_shape, grid_shape(W.shape[1]))


def grid_shape(n):
    """Return the shape of a grid that is about square.

    Parameters
    ----------
    n : int
        Number of places that are needed.

    Returns
    -------
    rows, columns : int
        There are as many columns as rows, or one more.
    """
    columns = int(np.ceil(np.sqrt(n)))
    return -(-n // columns), columns


def draw_side_by_side(*images, img_shape, tile_shape=None):
    """Draw several sets of images as grids side by side, such as inputs and reconstructions.

    Parameters
    ----------
    *images : ndarray of float, shape (n_images, n_visible)
        The sets, with values in [0, 1].
    img_shape : (int, int) or (int, int, int)
        Height and width of an image, in pixels, and 3 if it has colours; their product is
        n_visible.
    tile_shape : (int, int), optional
        Numbers of rows and of columns of each grid. By default 10 columns, or fewer if there are
        fewer images, and as many rows as these need.

    Returns
    -------
    ndarray of uint8, shape (picture_height, picture_width) or (picture_height, picture_width, 3)
        Between the grids is a white band half as wide as an image.

    Raises
    ------
    ValueError
        If the rows are not images of that shape, or there are values outside [0, 1].

    Examples
    --------
    >>> x, z = np.random.default_rng(1).uniform(size=(2, 30, 784))
    >>> draw_side_by_side(x, z, img_shape=(28, 28)).shape
    (86, 592)
    """
    if tile_shape is None:
        columns = min(len(images[0]), 10)
        tile_shape = (-(-len(images[0]) // columns), columns)
    grids = [tile_images(X, img_shape, tile_shape) for X in images]
    band_shape = (grids[0].shape[0], max(img_shape[1] // 2, 1), *grids[0].shape[2:])
    band = np.full(band_shape, 255, np.uint8)
    return np.hstack([part for grid in grids for part in (band, grid)][1:])


def draw_in_rows(*images, img_shape, n_columns=10):
    """Draw several versions of the same images in rows, such as inputs above reconstructions.

    Parameters
    ----------
    *images : ndarray of float, shape (n_images, n_visible)
        The versions, with values in [0, 1]; each becomes a row.
    img_shape : (int, int) or (int, int, int)
        Height and width of an image, in pixels, and 3 if it has colours; their product is
        n_visible.
    n_columns : int, default=10
        How many of the images to draw, at the most.

    Returns
    -------
    ndarray of uint8, shape (picture_height, picture_width) or (picture_height, picture_width, 3)

    Raises
    ------
    ValueError
        If the rows are not images of that shape, or there are values outside [0, 1].

    Examples
    --------
    >>> x, tilde_x, z = np.random.default_rng(1).uniform(size=(3, 30, 784))
    >>> draw_in_rows(x, tilde_x, z, img_shape=(28, 28)).shape
    (86, 289)
    """
    rows = [X[:n_columns] for X in images]
    return tile_images(np.concatenate(rows), img_shape, (len(rows), len(rows[0])))


def sort_by_contribution(W_prime, y):
    r"""Sort hidden units by how much of the reconstructions depends on them.

    What unit j adds to the pre-activations of the visible units is :math:`y_j W'_j`. Its mean over
    images could as well be in the bias :math:`b'`; the measure is the root mean square, over
    images, of the length of the rest:

    .. math:: \sqrt{\mathrm{mean}\left(\|(y_j - \bar y_j)\, W'_j\|^2\right)}
        = \mathrm{std}(y_j)\, \|W'_j\|

    A unit that is always on, always off, or has small weights matters little.

    Parameters
    ----------
    W_prime : ndarray of float, shape (n_hidden, n_visible)
        The weights of the decoder.
    y : ndarray of float, shape (n_images, n_hidden)
        The hidden values of images.

    Returns
    -------
    ndarray of int, shape (n_hidden,)
        The numbers of the units, the one that contributes most first; equals keep their order.

    Examples
    --------
    The second unit is always on; the third has larger weights than the first:

    >>> W_prime = np.array([[1.0, 1.0], [9.0, 9.0], [2.0, 2.0]])
    >>> y = np.array([[0.0, 1.0, 1.0], [1.0, 1.0, 0.0]])
    >>> sort_by_contribution(W_prime, y)
    array([2, 0, 1])
    """
    return np.argsort(-y.std(axis=0) * np.linalg.norm(W_prime, axis=1), kind="stable")


def enlarge(pixels, factor=None):
    """Enlarge a picture by an integer factor: each pixel becomes a square.

    Parameters
    ----------
    pixels : ndarray, shape (height, width, ...)
    factor : int, optional
        Side of the squares, in pixels. By default the largest for which the picture is at most
        512 pixels high and wide, or 1: so a picture that is larger than half of it stays as it is.

    Returns
    -------
    ndarray, shape (factor * height, factor * width, ...)
        Of the dtype of `pixels`.

    Examples
    --------
    >>> enlarge(np.array([[0, 255]], "uint8"), 2)
    array([[  0,   0, 255, 255],
           [  0,   0, 255, 255]], dtype=uint8)
    """
    if factor is None:
        factor = max(512 // max(pixels.shape[:2]), 1)
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def save_image(file, pixels, format=None):
    """Write a picture.

    Parameters
    ----------
    file : path-like or binary file
    pixels : ndarray of uint8, shape (height, width), (height, width, 3) or (height, width, 4)
        Grey values, or red, green, blue and perhaps alpha.
    format : str, optional
        The format, such as "png"; by default the one that the extension of a path says.

    Examples
    --------
    >>> save_image("grey.png", np.full((28, 28), 128, "uint8"))
    """
    from PIL import Image

    Image.fromarray(pixels).save(file, format)


def save_animation(file, frames, seconds=6):
    """Write an animated GIF, which starts again after its last picture has been shown for longer.

    Parameters
    ----------
    file : path-like or binary file
    frames : sequence of ndarray of uint8, shape (height, width) or (height, width, 3)
        The pictures, all of the same shape; they are reduced to 32 colours.
    seconds : float, default=6
        How long it takes up to the last picture, which is shown for 2 seconds.

    Examples
    --------
    >>> frames = [np.full((28, 28), level, "uint8") for level in (0, 128, 255)]
    >>> save_animation("brighter.gif", frames, seconds=3)
    """
    from PIL import Image

    pictures = [Image.fromarray(frame).quantize(32) for frame in frames]
    # Browsers take durations below 20 ms for 100 ms.
    step = max(round(1000 * seconds / len(pictures)), 20)
    durations = [step] * (len(pictures) - 1) + [2000]
    pictures[0].save(
        file, "gif", save_all=True, append_images=pictures[1:], duration=durations, loop=0
    )
