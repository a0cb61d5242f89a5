"""Time one training step of each kind of autoencoder against that of the worksheet's.

    python benchmarks/kinds.py

The kinds are those of noise, of cost and of weights, all 784-100-784 units and 20 images of mini
MNIST. Nobody should pay much for them: with noise of any kind, a step may take 1.3 times as long as
the worksheet's autoencoder, without noise.

In every round, in random order, each kind trains `STEPS` minibatches; ratios are taken within each
round. Where arrays lie in memory makes a difference of ten percent between two equal functions, so
all of it is done in several processes, and all rounds count alike.
"""

import numpy as np
from common import (
    describe_machine,
    fresh_processes,
    limit_threads,
    make_parser,
    positive_int,
    print_machine,
    print_ratios,
    say,
    time_in_turn,
    write_json,
)
from contestants import BATCH_SIZE, CORRUPTION_LEVEL, N_HIDDEN, N_VISIBLE, SEED

LEARNING_RATE = 0.001
"""Small enough for the squared error."""

STEPS = 25

REFERENCE = "autoencoder"

KINDS = {
    REFERENCE: {},
    "autoencoder, squared error": {"cost": "squared-error"},
    "autoencoder, not tied": {"tied_weights": False},
    "masking": {"corruption": "masking"},
    "salt-and-pepper": {"corruption": "salt-and-pepper"},
    "gaussian": {"corruption": "gaussian"},
    "masking, squared error": {"corruption": "masking", "cost": "squared-error"},
    "salt-and-pepper, squared error": {"corruption": "salt-and-pepper", "cost": "squared-error"},
    "gaussian, squared error": {"corruption": "gaussian", "cost": "squared-error"},
}
"""The arguments of the models; those with a corruption are denoising autoencoders."""


def measure(dtype, rounds):
    """Time the steps of all kinds in turn.

    Parameters
    ----------
    dtype : {'float32', 'float64'}
        The floatX.
    rounds : int
        Measurements of each.

    Returns
    -------
    dict from str to ndarray of float, shape (rounds,)
        Microseconds per step, by kind.
    """
    import pytensor

    import dae
    from dae.datasets import read_data, to_floatX

    pytensor.config.floatX = dtype
    train_x = pytensor.shared(to_floatX(read_data().train[0], dtype))

    def compile_steps(kind):
        model = dae.DenoisingAutoencoder if "corruption" in kind else dae.Autoencoder
        step = dae.compile_train_da(
            model(np.random.RandomState(SEED), n_visible=N_VISIBLE, n_hidden=N_HIDDEN, **kind),
            train_x,
            batch_size=BATCH_SIZE,
            corruption_level=CORRUPTION_LEVEL,
            learning_rate=LEARNING_RATE,
        )

        def steps():
            for index in range(STEPS):
                step(index)

        return steps

    seconds = time_in_turn({name: compile_steps(kind) for name, kind in KINDS.items()}, rounds)
    return {name: 1e6 * values / STEPS for name, values in seconds.items()}


def main(argv=None):
    """Run the benchmark.

    Parameters
    ----------
    argv : list of str, optional
        The arguments. By default those of the process.
    """
    parser = make_parser("Time the steps of all kinds of autoencoders.", "kinds.json")
    parser.add_argument("--rounds", type=positive_int, default=200, help="in a process")
    parser.add_argument("--processes", type=positive_int, default=5, help="one after another")
    options = parser.parse_args(argv)

    machine = describe_machine()
    limit_threads(1)
    results = {}
    with fresh_processes() as pool:
        for dtype in ("float32", "float64"):
            say(dtype)
            parts = [
                pool.submit(measure, dtype, options.rounds).result()
                for _ in range(options.processes)
            ]
            results[dtype] = {name: np.hstack([part[name] for part in parts]) for name in KINDS}

    print_machine(machine)
    print("Microseconds per step, and the ratio to the autoencoder's: medians (quartiles).\n")
    print_ratios("kind", results, dict.fromkeys(KINDS, REFERENCE), 0)
    write_json(options.output, {"machine": machine, "microseconds_per_step": results})


if __name__ == "__main__":
    main()
