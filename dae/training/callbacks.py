"""What a caller adds to a training: output, early stopping, and the like."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numpy.typing import NDArray

if TYPE_CHECKING:
    from dae.training.epochs import Epoch
    from dae.training.fitting import Training


class Callback:
    """What `fit` calls in the course of a training. Every method here does nothing.

    Parameters, history and costs are whole whenever it is called. What it raises leaves `fit` at
    once, without a checkpoint; to end a training well, there is `Training.stop`.

    Examples
    --------
    Stop when the cost falls below a bound, and draw a dot for every epoch on the way:

    >>> import dae
    >>> class Bound(dae.Callback):
    ...     def __init__(self, bound):
    ...         self.bound = bound
    ...
    ...     def on_epoch(self, training, epoch):
    ...         print(".", end="")
    ...         if epoch.cost < self.bound:
    ...             training.stop()
    >>> config = dae.Config(n_hidden=20, learning_rate=0.5, training_epochs=9)
    >>> model, history = dae.fit(config, dae.load_data()[0][0], callbacks=[Bound(150)])
    ..
    """

    def get_state(self) -> dict[str, NDArray]:
        """Return what a checkpoint has to hold of the callback, for a training that is resumed.

        Returns
        -------
        dict of ndarray
            From names to arrays, whose number, dtypes and shapes do not change in the course of a
            training; empty by default. In the checkpoint their names begin with that of the class.
        """
        return {}

    def set_state(self, state: dict[str, NDArray]) -> None:
        """Set the callback to where `get_state` was called; run before `on_compiled`.

        Parameters
        ----------
        state : dict of ndarray
            What it returned.
        """

    def on_begin(self, training: Training) -> None:
        """Run before the step is compiled; the run directory, if there is one, is locked.

        Parameters
        ----------
        training : Training
            The training, which has no `train_da` yet.
        """

    def on_compiled(self, training: Training) -> None:
        """Run before the first minibatch; a training that is resumed is where it had got to.

        Parameters
        ----------
        training : Training
            The training.
        """

    def on_minibatch(self, training: Training) -> None:
        """Run after each minibatch, whose cost is ``training.costs[-1]``.

        Parameters
        ----------
        training : Training
            The training; an epoch that ends with this minibatch is not in its history yet.
        """

    def on_epoch(self, training: Training, epoch: Epoch) -> None:
        """Run after each epoch.

        Parameters
        ----------
        training : Training
            The training.
        epoch : Epoch
            The epoch, which is ``training.history[-1]``.
        """

    def on_end(self, training: Training) -> None:
        """Run at the end of `fit`, after the last checkpoint.

        Parameters
        ----------
        training : Training
            The training; ``training.is_finished`` says whether anything is left to do.
        """
