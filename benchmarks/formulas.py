"""Time training steps of other people's formulas with this package's rewrites and without.

    python benchmarks/formulas.py

Nobody should pay for importing `dae`. So models that are not this package's, each as one writes it
in plain PyTensor, are compiled twice in one process: in the default mode with `dae.compiler`
imported, and in the same mode without the rewrites tagged "dae". They have 784 visible units and
are trained by gradient descent on mini MNIST.

First both functions train `CHECKED_STEPS` minibatches from the same start, and costs and weights
are compared; that also warms them up. Then, in every round in random order, each trains the same
minibatches for about `SECONDS`. Ratios are taken within each round; since rounds are short, both
functions share whatever else the machine does. Where arrays lie in memory can make a difference of
some percent between two equal functions, so each formula, batch size and dtype is measured in
several processes of its own, and all rounds count alike. All of it is done for each number of
threads.
"""

import sys
from functools import partial
from itertools import pairwise, product

import numpy as np
from common import (
    column_title,
    describe_machine,
    fresh_processes,
    limit_threads,
    make_parser,
    positive_int,
    print_machine,
    print_table,
    say,
    spread,
    time_in_turn,
    write_json,
)
from contestants import N_HIDDEN, N_VISIBLE, SEED

N_CLASSES = 10
LEARNING_RATE = 0.001
MOMENTUM, WEIGHT_DECAY, CONTRACTION_LEVEL = 0.9, 1e-4, 0.1

CHECKED_STEPS = 10

TOLERANCES = {"float32": 2e-6, "float64": 1e-13}
"""Of costs and weights, relative to the largest of each; only roundings differ."""

SECONDS = 0.02
"""How long each function trains in a round; a single step may take longer."""


def layer(numpy_rng, n_in, n_out):
    """Return the parameters of a layer of sigmoid units.

    Parameters
    ----------
    numpy_rng : numpy.random.RandomState
        Draws the weights.
    n_in, n_out : int
        Units below and above.

    Returns
    -------
    W : shared matrix, shape (n_in, n_out)
    b : shared vector, shape (n_out,)
    """
    import pytensor

    bound = 4 * np.sqrt(6 / (n_in + n_out))
    W = numpy_rng.uniform(-bound, bound, (n_in, n_out)).astype(pytensor.config.floatX)
    return pytensor.shared(W), pytensor.shared(np.zeros(n_out, W.dtype))


def descend(cost, params):
    """Return a step of gradient descent.

    Parameters
    ----------
    cost : scalar
        What to minimize.
    params : list of shared variable
        The parameters.

    Returns
    -------
    dict from shared variable to variable
        For `pytensor.function`.
    """
    import pytensor.tensor as pt

    gparams = pt.grad(cost, params)
    return {p: p - LEARNING_RATE * g for p, g in zip(params, gparams, strict=True)}


# The formulas. Each takes the minibatch x, the labels y, the batch size and a RandomState, and
# returns the cost and the updates.


def classifier(x, y, batch_size, numpy_rng, n_hidden=()):
    """Compute sigmoid layers and a softmax, with the negative log-likelihood."""
    import pytensor.tensor as pt

    sizes = [N_VISIBLE, *n_hidden, N_CLASSES]
    layers = [layer(numpy_rng, *pair) for pair in pairwise(sizes)]
    h = x
    for W, b in layers[:-1]:
        h = pt.sigmoid(pt.dot(h, W) + b)
    W, b = layers[-1]
    p_y_given_x = pt.special.softmax(pt.dot(h, W) + b, axis=1)
    cost = -pt.mean(pt.log(p_y_given_x)[pt.arange(y.shape[0]), y])
    return cost, descend(cost, [param for pair in layers for param in pair])


def one_hidden_layer(x, y, batch_size, numpy_rng):
    """Compute a sigmoid network 784-100-10."""
    return classifier(x, y, batch_size, numpy_rng, [N_HIDDEN])


def two_hidden_layers(x, y, batch_size, numpy_rng):
    """Compute a sigmoid network 784-100-100-10."""
    return classifier(x, y, batch_size, numpy_rng, [N_HIDDEN, N_HIDDEN])


def squared_error(x, y, batch_size, numpy_rng):
    """Compute an autoencoder with linear output and the squared error."""
    import pytensor
    import pytensor.tensor as pt

    W, b = layer(numpy_rng, N_VISIBLE, N_HIDDEN)
    b_prime = pytensor.shared(np.zeros(N_VISIBLE, W.dtype))
    h = pt.sigmoid(pt.dot(x, W) + b)
    z = pt.dot(h, W.T) + b_prime
    cost = pt.mean(pt.sum((x - z) ** 2, axis=1))
    return cost, descend(cost, [W, b, b_prime])


