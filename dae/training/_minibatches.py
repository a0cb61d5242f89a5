"""The minibatches of data that lie in memory, or in a file that the memory may not hold."""

import numpy as np

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

    Parameters
    ----------
    x : ndarray or FileRows, shape (n, n_visible)
    y : ndarray, shape (n,), or None
        The labels, where they are learned from.
    batch_size : int
        Number of rows in a minibatch.
    """

    def __init__(self, x, y, batch_size):
        self._parts = [part for part in (x, y) if part is not None]
        self._batch_size = batch_size
        # Of data in memory a minibatch is taken as it is needed; a file is read by the window.
        self._n_in_window = 1
        if isinstance(x, FileRows):
            self._n_in_window = max(1, rows_in_window(x) // batch_size)
        self.set_order(None)

    def set_order(self, order):
        """Set the order to go through the rows in.

        Parameters
        ----------
        order : ndarray of int, shape (n,), or None
            The numbers of the rows; None for 0, 1, 2, ...
        """
        self._order = order
        self._window_number, self._window = None, None

    def __len__(self):
        """Return the number of minibatches, all of them whole."""
        return len(self._parts[0]) // self._batch_size

    def __getitem__(self, index):
        """Return a minibatch.

        Parameters
        ----------
        index : int
            Its number, from 0.

        Returns
        -------
        list of ndarray
            Its x and, where there are labels, its y.

        Raises
        ------
        DataError, OSError
            If it cannot be read from the file: see `FileRows`.
        """
        number, place = divmod(index, self._n_in_window)
        if number != self._window_number:
            n_rows = self._n_in_window * self._batch_size
            rows = slice(number * n_rows, (number + 1) * n_rows)
            if self._order is not None:
                rows = self._order[rows]
            self._window_number, self._window = None, None  # which makes room for the next one
            self._window = [np.asarray(part[rows]) for part in self._parts]
            self._window_number = number
        rows = slice(place * self._batch_size, (place + 1) * self._batch_size)
        return [part[rows] for part in self._window]
