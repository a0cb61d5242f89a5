"""The command `train_stacked`: train a stack of denoising autoencoders, and keep what comes out.

First the layers are trained one by one, without labels; then all of them together, as a classifier.
"""

import argparse

import dae
from dae.commands._arguments import Parser, number, positive_int
from dae.commands._console import run_command
from dae.commands._options import add_setting
from dae.commands._training_options import add_data_options, add_floatX_option, add_run_options
from dae.training.config import StackConfig
from dae.training.settings import LEVEL

PROG = "dae-train-stacked"


def make_parser():
    """Return the parser; settings that are not given are absent from what it parses."""
    parser = Parser(
        prog=PROG,
        description="Train a stacked denoising autoencoder: pre-train its layers, then fine-tune "
        "it with early stopping, as the Theano tutorial does.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"dae {dae.__version__}")
    add_data_options(parser)

    def add(group, name, help, parse, metavar, nargs=None):
        add_setting(group, name, help, parse, metavar, StackConfig, nargs)

    valid = StackConfig.valid
    model = parser.add_argument_group("model and training")
    model.add_argument(
        "--tutorial",
        action="store_const",
        dest="preset",
        const=StackConfig.TUTORIAL,
        default={},
        help="the tutorial's settings, where no other option says otherwise: three layers of 1000 "
        "units, minibatches of one image, and so on",
    )
    add(model, "hidden_layers_sizes", "units of each hidden layer", positive_int, "N", "+")
    add(
        model,
        "corruption_levels",
        "for each layer the probability that a value of its input is hidden in pre-training; or "
        "one for all",
        number(float, *LEVEL),
        "P",
        "+",
    )
    phase = model.add_mutually_exclusive_group()
    add(
        phase,
        "pretraining_epochs",
        "passes over the data for each layer in pre-training",
        positive_int,
        "N",
    )
    phase.add_argument(
        "--no-pretraining",
        action="store_const",
        dest="pretraining_epochs",
        const=0,
        default=argparse.SUPPRESS,
        help="start fine-tuning from random weights",
    )
    rate = number(float, *valid["learning_rate"])
    add(model, "pretraining_learning_rate", "step size of pre-training", rate, "ETA")
    add(model, "learning_rate", "step size of fine-tuning", rate, "ETA")
    add(
        model,
        "training_epochs",
        "passes over the data in fine-tuning at the most",
        positive_int,
        "N",
    )
    add(model, "batch_size", "images in a minibatch", positive_int, "N")
    add(
        model,
        "patience",
        "epochs to fine-tune at the least; an improvement of the validation error may double the "
        "number that it took",
        positive_int,
        "N",
    )
    add(model, "seed", "decides weights and noise", number(int, *valid["seed"]), "N")
    add_floatX_option(model)
    add_run_options(parser, report_every=1)
    return parser


def main(argv=None):
    """Run the command.

    Parameters
    ----------
    argv : list of str, optional
        The arguments; by default those of the process.

    Returns
    -------
    int
        The exit status: 0, 1 for a failed run, 2 for wrong usage, 128 + n after signal n.
    """

    def parse(argv):
        options = make_parser().parse_args(argv)
        for name, value in options.preset.items():
            vars(options).setdefault(name, value)
        return options

    def command(options, session):
        from dae.commands._train_classifier import train_stacked

        train_stacked(options, session)

    return run_command(PROG, parse, command, argv)
