"""The autoencoder of the tutorial, and its denoising kind."""

import copy

import pytensor
import pytensor.tensor as pt

from dae.models._numeric import NumericMethods
from dae.models._parameters import initial_weights, layer_parameters
from dae.models.costs import COSTS
from dae.models.noise import NOISES
from dae.random import RandomStreams


class Autoencoder(NumericMethods):
    r"""An autoencoder, by default with tied weights.

    .. math::
        y = s(x W + b), \qquad z = s(y W' + b'), \qquad W' = W^T

    For data outside [0, 1] there is the squared error; the decoder is linear then:

    .. math:: z = y W' + b'

    The methods whose names begin with ``get_``, and `feedforward`, return symbolic expressions.
    `encode`, `decode`, `corrupt` and `reconstruct` apply them to NumPy arrays.

    Parameters
    ----------
    numpy_rng : numpy.random.RandomState
        Draws the initial weights and, without `theano_rng`, the seed of one.
    theano_rng : RandomStreams, optional
        Draws the noise.
    input : matrix, shape (batch_size, n_visible), optional
        The minibatch, for the cross-entropy with values in [0, 1]. By default a new symbolic
        matrix of dtype floatX.
    n_visible : int, optional
        Number of visible units. By default that of the parameters that are given, else 784.
    n_hidden : int, optional
        Number of hidden units. By default that of the parameters that are given, else 500.
    W : matrix, shape (n_visible, n_hidden), optional
    bhid : vector, shape (n_hidden,), optional
    bvis : vector, shape (n_visible,), optional
        Shared variables, to share parameters with another model. By default W is drawn from
        the uniform distribution on :math:`\pm 4 \sqrt{6 / (n_{hidden} + n_{visible})}` (Glorot
        and Bengio, 2010, for the sigmoid), the biases are zero, and all are of dtype floatX.
    cost : {'cross-entropy', 'squared-error'}, default='cross-entropy'
        What is minimized: see `cross_entropy` and `squared_error`.
    tied_weights : bool, default=True
        Whether W' is the transpose of W. Otherwise it is a parameter of its own, drawn after W
        and independently of it from the same distribution.

    Raises
    ------
    ValueError
        If the given sizes and parameters contradict each other, or there is no such cost.
    TypeError
        If a given parameter is no variable, or has another number of dimensions.

    Attributes
    ----------
    x : matrix
        The input.
    W, b, b_prime : shared variables
        The parameters.
    W_prime : matrix, shape (n_hidden, n_visible)
        The transpose of W, or a shared variable.
    params : list
        ``[W, b, b_prime]`` or, where weights are not tied, ``[W, b, b_prime, W_prime]``.
    cost : str
    theano_rng : RandomStreams
    mean, scale : ndarray, shape (n_visible,), or None
        What is subtracted from images, and what they are divided by then, before they are encoded
        by `encode` and `reconstruct`; None, the default, for nothing. The symbolic methods know
        nothing of it.

    Notes
    -----
    ``copy.copy`` shares all of these with the copy. ``copy.deepcopy`` returns a model with weights
    of its own, and streams that go on as those of the original would: the next noise of both is
    the same. A pickle holds the parameters, as arrays, and of cost, kind of noise, mean and scale
    what is not the default. The model that comes out of it has an input of its own, and noise from
    a seed of the operating system: call ``da.theano_rng.seed`` to choose one.

    Examples
    --------
    >>> from numpy.random import RandomState
    >>> da = Autoencoder(RandomState(123), n_visible=6, n_hidden=2)
    >>> cost, updates = da.get_cost_updates(corruption_level=0.0, learning_rate=0.5)
    >>> step = pytensor.function([da.x], cost, updates=updates)
    >>> x = RandomState(1).uniform(size=(5, 6))
    >>> costs = [float(step(x)) for _ in range(10)]
    >>> costs[-1] < costs[0]
    True
    >>> da.encode(x).shape
    (5, 2)
    """

    cost = "cross-entropy"

    def __init__(
        self,
        numpy_rng,
        theano_rng=None,
        input=None,
        n_visible=None,
        n_hidden=None,
        W=None,
        bhid=None,
        bvis=None,
        *,
        cost="cross-entropy",
        tied_weights=True,
    ):
        self.cost = _known("cost", cost, COSTS)
        if theano_rng is None:
            theano_rng = RandomStreams(numpy_rng.randint(2**30))
        if input is None:
            input = pt.matrix("input")
        self.n_visible, self.n_hidden, *params = layer_parameters(
            numpy_rng, n_visible, n_hidden, W, bhid, bvis
        )
        if not tied_weights:
            params.append(initial_weights(numpy_rng, self.n_hidden, self.n_visible, "W_prime"))
        self._assemble(theano_rng, input, params)

    def _assemble(self, theano_rng, input, params):
        self.theano_rng = theano_rng
        self.x = input
        self.params = params
        self.W, self.b, self.b_prime, *W_prime = params
        [self.W_prime] = W_prime or [self.W.T]

    def get_corrupted_input(self, input, corruption_level):
        """Return what is encoded: here the input itself.

        Parameters
        ----------
        input : matrix, shape (batch_size, n_visible)
        corruption_level : float or scalar
            Ignored; a model with noise overrides this method.

        Returns
        -------
        matrix, shape (batch_size, n_visible)
        """
        return input

    def get_hidden_values(self, input):
        r"""Encode: return :math:`y = s(x W + b)`.

        Parameters
        ----------
        input : matrix, shape (batch_size, n_visible)

        Returns
        -------
        matrix, shape (batch_size, n_hidden)
        """
        return pt.sigmoid(pt.dot(input, self.W) + self.b)

    def get_reconstructed_input(self, hidden):
        r"""Decode: return :math:`z = s(y W' + b')`, or without s for the squared error.

        Parameters
        ----------
        hidden : matrix, shape (batch_size, n_hidden)

        Returns
        -------
        matrix, shape (batch_size, n_visible)
        """
        a = pt.dot(hidden, self.W_prime) + self.b_prime
        return a if self.cost == "squared-error" else pt.sigmoid(a)

    def get_cost_updates(self, corruption_level, learning_rate):
        r"""Return the cost of a minibatch, and a step of gradient descent.

        .. math:: p \leftarrow p - \eta\, \frac{\partial\, \mathrm{cost}}{\partial p}

        Parameters
        ----------
        corruption_level : float or scalar
            Passed to `get_corrupted_input`.
        learning_rate : float or scalar
            The step size :math:`\eta`.

        Returns
        -------
        cost : scalar
            Summed over the pixels, averaged over the minibatch; the cross-entropy in nats.
        updates : dict
            From each parameter, and from the state of each stream that the cost draws from, to
            its next value; for `pytensor.function`.
        """
        tilde_x = self.get_corrupted_input(self.x, corruption_level)
        y = self.get_hidden_values(tilde_x)
        z = self.get_reconstructed_input(y)
        L = COSTS[self.cost](self.x, z)  # (batch_size,)
        cost = pt.mean(L)

        gparams = pytensor.grad(cost, self.params)
        updates = {
            param: param - pt.cast(learning_rate, param.dtype) * gparam
            for param, gparam in zip(self.params, gparams, strict=True)
        }
        return cost, updates | self.theano_rng.updates(cost)

    def get_validation_loss(self):
        """Return the cost of a minibatch without noise.

        Returns
        -------
        scalar
            As `get_cost_updates` returns it, for the input itself.
        """
        return pt.mean(COSTS[self.cost](self.x, self.feedforward()))

    def feedforward(self):
        """Return the reconstruction of the input, without corruption."""
        return self.get_reconstructed_input(self.get_hidden_values(self.x))

    def __copy__(self):
        """Return a model that shares parameters, input and streams with this one."""
        other = object.__new__(type(self))
        vars(other).update(vars(self))
        return other

    def __deepcopy__(self, memo):
        """Return a model of the same input, with parameters and streams of its own."""
        other = copy.copy(self)
        other._assemble(
            copy.deepcopy(self.theano_rng, memo), self.x, copy.deepcopy(self.params, memo)
        )
        return other

    def __getstate__(self):
        """Return the parameters as arrays, then what else is not the default, in a dictionary."""
        settings = {
            name: value
            for name, value in vars(self).items()
            if (name in ("cost", "corruption") and value != getattr(type(self), name))
            or (name in ("mean", "scale") and value is not None)
        }
        arrays = tuple(param.get_value() for param in self.params)
        return (*arrays, settings) if settings else arrays

    def __setstate__(self, state):
        """Build a working model from a state: with an input and a noise of its own."""
        *values, settings = state if isinstance(state[-1], dict) else (*state, {})
        vars(self).update(settings)
        params = [
            pytensor.shared(value, name=name)
            for value, name in zip(values, ["W", "b", "b_prime", "W_prime"], strict=False)
        ]
        self.n_visible, self.n_hidden = values[0].shape
        self._assemble(RandomStreams(), pt.matrix("input", dtype=params[0].dtype), params)


