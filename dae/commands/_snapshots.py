"""How the filters of a training form: pictures of them, kept on the way."""

import numpy as np
from PIL import Image

from dae.reports.tiles import draw_filters, grid_shape, save_image
from dae.training.callbacks import Callback

MAX_FRAMES = 50
"""An animation of more snapshots than that leaves some out."""


class Snapshots(Callback):
    """Draw the filters at first and after every so many epochs.

    The pictures lie in a folder of the run directory, such as ``filters-every-10``, and are named
    after the number of epochs that are done, such as ``00020.png``. So a run that is resumed needs
    not be told: see `every_of`.

    Parameters
    ----------
    run : Run
        The run directory.
    every : int
        Number of epochs between pictures.
    """

    def __init__(self, run, every):
        self.every = every
        self._run = run
        self._name = f"filters-every-{every}"

    @staticmethod
    def every_of(run):
        """Return the number of epochs between the pictures that a run directory holds.

        Parameters
        ----------
        run : Run

        Returns
        -------
        int or None
            None if it holds none.
        """
        folders = run.directory.glob("filters-every-*")
        numbers = (folder.name.removeprefix("filters-every-") for folder in folders)
        return min((int(number) for number in numbers if number.isdecimal()), default=None)

    def on_compiled(self, training):
        """Draw the first filters, or those that a killed run has not come to draw.

        Parameters
        ----------
        training : Training
            The training.
        """
        (self._run.directory / self._name).mkdir(exist_ok=True)
        if not training.costs:
            self._draw_if_due(training)

    def on_epoch(self, training, epoch):
        """Draw the filters, if that is due.

        Parameters
        ----------
        training : Training
            The training.
        epoch : Epoch
            The epoch that has ended.
        """
        self._draw_if_due(training)

    def _draw_if_due(self, training):
        n_done = len(training.history)
        if n_done % self.every == 0:
            W = training.model.W.get_value(borrow=True)
            with self._run.written(f"{self._name}/{n_done:05}.png") as path:
                save_image(path, draw_filters(W, training.config.image_shape))

    def frames(self, order):
        """Return the pictures as they are kept, at most about 50, and how many epochs each had.

        Parameters
        ----------
        order : ndarray of int, shape (n_hidden,)
            The order in which to show the units.

        Returns
        -------
        list of (int, ndarray of uint8)
            The numbers of epochs, and the pictures.
        """
        paths = {
            int(path.stem): path
            for path in (self._run.directory / self._name).glob("*.png")
            if path.stem.isdecimal() and int(path.stem) <= len(self._run.history)
        }
        numbers = sorted(paths)
        shown = np.linspace(0, len(numbers) - 1, min(len(numbers), MAX_FRAMES)).round().astype(int)
        frames = []
        for number in (numbers[i] for i in shown):
            with Image.open(paths[number]) as picture:
                frames.append((number, _reorder(np.asarray(picture), order)))
        return frames


def _reorder(pixels, order):
    """Return a picture that `draw_filters` drew, as if the units had another order."""
    rows, columns = grid_shape(len(order))
    # Let every tile have the line below and the line on its right that the last ones lack.
    pixels = np.pad(pixels, [(0, 1), (0, 1)] + [(0, 0)] * (pixels.ndim - 2))
    height, width = pixels.shape[0] // rows, pixels.shape[1] // columns
    tiles = pixels.reshape(rows, height, columns, width, -1).swapaxes(1, 2)
    tiles = tiles.reshape(rows * columns, height, width, -1)
    tiles = np.concatenate([tiles[order], tiles[len(order) :]])
    tiles = tiles.reshape(rows, columns, height, width, -1).swapaxes(1, 2)
    return tiles.reshape(pixels.shape)[:-1, :-1]
