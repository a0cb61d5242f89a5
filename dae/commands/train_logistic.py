"""The command `train_logistic`: train a logistic regression, and keep what comes out."""

import dae
from dae.commands._arguments import Parser, number, positive_int
from dae.commands._console import run_command
from dae.commands._options import add_setting
from dae.commands._training_options import add_data_options, add_floatX_option, add_run_options
from dae.training.config import LogisticRegressionConfig

PROG = "dae-train-logistic"


def make_parser():
    """Return the parser; settings that are not given are absent from what it parses."""
    parser = Parser(
        prog=PROG,
        description="Train a logistic regression with early stopping, as the Theano tutorial does.",
        epilog="On mini MNIST a --batch-size of 60 is a tenth of the tutorial's, as the data are.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"dae {dae.__version__}")
    add_data_options(parser)
    training = parser.add_argument_group("training")
    valid = LogisticRegressionConfig.valid
    for name, help, type, metavar in [
        ("learning_rate", "step size", number(float, *valid["learning_rate"]), "ETA"),
        ("training_epochs", "passes over the data at the most", positive_int, "N"),
        ("batch_size", "images in a minibatch", positive_int, "N"),
        (
            "patience",
            "minibatches to train at the least; an improvement of the validation error may double "
            "the number that it took",
            number(int, *valid["patience"]),
            "N",
        ),
    ]:
        add_setting(training, name, help, type, metavar, kind=LogisticRegressionConfig)
    add_floatX_option(training)
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

    def command(options, session):
        from dae.commands._train_classifier import train_logistic

        train_logistic(options, session)

    return run_command(PROG, make_parser().parse_args, command, argv)