class DenoisingAutoencoder(Autoencoder):
    """An autoencoder that learns to undo noise: by default a part of its input is hidden.

    From Vincent, Larochelle, Bengio and Manzagol, "Extracting and Composing Robust Features with
    Denoising Autoencoders", 2008. Everything else is as in `Autoencoder`.

    Parameters
    ----------
    *args, **kwargs
        See `Autoencoder`.
    corruption : {'masking', 'salt-and-pepper', 'gaussian'}, default='masking'
        The kind of noise: see `masking_noise`, `salt_and_pepper_noise` and `gaussian_noise`.

    Raises
    ------
    ValueError
        As in `Autoencoder`, or if there is no such noise.

    Attributes
    ----------
    corruption : str

    Examples
    --------
    >>> from numpy.random import RandomState
    >>> da = DenoisingAutoencoder(RandomState(123), n_visible=8, n_hidden=2)
    >>> da.corrupt([[0.5] * 8], corruption_level=0.3, seed=1)
    array([[0. , 0.5, 0.5, 0.5, 0. , 0.5, 0.5, 0.5]])
    """

    corruption = "masking"

    def __init__(self, *args, corruption="masking", **kwargs):
        self.corruption = _known("corruption", corruption, NOISES)
        super().__init__(*args, **kwargs)

    def get_corrupted_input(self, input, corruption_level):
        """Return the input with noise.

        Parameters
        ----------
        input : matrix, shape (batch_size, n_visible)
        corruption_level : float or scalar
            Probability that a value is hidden or replaced, in [0, 1]; of Gaussian noise the
            standard deviation.

        Returns
        -------
        matrix, shape (batch_size, n_visible)
        """
        return NOISES[self.corruption](self.theano_rng, input, corruption_level)


def _known(setting, name, table):
    if name not in table:
        expected = ", ".join(map(repr, table))
        raise ValueError(f"{setting} is {name!r}; expected one of {expected}")
    return name
