"""Measure how time and memory of a training grow with its sizes.

    python benchmarks/growth.py

A denoising autoencoder is trained with 20 images in a minibatch, 100 hidden units and 5,000
images, then with one of these numbers changed. The images are those of mini MNIST, repeated or cut
off, since what they show makes no difference here. Every training runs in a process of its own.
Measured are the time of an epoch divided by the number of images, as the median of at least three
epochs and `SECONDS`, and the peak memory of the process, with Python, the libraries and the data.
The machine code is compiled before, since that takes memory, too.
"""

import itertools
import resource
import statistics

import numpy as np
from common import (
    describe_machine,
    fresh_processes,
    limit_threads,
    make_parser,
    megabytes,
    new_file,
    positive_int,
    print_machine,
    print_table,
    say,
    write_json,
)

DTYPES = ("float32", "float64")

USUAL = {"batch_size": 20, "n_hidden": 100, "n_train": 5000}

SWEEPS = {
    "batch_size": (1, 2, 5, 20, 50, 200, 500, 2000),
    "n_hidden": (10, 30, 100, 300, 1000, 2000),
    "n_train": (1000, 5000, 10_000, 30_000, 60_000),
}

LABELS = {
    "batch_size": "images in a minibatch",
    "n_hidden": "hidden units",
    "n_train": "training images",
}

SECONDS = 1.0


def measure(dtype, batch_size, n_hidden, n_train):
    """Train an autoencoder and measure it.

    Parameters
    ----------
    dtype : {'float32', 'float64'}
        The floatX of the graph.
    batch_size : int
        Images in a minibatch.
    n_hidden : int
        Hidden units.
    n_train : int
        Training images.

    Returns
    -------
    microseconds : float
        Time per image, the median over epochs.
    megabytes : float
        Peak memory of this process.
    """
    import pytensor

    import dae
    from dae.datasets import read_data, to_floatX
    from dae.training.epochs import train_epochs

    pytensor.config.floatX = dtype
    train_x, _ = read_data().train
    train_x = to_floatX(np.resize(train_x, (n_train, train_x.shape[1])), dtype)
    train_set_x = pytensor.shared(train_x, borrow=True)
    da = dae.DenoisingAutoencoder(np.random.RandomState(123), n_hidden=n_hidden)
    train_da = dae.compile_train_da(
        da, train_set_x, corruption_level=0.3, learning_rate=0.01, batch_size=batch_size
    )
    n_train_batches = n_train // batch_size
    seconds = []
    for epoch in train_epochs(train_da, n_train_batches, training_epochs=1_000_000):
        seconds.append(epoch.seconds)
        if len(seconds) >= 3 and sum(seconds) > SECONDS:
            break
    microseconds = 1e6 * statistics.median(seconds) / (n_train_batches * batch_size)
    return microseconds, megabytes(resource.getrusage(resource.RUSAGE_SELF))


def measure_all():
    """Measure every size, each in a process of its own.

    Returns
    -------
    dict from (str, int, str) to (float, float)
        (microseconds, megabytes) by (varied, value, dtype), where `varied` is the name of the
        number that has the value `value`.
    """
    with fresh_processes() as pool:

        def measured(dtype, **varied):
            say(f"{dtype}, {USUAL | varied}")
            return pool.submit(measure, dtype, **USUAL | varied).result()

        # The batch size is a constant in the machine code.
        for batch_size, dtype in itertools.product(SWEEPS["batch_size"], DTYPES):
            measured(dtype, batch_size=batch_size)
        return {
            (varied, value, dtype): measured(dtype, **{varied: value})
            for varied, values in SWEEPS.items()
            for value, dtype in itertools.product(values, DTYPES)
        }


def print_tables(results):
    """Print a table for each of the numbers that were varied.

    Parameters
    ----------
    results : dict
        The result of `measure_all`.
    """
    for varied, values in SWEEPS.items():
        rows = []
        for value in values:
            times, memories = zip(*(results[varied, value, dtype] for dtype in DTYPES), strict=True)
            rows.append(
                [f"{value:,}", *(f"{t:.1f}" for t in times), *(f"{m:.0f}" for m in memories)]
            )
        header = [f"µs per image, {dtype}" for dtype in DTYPES]
        header += [f"MB at the peak, {dtype}" for dtype in DTYPES]
        print_table([LABELS[varied], *header], rows)


def plot(results, path):
    """Plot times (above) and memory (below) against each of the numbers that were varied.

    Parameters
    ----------
    results : dict
        The result of `measure_all`.
    path : Path
        The picture to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6), layout="constrained")
    axes = figure.subplots(2, len(SWEEPS), sharex="col", sharey="row")
    for column, (varied, values) in zip(axes.T, SWEEPS.items(), strict=True):
        for dtype in DTYPES:
            times, memories = zip(*(results[varied, value, dtype] for value in values), strict=True)
            column[0].loglog(values, times, marker="o", label=dtype)
            column[1].semilogx(values, memories, marker="o")
        column[0].grid(alpha=0.3)
        column[1].grid(alpha=0.3)
        column[1].set_xlabel(LABELS[varied])
    axes[0, 0].set_ylabel("microseconds per image")
    axes[0, 0].legend()
    axes[1, 0].set_ylabel("MB at the peak")
    axes[1, 0].set_ylim(bottom=0)
    figure.savefig(path, dpi=120)


def main(argv=None):
    """Run the benchmark.

    Parameters
    ----------
    argv : list of str, optional
        The arguments. By default those of the process.
    """
    parser = make_parser(
        "Measure how time and memory of a training grow with its sizes.", "growth.json"
    )
    parser.add_argument("--threads", type=positive_int, default=1, help="of the matrix products")
    parser.add_argument("--plot", type=new_file, default="growth.png", help="a new file")
    options = parser.parse_args(argv)

    limit_threads(options.threads)
    machine = describe_machine()
    results = measure_all()
    print_machine(machine)
    print_tables(results)
    plot(results, options.plot)
    write_json(
        options.output,
        {
            "machine": machine,
            "threads": options.threads,
            "points": [
                {
                    "dtype": dtype,
                    **USUAL,
                    varied: value,
                    "microseconds_per_image": microseconds,
                    "megabytes": megabytes,
                }
                for (varied, value, dtype), (microseconds, megabytes) in results.items()
            ],
        },
    )


if __name__ == "__main__":
    main()
