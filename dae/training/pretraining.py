"""Pre-train the layers of a stack one by one, each kept in a run directory of its own."""

from collections.abc import Sequence
from contextlib import ExitStack

from dae.training.callbacks import Callback
from dae.training.fitting import Training, fit
from dae.training.run_directory import Run


class Pretraining(Callback):
    """Train each layer of a stack as a denoising autoencoder, before `fit` trains them together.

    Layer k learns from the codes of layer k - 1, which are computed once. If the stack is kept in
    a run directory, layer k is kept in ``layer_k`` there. A training that ended in
    pre-training goes on where it had got to, when it is resumed.

    Parameters
    ----------
    callbacks : sequence of Callback, default=()
        Called in the training of each layer, as `fit` calls its own. If one of them stops it, the
        training of the stack is stopped, too.

    Examples
    --------
    >>> import dae
    >>> from numpy.random import RandomState
    >>> train, valid, test = dae.load_data()
    >>> config = dae.StackConfig(
    ...     hidden_layers_sizes=(20, 15), pretraining_epochs=1, training_epochs=2
    ... )
    >>> stack = dae.StackedDenoisingAutoencoder(
    ...     RandomState(config.seed), hidden_layers_sizes=config.hidden_layers_sizes
    ... )
    >>> model, history = dae.fit(
    ...     config, train, validation=valid, model=stack, callbacks=[Pretraining()]
    ... )
    >>> len(history)
    2
    """

    def __init__(self, callbacks: Sequence[Callback] = ()):
        self._callbacks = callbacks

    def on_begin(self, training: Training) -> None:
        """Train the layers one by one, unless fine-tuning has begun.

        Parameters
        ----------
        training : Training
            The training of the stack, with a `StackConfig`.
        """
        config, run = training.config, training.run
        if config.pretraining_epochs == 0 or (run is not None and run.state):
            return
        x = training.train_set[0]
        for number, da in enumerate(training.model.layer_models(), start=1):
            _, history = self._fit_layer(config.layer(number), x, da, run)
            if len(history) < config.pretraining_epochs:
                training.stop()
                return
            x = da.encode(x)

    def _fit_layer(self, config, x, da, run):
        """Train a layer, in its directory if the stack has one."""
        with ExitStack() as exit_stack:
            layer_run = None
            if run is not None:
                directory = run.directory / f"layer_{config.layer}"
                layer_run = exit_stack.enter_context(Run(directory, run.checkpoint_every))
                if layer_run.newest.exists() or layer_run.previous.exists():
                    layer_run.reopen()
            return fit(config, x, model=da, run=layer_run, callbacks=self._callbacks)