def autoencoder(x, numpy_rng):
    """Compute the autoencoder of the tutorial.

    Parameters
    ----------
    x : matrix, shape (batch_size, N_VISIBLE)
        The minibatch.
    numpy_rng : numpy.random.RandomState
        Draws the weights.

    Returns
    -------
    h : matrix, shape (batch_size, N_HIDDEN)
        The hidden values.
    cost : scalar
        The cross-entropy.
    params : list of shared variable
        W, b and b_prime.
    """
    import pytensor
    import pytensor.tensor as pt

    W, b = layer(numpy_rng, N_VISIBLE, N_HIDDEN)
    b_prime = pytensor.shared(np.zeros(N_VISIBLE, W.dtype))
    h = pt.sigmoid(pt.dot(x, W) + b)
    z = pt.sigmoid(pt.dot(h, W.T) + b_prime)
    L = -pt.sum(x * pt.log(z) + (1 - x) * pt.log(1 - z), axis=1)
    return h, pt.mean(L), [W, b, b_prime]


def contractive_jacobian(x, y, batch_size, numpy_rng):
    """Compute an autoencoder with the squared Jacobian of its hidden values, element by element."""
    import pytensor.tensor as pt

    h, cost, params = autoencoder(x, numpy_rng)
    J = pt.reshape(h * (1 - h), (batch_size, 1, N_HIDDEN)) * pt.reshape(
        params[0], (1, N_VISIBLE, N_HIDDEN)
    )  # (batch_size, N_VISIBLE, N_HIDDEN)
    cost = cost + CONTRACTION_LEVEL * (pt.sum(J**2) / batch_size)
    return cost, descend(cost, params)


def contractive_analytic(x, y, batch_size, numpy_rng):
    """Compute the same by the sums that the squared Jacobian is a product of."""
    import pytensor.tensor as pt

    h, cost, params = autoencoder(x, numpy_rng)
    penalty = pt.sum((h * (1 - h)) ** 2 * pt.sum(params[0] ** 2, axis=0), axis=1)  # (batch_size,)
    cost = cost + CONTRACTION_LEVEL * pt.mean(penalty)
    return cost, descend(cost, params)


def momentum(x, y, batch_size, numpy_rng):
    """Compute an autoencoder, trained with momentum and weight decay."""
    import pytensor
    import pytensor.tensor as pt

    _, cost, params = autoencoder(x, numpy_rng)
    gparams = pt.grad(cost + WEIGHT_DECAY * pt.sum(params[0] ** 2), params)
    updates = {}
    for param, gparam in zip(params, gparams, strict=True):
        velocity = pytensor.shared(np.zeros_like(param.get_value()))
        updates[velocity] = MOMENTUM * velocity - LEARNING_RATE * gparam
        updates[param] = param + updates[velocity]
    return cost, updates


FORMULAS = {
    "logistic regression 784-10": classifier,
    "sigmoid network 784-100-10": one_hidden_layer,
    "sigmoid network 784-100-100-10": two_hidden_layers,
    "autoencoder, squared error": squared_error,
    "contractive, Jacobian by reshape": contractive_jacobian,
    "contractive, analytic": contractive_analytic,
    "autoencoder, momentum, weight decay": momentum,
}


def compile_steps(name, batch_size, dtype):
    """Compile the training step of a formula with the rewrites and without.

    Parameters
    ----------
    name : str
        One of `FORMULAS`.
    batch_size : int
        Images in a minibatch.
    dtype : {'float32', 'float64'}
        The floatX of the graph.

    Returns
    -------
    steps : list of callable, of length 2
        With and without: each takes the index of a minibatch, and returns its cost.
    params : list of list of shared variable
        What each of them updates.
    n_batches : int
        How many minibatches there are.

    Raises
    ------
    RuntimeError
        If there is none.
    """
    import pytensor
    import pytensor.tensor as pt
    from pytensor.compile.mode import get_default_mode

    import dae.compiler  # noqa: F401
    from dae.datasets import read_data, to_floatX

    pytensor.config.floatX = dtype
    train_x, train_y = read_data().train
    n_train = len(train_x)
    if batch_size > n_train:
        raise RuntimeError(f"there are {n_train} images; {batch_size} were asked for")
    train_x = pytensor.shared(to_floatX(train_x, dtype))
    train_y = pytensor.shared(train_y.astype("int32"))
    steps, params = [], []
    for mode in (get_default_mode(), get_default_mode().excluding("dae")):
        index, x, y = pt.lscalar("index"), pt.matrix("x"), pt.ivector("y")
        cost, updates = FORMULAS[name](x, y, batch_size, np.random.RandomState(SEED))
        minibatch = slice(index * batch_size, (index + 1) * batch_size)
        step = pytensor.function(
            [index],
            cost,
            updates=updates,
            givens={x: train_x[minibatch], y: train_y[minibatch]},
            mode=mode,
            on_unused_input="ignore",  # the labels
        )
        steps.append(step)
        params.append(list(updates))
    return steps, params, n_train // batch_size


