"""The training steps that `step.py` compares, each in the fast way that is usual for its library.

Each of these functions takes a `Start` and the kind of noise,

- ``"none"``: the autoencoder;
- ``"drawn"``: the denoising autoencoder, its masks drawn by the library's own generator;
- ``"given"``: the same with given masks, so that costs can be compared,

and returns a function without arguments that trains one epoch, continues from there with every
call, and returns the costs of the minibatches, an array of shape (n_batches,). The libraries are
imported where they are used: any may be missing. The costs of `WITHOUT_COSTS`, which are there to
compare with, are NaN.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np

N_VISIBLE, N_HIDDEN, BATCH_SIZE = 784, 100, 20
LEARNING_RATE, CORRUPTION_LEVEL = 0.1, 0.3
SEED = 123

MIN_BATCHES, MAX_BATCHES = 4, 250
"""Minibatches of an epoch, at least and at most."""

EPOCH = 1.5e10
"""Multiplications and additions of an epoch, about, where that leaves so many minibatches."""


class Start(NamedTuple):
    """The data and the initial weights of every contestant."""

    train_x: np.ndarray
    """Shape (n_train, N_VISIBLE); n_train is a multiple of batch_size."""
    corrupted_x: np.ndarray
    """The same, with the given masks."""
    W: np.ndarray
    """Shape (N_VISIBLE, n_hidden), as the worksheet's first model draws it. Biases are zero."""
    batch_size: int
    """Images in a minibatch."""

    @property
    def n_hidden(self):
        """The number of hidden units."""
        return self.W.shape[1]


def step_flops(n_hidden, batch_size):
    """Return the multiplications and additions of a step: those of its five products.

    Parameters
    ----------
    n_hidden, batch_size : int
        The sizes.

    Returns
    -------
    int
    """
    return 10 * N_VISIBLE * n_hidden * batch_size


