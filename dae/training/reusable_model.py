"""An autoencoder that is compiled once, for trainings of any size and any settings."""

from functools import cached_property

import numpy as np
import pytensor

from dae.training._minibatches import Minibatches
from dae.training.config import Config
from dae.training.epochs import train_epochs
from dae.training.fitting import build_model
from dae.training.step import compile_step, compile_validation


class ReusableModel:
    """The worksheet's autoencoder with parameters, data and settings that are put in for each use.

    What is compiled is kept, and nothing else: whoever uses it takes out what is to stay. It is for
    one thread at a time.

    Parameters
    ----------
    floatX : {'float64', 'float32'}
        The arithmetic.
    is_noisy : bool
        Whether it can be trained with noise, or only without.

    Attributes
    ----------
    model : Autoencoder
    """

    def __init__(self, floatX, is_noisy):
        self._floatX = floatX
        with pytensor.config.change_flags(floatX=floatX):
            config = Config(n_hidden=1, corruption_level=float(is_noisy), floatX=floatX)
            self.model = build_model(config, 1)
            self._x = pytensor.shared(np.zeros((1, 1), floatX))
        self._batch_size = pytensor.shared(1)
        self._settings = {
            name: pytensor.shared(0.0) for name in ("corruption_level", "learning_rate")
        }

    @cached_property
    def _train_da(self):
        floatX = self._floatX
        self.put_in(*(np.zeros(shape, floatX) for shape in ((1, 1), 1, 1)))  # as the data are now
        with pytensor.config.change_flags(floatX=floatX):
            step, _ = compile_step(self.model, [self._x], self._batch_size, self._settings)
        return step

    @cached_property
    def _validation_loss(self):
        with pytensor.config.change_flags(floatX=self._floatX):
            return compile_validation(self.model, (np.zeros((1, 1), self._floatX), None))

    def put_in(self, W, b, b_prime):
        """Set the parameters.

        Parameters
        ----------
        W : ndarray, shape (n_visible, n_hidden)
        b : ndarray, shape (n_hidden,)
        b_prime : ndarray, shape (n_visible,)
            All of floatX.
        """
        self.model.n_visible, self.model.n_hidden = W.shape
        for param, value in zip(self.model.params, (W, b, b_prime), strict=True):
            param.set_value(np.array(value, order="C"), borrow=True)

    def train(self, x, config, first_epoch=0, params=None, streams=None):
        """Train on data.

        Parameters
        ----------
        x : ndarray of floatX, shape (n_train, n_visible)
        config : Config
            With masking noise, or none.
        first_epoch : int, default=0
            The number of epochs that are done.
        params : sequence of ndarray, optional
            W, b and b_prime to begin with; by default those that the settings decide.
        streams : ndarray of uint32, optional
            The state of the streams to begin with; the same.

        Yields
        ------
        Epoch

        Raises
        ------
        FloatingPointError
            If a cost is infinite or NaN.
        """
        step = self._train_da  # first, since it sets the parameters
        new_params, new_streams = self._beginning(config, x.shape[1])
        self.put_in(*(new_params if params is None else params))
        self.model.theano_rng.set_state(new_streams if streams is None else streams)
        self._batch_size.set_value(config.batch_size)
        for name, variable in self._settings.items():
            variable.set_value(float(getattr(config, name)))
        minibatches = Minibatches(x, None, config.batch_size, window=[self._x])
        epochs = train_epochs(
            lambda index: step(minibatches.find(index)),
            len(minibatches),
            config.training_epochs,
            first_epoch,
        )
        try:
            for epoch in range(first_epoch, config.training_epochs):
                if config.shuffle:
                    minibatches.shuffle(config.seed, epoch)
                yield next(epochs)
        finally:
            self._x.set_value(np.zeros((1, 1), self._floatX))

    def _beginning(self, config, n_visible):
        """Return the parameters and the streams that a training begins with."""
        with pytensor.config.change_flags(floatX=self._floatX):
            model = build_model(config, n_visible)
            model.get_corrupted_input(model.x, config.corruption_level)  # makes its stream
        params = [param.get_value(borrow=True) for param in model.params]
        return params, model.theano_rng.get_state()

    def validation_loss(self, x):
        """Return the cost of data without noise.

        Parameters
        ----------
        x : ndarray of floatX, shape (n, n_visible)

        Returns
        -------
        float
            The mean over the rows.
        """
        return self._validation_loss((x, None))
