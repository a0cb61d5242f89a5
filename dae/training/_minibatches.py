"""The minibatches of data that lie in memory, or in a file that the memory may not hold."""

import numpy as np
import pytensor
from numpy.random import RandomState

from dae.datasets import FileRows

WINDOW = 2**20
"""How many bytes of data are read at once: enough for a disk, few enough for the cache."""


def rows_in_window(x):
    """Return how many rows of data are read at once.

    Parameters
    ----------
    x : ndarray or FileRows, shape (n, n_visible)

    Returns
    -------
    int
    """
    return max(1, WINDOW * len(x) // x.nbytes)


class Minibatches:
    """The minibatches of data, in the order of the rows or in another one.

    A step takes its minibatch from shared variables, which hold a window: some of the minibatches
    that follow each other. For data in memory, in their own order, the window is all of them, and
    nothing is copied.

    Parameters
    ----------
    x : ndarray or FileRows, shape (n, n_visible)
    y : ndarray, shape (n,), or None
        The labels, where they are learned from.
    batch_size : int
        Number of rows in a minibatch.
    window : list of shared variables, optional
        Those of a step that is compiled already; by default new ones.

    Attributes
    ----------
    window : list of shared variables
        Rows of x and, where there are labels, of y.
    """

    def __init__(self, x, y, batch_size, window=None):
        self._parts = [part for part in (x, y) if part is not None]
        self._batch_size = batch_size
        self.window = window or [
            pytensor.shared(np.asarray(part[:batch_size]), borrow=True) for part in self._parts
        ]
        self.set_order(None)

    def __len__(self):
        """Return the number of minibatches, all of them whole."""
        return len(self._parts[0]) // self._batch_size

    def set_order(self, order):
        """Set the order to go through the rows in.

        Parameters
        ----------
        order : ndarray of int, shape (n,), or None
            The numbers of the rows; None for 0, 1, 2, ...
        """
        self._order = order
        self._number = None
        self._n_in_window = len(self)
        if order is not None or isinstance(self._parts[0], FileRows):
            self._n_in_window = max(1, rows_in_window(self._parts[0]) // self._batch_size)

    def shuffle(self, seed, epoch):
        """Set the order of an epoch to a random one.

        Parameters
        ----------
        seed, epoch : int
            They decide the order, so that no state has to be kept to go on later.
        """
        self.set_order(RandomState([seed, epoch]).permutation(len(self._parts[0])))

    def find(self, index):
        """Move the window to where it holds a minibatch.

        Parameters
        ----------
        index : int
            The number of the minibatch, from 0.

        Returns
        -------
        int
            Its number in the window.

        Raises
        ------
        DataError, OSError
            If it cannot be read from the file: see `FileRows`.
        """
        number, place = divmod(index, self._n_in_window)
        if number != self._number:
            n_rows = self._n_in_window * self._batch_size
            rows = slice(number * n_rows, (number + 1) * n_rows)
            if self._order is not None:
                rows = self._order[rows]
            self._number = None  # until all is read
            for variable, part in zip(self.window, self._parts, strict=True):
                # The last window makes room for the next one.
                variable.set_value(np.empty_like(variable.get_value(borrow=True)[:0]), borrow=True)
                variable.set_value(np.asarray(part[rows]), borrow=True)
            self._number = number
        return place
