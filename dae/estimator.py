"""The denoising autoencoder with the interface of scikit-learn, which is needed for it."""

import threading
import warnings
from functools import lru_cache
from numbers import Integral

import numpy as np

from dae.datasets import to_floatX
from dae.training.config import Config
from dae.training.reusable_model import ReusableModel
from dae.training.settings import ConfigError

try:
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_array, check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        f"dae.estimator needs scikit-learn 1.6 or newer: pip install 'dae[sklearn]' ({error})"
    ) from None

NAMES = {"n_hidden": "n_components", "training_epochs": "n_iter", "seed": "random_state"}
"""The names that settings of `Config` have here, where they are not the same."""

TOLERANCE = 1e-6
"""How far rounding may bring values that were scaled to [0, 1] out of it."""

DTYPES = [np.float64, np.float32, np.uint8]
"""What data are not converted from before they are looked at."""

# What is compiled for one precision, with noise or without, serves all estimators, one at a time.
_compiled = lru_cache(ReusableModel)
_lock = threading.Lock()


class DenoisingAutoencoderTransformer(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    r"""A denoising autoencoder as a transformer of scikit-learn.

    It learns codes, the values of hidden units, from which rows of data can be reconstructed of
    which a part was hidden. Weights are tied, and the cost is the cross-entropy:

    .. math::
        y = s(\tilde{x} W + b), \qquad z = s(y W^T + b'), \qquad
        L(x, z) = -\sum_k \left[ x_k \log z_k + (1 - x_k) \log(1 - z_k) \right]

    The numbers are those of `dae.fit`, and of the command ``python -m dae.train``, with the same
    settings and seed: to the last bit.

    Parameters
    ----------
    n_components : int, default=100
        Number of hidden units.
    corruption_level : float, default=0.3
        Probability in [0, 1] that a value of the input is hidden; 0 trains an autoencoder without
        noise.
    learning_rate : float, default=0.1
        The step size of gradient descent, in (0, 1e38].
    batch_size : int, default=20
        Number of rows in a minibatch; all rows, if there are fewer. What is left of the rows after
        the last whole minibatch is not trained on; with `shuffle` it is others in each pass.
    n_iter : int, default=200
        Number of passes over the data.
    shuffle : bool, default=False
        Whether to go through the rows in a new order in each pass.
    random_state : int, RandomState instance or None, default=None
        Decides the initial weights, the noise and the order. An int in [0, 2**32) gives the same
        results each time.
    verbose : int, default=0
        If it is not 0, each pass is printed.
    warm_start : bool, default=False
        Whether `fit` goes on from where the last one ended, for `n_iter` passes more.

    Attributes
    ----------
    components_ : ndarray, shape (n_components, n_features)
        The transpose of the weights W.
    intercept_hidden_ : ndarray, shape (n_components,)
        The biases b of the hidden units.
    intercept_visible_ : ndarray, shape (n_features,)
        The biases b' of the visible units.
    n_features_in_ : int
        Number of visible units.
    feature_names_in_ : ndarray of str, shape (n_features,)
        The names of the columns, if the data have any.
    n_iter_ : int
        Number of passes that were trained, those before a `warm_start` included.

    Notes
    -----
    Data are in [0, 1], as `sklearn.preprocessing.MinMaxScaler` returns them. For other data the
    cost has no lower bound, so `fit` warns, and goes on with the values as they are. Bytes (uint8)
    are pixels: they are divided by 256. Float32 is computed in and returned; everything else is
    computed in float64.

    Estimators of a process share one compiled step, whatever their settings are; one at a time is
    trained or applied. Several threads are therefore no faster than one, several processes are.

    Examples
    --------
    >>> import dae
    >>> images = dae.load_data()[0][0].get_value()
    >>> estimator = DenoisingAutoencoderTransformer(20, learning_rate=0.5, n_iter=2, random_state=1)
    >>> estimator.fit_transform(images).shape
    (5000, 20)
    >>> bool(estimator.score(images) > -150)
    True
    """

    def __init__(
        self,
        n_components=Config.n_hidden,
        *,
        corruption_level=Config.corruption_level,
        learning_rate=Config.learning_rate,
        batch_size=Config.batch_size,
        n_iter=Config.training_epochs,
        shuffle=Config.shuffle,
        random_state=None,
        verbose=0,
        warm_start=False,
    ):
        self.n_components = n_components
        self.corruption_level = corruption_level
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.verbose = verbose
        self.warm_start = warm_start

    def fit(self, X, y=None):
        """Train on data, for `n_iter` passes.

        Parameters
        ----------
        X : array_like of float or uint8, shape (n_samples, n_features)
            With values in [0, 1], or bytes.
        y : object, optional
            Ignored.

        Returns
        -------
        DenoisingAutoencoderTransformer
            The estimator itself.

        Raises
        ------
        ValueError
            If X is no such array, or a parameter has an impossible value.
        FloatingPointError
            If a cost is infinite or NaN.
        """
        return self._train(X, self.n_iter, goes_on=self.warm_start)

    def partial_fit(self, X, y=None):
        """Train on data for one pass, from where the last one ended.

        Parameters
        ----------
        X : array_like of float or uint8, shape (n_samples, n_features)
            With values in [0, 1], or bytes.
        y : object, optional
            Ignored.

        Returns
        -------
        DenoisingAutoencoderTransformer
            The estimator itself.

        Raises
        ------
        ValueError, FloatingPointError
            As `fit` does.
        """
        return self._train(X, 1, goes_on=True)

    def transform(self, X):
        """Compute the codes of data: the values of the hidden units, without noise.

        Parameters
        ----------
        X : array_like of float or uint8, shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples, n_components)
            Of the dtype of `components_`.

        Raises
        ------
        ValueError
            If X is no such array.
        """
        X = self._checked(X)
        with _lock:
            return self._put_in().model.encode(X)

    def inverse_transform(self, X):
        """Compute data from codes.

        Parameters
        ----------
        X : array_like of float, shape (n_samples, n_components)

        Returns
        -------
        ndarray, shape (n_samples, n_features)
            In [0, 1]; of the dtype of `components_`.

        Raises
        ------
        ValueError
            If X is no such array.
        """
        check_is_fitted(self)
        X = check_array(X, dtype=self.components_.dtype)
        with _lock:
            return self._put_in().model.decode(X)

    def score(self, X, y=None):
        """Compute how well data are reconstructed without noise: minus the cost.

        Parameters
        ----------
        X : array_like of float or uint8, shape (n_samples, n_features)
        y : object, optional
            Ignored.

        Returns
        -------
        float
            Minus the cross-entropy of a row, in nats; the mean over the rows. Larger is better.

        Raises
        ------
        ValueError
            If X is no such array.
        """
        X = self._checked(X)
        with _lock:
            return -self._put_in().validation_loss(X)

    def __sklearn_tags__(self):
        """Return what scikit-learn may expect of the estimator."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self):
        return len(self.components_)

    def _train(self, X, n_iter, goes_on):
        goes_on = goes_on and hasattr(self, "components_")
        X = validate_data(self, X, dtype=DTYPES, reset=not goes_on)
        if goes_on:
            floatX, seed, first_epoch = self.components_.dtype, self._seed, self.n_iter_
        else:
            floatX = np.dtype("float64") if X.dtype == np.uint8 else X.dtype
            seed, first_epoch = _seed_of(self.random_state), 0
        X = to_floatX(X, floatX)
        _warn_of_range(X)
        config = self._config(len(X), first_epoch, n_iter, seed, floatX.name)
        is_noisy = config.corruption_level > 0
        params = streams = None
        if goes_on:
            params = self._params()
            # With noise, or without any longer, there are other streams.
            streams = self._streams if is_noisy == self._is_noisy else None
        with _lock:
            reusable = _compiled(floatX.name, is_noisy)
            for epoch in reusable.train(X, config, first_epoch, params, streams):
                if self.verbose:
                    print(
                        f"[{type(self).__name__}] Iteration {epoch.epoch + 1}, "
                        f"cost = {epoch.cost:.6f}, time = {epoch.seconds:.2f}s"
                    )
            W, b, b_prime = (param.get_value() for param in reusable.model.params)
            self._streams = reusable.model.theano_rng.get_state()
        self.components_, self.intercept_hidden_, self.intercept_visible_ = W.T, b, b_prime
        self.n_iter_, self._seed, self._is_noisy = config.training_epochs, seed, is_noisy
        return self

    def _config(self, n_samples, first_epoch, n_iter, seed, floatX):
        """Return the settings of a training; raise ValueError for an impossible parameter."""
        try:
            # The numbers by themselves: below they are limited, and added to others.
            Config(training_epochs=n_iter, batch_size=self.batch_size)
            config = Config(
                n_hidden=self.n_components,
                corruption_level=self.corruption_level,
                learning_rate=self.learning_rate,
                batch_size=min(self.batch_size, n_samples),
                training_epochs=first_epoch + n_iter,
                shuffle=self.shuffle,
                seed=seed,
                floatX=floatX,
            )
        except ConfigError as error:
            name = NAMES.get(error.name, error.name)
            raise ConfigError(name, error.value, error.expected) from None
        if first_epoch and config.n_hidden != len(self.components_):
            expected = f"{len(self.components_)}, as before, where a training goes on"
            raise ConfigError("n_components", config.n_hidden, expected)
        return config

    def _checked(self, X):
        """Return data to apply the model to, in its arithmetic."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=DTYPES)
        return to_floatX(X, self.components_.dtype)

    def _params(self):
        return self.components_.T, self.intercept_hidden_, self.intercept_visible_

    def _put_in(self):
        """Return what is compiled, with the parameters of this estimator; it is to be locked."""
        reusable = _compiled(self.components_.dtype.name, False)
        reusable.put_in(*self._params())
        return reusable


def _seed_of(random_state):
    if isinstance(random_state, Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**32, dtype=np.uint32))


def _warn_of_range(X):
    low, high = X.min(), X.max()
    if low < -TOLERANCE or high > 1 + TOLERANCE:
        warnings.warn(
            f"X has values from {low:g} to {high:g}; expected values in [0, 1], such as "
            "MinMaxScaler returns, since the cost of others has no lower bound",
            stacklevel=4,
        )