def make_start(dtype, n_hidden=N_HIDDEN, batch_size=BATCH_SIZE):
    """Return the start on mini MNIST.

    Parameters
    ----------
    dtype : {'float32', 'float64'}
        The dtype of all arrays.
    n_hidden : int, default=100
        Hidden units.
    batch_size : int, default=20
        Images in a minibatch. There are at most `MAX_BATCHES` minibatches, less for large ones.

    Returns
    -------
    Start
    """
    from dae.datasets import read_data, to_floatX

    train_x = to_floatX(read_data().train[0], dtype)
    n_train_batches = max(MIN_BATCHES, int(EPOCH / step_flops(n_hidden, batch_size)))
    n_train_batches = min(n_train_batches, MAX_BATCHES, len(train_x) // batch_size)
    train_x = train_x[: n_train_batches * batch_size]
    numpy_rng = np.random.RandomState(SEED)
    numpy_rng.randint(2**30)  # the worksheet's seed of the noise
    bound = 4 * np.sqrt(6 / (n_hidden + N_VISIBLE))
    W = numpy_rng.uniform(-bound, bound, (N_VISIBLE, n_hidden)).astype(dtype)
    masks = numpy_rng.uniform(size=train_x.shape) > CORRUPTION_LEVEL
    return Start(train_x, train_x * masks, W, batch_size)


def batch(data, index, batch_size):
    """Return a minibatch.

    Parameters
    ----------
    data : array or matrix, shape (n_train, n)
        Of any library.
    index : int or integer scalar
        The number of the minibatch.
    batch_size : int
        The number of rows.

    Returns
    -------
    array or matrix, shape (batch_size, n)
    """
    return data[index * batch_size : (index + 1) * batch_size]


def epoch_of(step, start):
    """Return a function that trains one epoch.

    Parameters
    ----------
    step : callable
        Trains on the minibatch of an index, and returns its cost.
    start : Start
        The data that `step` trains on.

    Returns
    -------
    callable
        Takes nothing, returns the costs, an array of shape (n_batches,).
    """
    indices = range(len(start.train_x) // start.batch_size)
    return lambda: np.array([step(index) for index in indices])


def five_products(start, noise):
    """Multiply the five pairs of matrices of a step, in NumPy's BLAS, and do nothing else."""
    train_x, _, W, batch_size = start
    rng = np.random.default_rng(SEED)
    y = rng.random((batch_size, start.n_hidden), W.dtype)
    d_z = rng.random((batch_size, N_VISIBLE), W.dtype)
    hidden, visible = np.empty_like(y), np.empty_like(d_z)
    weights, transposed = np.empty_like(W), np.empty_like(W)

    def step(index):
        x = batch(train_x, index, batch_size)
        np.dot(x, W, out=hidden)
        np.dot(y, W.T, out=visible)
        np.dot(d_z, W, out=hidden)
        np.dot(x.T, y, out=weights)
        np.dot(d_z.T, y, out=transposed)
        return np.nan

    return epoch_of(step, start)


def multiply_adds(start, noise):
    """Multiply and add as often as these products do, on registers, and do nothing else."""
    from peak import compile_loop

    call, flops = compile_loop(start.W.dtype.name)
    threads = int(os.environ["OMP_NUM_THREADS"])
    pool = ThreadPoolExecutor(threads)
    n_batches = len(start.train_x) // start.batch_size
    steps = n_batches * step_flops(start.n_hidden, start.batch_size) // (flops * threads)

    def epoch():
        list(pool.map(call, [steps] * threads))
        return np.full(n_batches, np.nan)

    return epoch


def numpy_by_hand(start, noise):
    """Compute the step as one writes it down in NumPy, without a guard against log 0."""
    train_x, corrupted_x, W = start.train_x, start.corrupted_x, start.W.copy()
    b, b_prime = np.zeros(start.n_hidden, W.dtype), np.zeros(N_VISIBLE, W.dtype)
    rng = np.random.default_rng(SEED)
    corrupt = {
        "none": lambda x, index: x,
        "given": lambda x, index: batch(corrupted_x, index, start.batch_size),
        "drawn": lambda x, index: x * (rng.random(x.shape, x.dtype) > CORRUPTION_LEVEL),
    }[noise]

    def step(index):
        nonlocal W, b, b_prime
        x = batch(train_x, index, start.batch_size)
        tilde_x = corrupt(x, index)
        y = 1 / (1 + np.exp(-(tilde_x @ W + b)))
        z = 1 / (1 + np.exp(-(y @ W.T + b_prime)))
        L = -np.sum(x * np.log(z) + (1 - x) * np.log(1 - z), axis=1)
        d_z = (z - x) / start.batch_size
        d_y = (d_z @ W) * y * (1 - y)
        W -= LEARNING_RATE * (tilde_x.T @ d_y + d_z.T @ y)
        b -= LEARNING_RATE * d_y.sum(axis=0)
        b_prime -= LEARNING_RATE * d_z.sum(axis=0)
        return L.mean()

    return epoch_of(step, start)


def dae_cell(start, noise):
    """Compile the worksheet's own cell, with this package's models, in the default mode."""
    from dae import Autoencoder, DenoisingAutoencoder

    return worksheet_cell(start, noise, Autoencoder, DenoisingAutoencoder)


def pasted_cell(start, noise):
    """Compile the same cell with somebody's own classes; `dae.compiler` is imported, no model."""
    from pasted import Autoencoder, DenoisingAutoencoder

    import dae.compiler  # noqa: F401

    return worksheet_cell(start, noise, Autoencoder, DenoisingAutoencoder)


def worksheet_cell(start, noise, autoencoder, denoising_autoencoder):
    """Compile the worksheet's cell in the default mode.

    Parameters
    ----------
    start : Start
        The data; the initial weights are drawn by the model.
    noise : {'none', 'drawn', 'given'}
        The kind of noise.
    autoencoder, denoising_autoencoder : type
        The two classes of the worksheet.

    Returns
    -------
    callable
        The contestant.
    """
    import pytensor
    import pytensor.tensor as pt

    from dae import RandomStreams

    class GivenNoise(autoencoder):
        def get_corrupted_input(self, input, corruption_level):
            return tilde_x

    pytensor.config.floatX = str(start.W.dtype)
    kind = {"none": autoencoder, "given": GivenNoise, "drawn": denoising_autoencoder}[noise]
    x, tilde_x = pt.matrix("x"), pt.matrix("tilde_x")
    rng = np.random.RandomState(SEED)
    theano_rng = RandomStreams(rng.randint(2**30))
    da = kind(rng, theano_rng, input=x, n_visible=N_VISIBLE, n_hidden=start.n_hidden)
    cost, updates = da.get_cost_updates(
        corruption_level=CORRUPTION_LEVEL, learning_rate=LEARNING_RATE
    )
    # Where the class does not do it: in Theano, no class had to.
    updates = dict(updates) | theano_rng.updates(cost)
    return pytensor_epoch(start, noise, x, tilde_x, cost, updates)


def pytensor_as_written(start, noise):
    """Compile the tutorial's formulas as they stand, with nothing but what PyTensor has."""
    import pytensor
    import pytensor.tensor as pt
    from pytensor.compile.mode import get_default_mode

    pytensor.config.floatX = floatX = str(start.W.dtype)
    x, tilde_x = pt.matrix("x"), pt.matrix("tilde_x")
    W = pytensor.shared(start.W)
    b = pytensor.shared(np.zeros(start.n_hidden, floatX))
    b_prime = pytensor.shared(np.zeros(N_VISIBLE, floatX))
    rng = pt.random.shared_rng(seed=SEED)
    next_rng, u = rng.uniform(size=x.shape, dtype=floatX)
    corrupted = {"none": x, "given": tilde_x, "drawn": x * (u > CORRUPTION_LEVEL)}[noise]

    y = pt.sigmoid(pt.dot(corrupted, W) + b)
    z = pt.sigmoid(pt.dot(y, W.T) + b_prime)
    L = -pt.sum(x * pt.log(z) + (1 - x) * pt.log(1 - z), axis=1)
    cost = pt.mean(L)
    params = [W, b, b_prime]
    gparams = pytensor.grad(cost, params)
    learning_rate = pt.cast(LEARNING_RATE, floatX)
    updates = {p: p - learning_rate * g for p, g in zip(params, gparams, strict=True)}
    if noise == "drawn":
        updates[rng] = next_rng
    # Whatever has been imported, none of this package's rewrites.
    mode = get_default_mode().excluding("dae")
    return pytensor_epoch(start, noise, x, tilde_x, cost, updates, mode)


def pytensor_epoch(start, noise, x, tilde_x, cost, updates, mode=None):
    """Compile and loop as the worksheet does.

    Parameters
    ----------
    start : Start
        The data.
    noise : {'none', 'drawn', 'given'}
        The kind of noise.
    x, tilde_x : matrix, shape (batch_size, N_VISIBLE)
        The minibatch, and the same with the given masks.
    cost : scalar
        The cost of the minibatch.
    updates : dict
        The step, for `pytensor.function`.
    mode : Mode, optional
        The mode to compile in. By default PyTensor's.

    Returns
    -------
    callable
        The contestant.
    """
    import pytensor
    import pytensor.tensor as pt

    index = pt.lscalar("index")
    givens = {x: batch(pytensor.shared(start.train_x), index, start.batch_size)}
    if noise == "given":
        givens[tilde_x] = batch(pytensor.shared(start.corrupted_x), index, start.batch_size)
    train_da = pytensor.function([index], cost, updates=updates, givens=givens, mode=mode)
    return epoch_of(train_da, start)


def torch_parts(start, noise):
    """Return what PyTorch's contestants have in common.

    Parameters
    ----------
    start : Start
        The data and the initial weights.
    noise : {'none', 'drawn', 'given'}
        The kind of noise.

    Returns
    -------
    params : list of torch.Tensor
        W, b and b_prime.
    loss : callable
        Takes `params` and what `minibatch` returns, returns the cost.
    minibatch : callable
        Takes an index, returns the minibatch without and with noise.
    """
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    train_x, corrupted_x, W = (torch.from_numpy(array.copy()) for array in start[:3])
    b, b_prime = torch.zeros(start.n_hidden, dtype=W.dtype), torch.zeros(N_VISIBLE, dtype=W.dtype)
    corrupt = {
        "none": lambda x, index: x,
        "given": lambda x, index: batch(corrupted_x, index, start.batch_size),
        "drawn": lambda x, index: x * (torch.rand_like(x) > CORRUPTION_LEVEL),
    }[noise]

    def minibatch(index):
        x = batch(train_x, index, start.batch_size)
        return x, corrupt(x, index)

    def loss(params, x, tilde_x):
        W, b, b_prime = params
        y = torch.sigmoid(torch.addmm(b, tilde_x, W))
        a = torch.addmm(b_prime, y, W.T)
        return binary_cross_entropy_with_logits(a, x, reduction="sum") / start.batch_size

    return [W, b, b_prime], loss, minibatch


def torch_eager(start, noise, compiled=lambda loss: loss):
    """Run operation by operation: autograd differentiates the loss, updates are in place."""
    import torch

    params, loss, minibatch = torch_parts(start, noise)
    loss = compiled(loss)
    for param in params:
        param.requires_grad_()

    def step(index):
        cost = loss(params, *minibatch(index))
        gparams = torch.autograd.grad(cost, params)
        with torch.no_grad():
            for param, gparam in zip(params, gparams, strict=True):
                param.sub_(gparam, alpha=LEARNING_RATE)
        return cost.item()

    return epoch_of(step, start)


def torch_compiled_loss(start, noise):
    """Compile the loss, and so its gradient."""
    import torch

    return torch_eager(start, noise, torch.compile)


def torch_compiled_step(start, noise):
    """Compile loss, gradient and updates as one; only the masks, faster so, are drawn outside."""
    import torch

    params, loss, minibatch = torch_parts(start, noise)
    gparams_and_cost = torch.func.grad_and_value(loss)

    @torch.compile
    def descend(params, x, tilde_x):
        gparams, cost = gparams_and_cost(params, x, tilde_x)
        for param, gparam in zip(params, gparams, strict=True):
            param.sub_(gparam, alpha=LEARNING_RATE)
        return cost

    def step(index):
        with torch.no_grad():
            return descend(params, *minibatch(index)).item()

    return epoch_of(step, start)


def jax_parts(start, noise):
    """Return what JAX's contestants have in common.

    Parameters
    ----------
    start : Start
        The data and the initial weights.
    noise : {'none', 'drawn', 'given'}
        The kind of noise.

    Returns
    -------
    state : tuple
        The parameters, and the key of the random draws.
    step : callable
        Takes a state and the minibatch without and with noise, returns the next state and the
        cost.
    data : tuple of jax.Array
        All images, without and with noise.
    """
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def loss(params, x, tilde_x):
        W, b, b_prime = params
        y = jax.nn.sigmoid(tilde_x @ W + b)
        a = y @ W.T + b_prime
        # With softplus or log_sigmoid the step takes 1.1 to 1.7 times as long.
        return jnp.sum(jnp.maximum(a, 0) - x * a + jnp.log1p(jnp.exp(-abs(a)))) / start.batch_size

    def step(state, minibatch):
        params, key = state
        x, tilde_x = minibatch
        if noise == "drawn":
            key, subkey = jax.random.split(key)
            tilde_x = x * jax.random.bernoulli(subkey, 1 - CORRUPTION_LEVEL, x.shape)
        cost, gparams = jax.value_and_grad(loss)(params, x, tilde_x)
        params = jax.tree.map(lambda param, gparam: param - LEARNING_RATE * gparam, params, gparams)
        return (params, key), cost

    train_x, corrupted_x, W = (jnp.array(array) for array in start[:3])
    params = W, jnp.zeros(start.n_hidden, W.dtype), jnp.zeros(N_VISIBLE, W.dtype)
    data = train_x, corrupted_x if noise == "given" else train_x
    return (params, jax.random.key(SEED)), step, data


def jax_step(start, noise):
    """Compile one step, which slices its minibatch; the costs are fetched after the epoch."""
    import jax

    state, step, data = jax_parts(start, noise)
    batch_size = start.batch_size

    @partial(jax.jit, donate_argnums=0)
    def train_da(state, data, index):
        minibatch = [
            jax.lax.dynamic_slice_in_dim(part, index * batch_size, batch_size) for part in data
        ]
        return step(state, minibatch)

    def train(index):
        nonlocal state
        state, cost = train_da(state, data, index)
        return cost

    return epoch_of(train, start)


def jax_scan(start, noise):
    """Compile a whole epoch as one `lax.scan`."""
    import jax

    state, step, data = jax_parts(start, noise)
    data = [part.reshape(-1, start.batch_size, N_VISIBLE) for part in data]

    @partial(jax.jit, donate_argnums=0)
    def train_epoch(state, data):
        return jax.lax.scan(step, state, data)

    def epoch():
        nonlocal state
        state, costs = train_epoch(state, data)
        return np.array(costs)

    return epoch


OURS = "dae, the worksheet's cell"
PASTED = "dae, the worksheet's class, pasted"
AS_WRITTEN = "PyTensor, the formula as written"
PRODUCTS = "the five matrix products, NumPy's BLAS"
PEAK = "their multiplications and additions, on registers"
WITHOUT_COSTS = PRODUCTS, PEAK

CONTESTANTS = {
    OURS: dae_cell,
    PASTED: pasted_cell,
    PRODUCTS: five_products,
    PEAK: multiply_adds,
    "JAX, `jit` of a whole epoch (`scan`)": jax_scan,
    "JAX, `jit` of one step": jax_step,
    "PyTorch, `torch.compile` of the step": torch_compiled_step,
    "PyTorch, `torch.compile` of the loss": torch_compiled_loss,
    "PyTorch, eager": torch_eager,
    "NumPy, written by hand": numpy_by_hand,
    AS_WRITTEN: pytensor_as_written,
}