def check(name, values, expected, tolerance):
    """Raise an error if values with the rewrites are not those without.

    Parameters
    ----------
    name : str
        What is compared.
    values, expected : array_like of float
        The values with and without.
    tolerance : float
        The largest difference, relative to the largest value.

    Raises
    ------
    RuntimeError
        If they differ by more.
    """
    difference = np.max(np.abs(np.subtract(values, expected))) / np.max(np.abs(expected))
    if not difference <= tolerance:
        raise RuntimeError(
            f"the {name} with the rewrites are not those without: relative difference "
            f"{difference:.1e}, expected at most {tolerance:.1e}"
        )


def train(step, indices):
    """Train the minibatches with the given numbers."""
    for index in indices:
        step(index)


def measure(name, batch_size, dtype, rounds):
    """Compare the costs and the weights of a formula with and without, then time both in turn.

    Parameters
    ----------
    name : str
        One of `FORMULAS`.
    batch_size : int
        Images in a minibatch.
    dtype : {'float32', 'float64'}
        The floatX of the graph.
    rounds : int
        Measurements of each.

    Returns
    -------
    ndarray of float, shape (2, rounds)
        Microseconds per minibatch, with and without.
    """
    steps, params, n_batches = compile_steps(name, batch_size, dtype)
    indices = [index % n_batches for index in range(CHECKED_STEPS)]
    costs = [[step(index) for index in indices] for step in steps]
    check("costs", *costs, TOLERANCES[dtype])
    for pair in zip(*params, strict=True):
        check("weights", *(param.get_value() for param in pair), TOLERANCES[dtype])

    def seconds_of_a_step(indices, rounds):
        tasks = {which: partial(train, step, indices) for which, step in enumerate(steps)}
        return np.array(list(time_in_turn(tasks, rounds).values())) / len(indices)

    n_steps = max(1, round(SECONDS / seconds_of_a_step(indices, 1).max()))
    indices = [index % n_batches for index in range(n_steps)]
    return 1e6 * seconds_of_a_step(indices, rounds)


def print_results(results):
    """Print the times, and their ratios.

    Parameters
    ----------
    results : dict from (str, int, str, int) to ndarray of float, shape (2, n_rounds)
        Microseconds per minibatch with and without, by (name, batch size, dtype, threads).
    """
    rows = dict.fromkeys((name, batch_size) for name, batch_size, _, _ in results)
    columns = dict.fromkeys((dtype, threads) for _, _, dtype, threads in results)

    def cell(times):
        on, off = times
        return f"{np.median(on):.0f} {np.median(off):.0f} {spread(on / off, 3)}"

    print(
        "Microseconds per minibatch with the rewrites and without, and the ratio with/without: "
        "medians (quartiles).\n"
    )
    titles = [column_title(*column) for column in columns]
    print_table(
        ["formula", "images in a minibatch", *titles],
        [
            [row[0], str(row[1]), *(cell(results[(*row, *column)]) for column in columns)]
            for row in rows
        ],
    )


def main(argv=None):
    """Run the benchmark.

    Parameters
    ----------
    argv : list of str, optional
        The arguments. By default those of the process.
    """
    parser = make_parser(
        "Time other people's formulas with the rewrites of dae and without.", "formulas.json"
    )
    parser.add_argument("--rounds", type=positive_int, default=100, help="in a process")
    parser.add_argument(
        "--processes", type=positive_int, default=3, help="one after another, for each"
    )
    parser.add_argument("--threads", type=positive_int, nargs="+", default=[1], help="to use")
    parser.add_argument(
        "--dtypes", choices=TOLERANCES, nargs="+", default=list(TOLERANCES), help="to compute in"
    )
    parser.add_argument(
        "--batch-size", type=positive_int, nargs="+", default=[1, 20, 600], help="minibatches of"
    )
    parser.add_argument(
        "--formulas", choices=FORMULAS, nargs="+", default=list(FORMULAS), help="to train"
    )
    options = parser.parse_args(argv)

    machine = describe_machine()
    results = {}
    for threads in options.threads:
        limit_threads(threads)
        with fresh_processes() as pool:
            for key in product(options.formulas, options.batch_size, options.dtypes):
                say(", ".join(map(str, [*key, f"threads: {threads}"])))
                try:
                    times = [
                        pool.submit(measure, *key, options.rounds).result()
                        for _ in range(options.processes)
                    ]
                except RuntimeError as error:
                    sys.exit(str(error))
                results[*key, threads] = np.hstack(times)

    print_machine(machine)
    print_results(results)
    write_json(
        options.output,
        {
            "machine": machine,
            "microseconds_per_minibatch": [
                {
                    "formula": name,
                    "batch_size": batch_size,
                    "dtype": dtype,
                    "threads": threads,
                    "with": times[0],
                    "without": times[1],
                }
                for (name, batch_size, dtype, threads), times in results.items()
            ],
        },
    )


if __name__ == "__main__":
    main()
