"""What `train_logistic` and `train_stacked` do: find labelled data, call `fit`, report and draw."""

import time

import pytensor
import pytensor.tensor as pt
from numpy.random import RandomState

from dae.commands._reading import check_batch_size
from dae.commands._report import Advice, Report, describe_arithmetic
from dae.commands._train_and_save import prepare
from dae.datasets import DataError
from dae.models import LogisticRegression, StackedDenoisingAutoencoder
from dae.reports.curves import plot_errors
from dae.reports.tiles import draw_filters, enlarge, save_image
from dae.training.config import LayerConfig, LogisticRegressionConfig, StackConfig
from dae.training.fitting import fit
from dae.training.pretraining import Pretraining
from dae.training.run_directory import Run
from dae.training.step import compile_validation


def train_logistic(options, session):
    """Train a logistic regression as the command line says.

    Parameters
    ----------
    options : argparse.Namespace
        See `dae.commands.train_logistic.make_parser`.
    session : Session
        The console.
    """
    _train_and_save(options, session, LogisticRegressionConfig)


def train_stacked(options, session):
    """Train a stack as the command line says, in both phases.

    Parameters
    ----------
    options : argparse.Namespace
        See `dae.commands.train_stacked.make_parser`.
    session : Session
        The console.
    """
    _train_and_save(options, session, StackConfig)


def _train_and_save(options, session, kind):
    """Train a classifier, and keep what comes out in a run directory."""
    with Run(options.resume or options.output_dir, options.checkpoint_every) as run:
        config, dataset = prepare(run, options, session, kind)
        train = _labelled(dataset.train, "training", config)
        valid = _whole_minibatches(_labelled(dataset.valid, "validation", config), config)
        test = None
        if len(dataset.test[0]):
            test = _whole_minibatches(_labelled(dataset.test, "test", config), config)
        n_out = 1 + max(int(y.max()) for _, y in filter(None, [train, valid, test]))
        with pytensor.config.change_flags(floatX=config.floatX):
            build = _build_stack if kind is StackConfig else _build_logistic_regression
            model = build(config, train[0].shape[1], n_out)

        start = time.perf_counter()
        with Report(session, options.report_every, _describe, _describe_epoch) as report:
            pretraining = [Pretraining([report])] if kind is StackConfig else []
            callbacks = [Advice(session), *pretraining, report]
            fit(
                config,
                train,
                validation=valid,
                model=model,
                run=run,
                callbacks=callbacks,
                progress=report.reading_bar(),
            )
        report.raise_if_stopped()
        _save_and_say_results(report.training, test, session)
        session.say(f"time: {time.perf_counter() - start:.0f}s")
        session.say(f"results: {run.directory}")


def _build_logistic_regression(config, n_in, n_out):
    return LogisticRegression(pt.matrix("x"), n_in, n_out)


def _build_stack(config, n_in, n_out):
    return StackedDenoisingAutoencoder(
        RandomState(config.seed),
        n_ins=n_in,
        hidden_layers_sizes=config.hidden_layers_sizes,
        n_outs=n_out,
    )


def _labelled(part, name, config):
    """Return a part of the data; refuse one that is of no use."""
    x, y = part
    if y is None or len(x) == 0:
        lack = "labels" if len(x) else "images"
        raise DataError(
            f"{config.data} has no {name} {lack}; expected images and their labels for training "
            "and for validation"
        )
    check_batch_size(config.batch_size, x, name, config.data)
    return x, y


def _whole_minibatches(part, config):
    """Return the rows of a part that the tutorial's errors are about."""
    n_rows = len(part[0]) // config.batch_size * config.batch_size
    return tuple(array[:n_rows] for array in part)


def _describe(training):
    """Return the lines that say what will be trained."""
    config = training.config
    n_train, n_visible = training.train_set[0].shape
    minibatches = f"{training.n_train_batches} minibatches of {config.batch_size}"
    if isinstance(config, LayerConfig):
        return [
            f"layer {config.layer}: {type(training.model).__name__} with {n_visible} visible and "
            f"{config.n_hidden} hidden units, corruption level {config.corruption_level:g}, "
            f"learning rate {config.learning_rate:g}",
            f"{config.data}: {n_train} images, {minibatches}, {config.training_epochs} epochs",
        ]
    size = "x".join(map(str, config.image_shape))
    n_units = [bias.get_value(borrow=True).size for bias in training.model.params[1::2]]
    seed = f"seed {config.seed}, " if isinstance(config, StackConfig) else ""
    return [
        f"{type(training.model).__name__} with {n_visible} inputs and "
        f"{', '.join(map(str, n_units))} units, learning rate {config.learning_rate:g}",
        f"{config.data}: {n_train} images of {size}, {minibatches}, at most "
        f"{config.training_epochs} epochs",
        f"{seed}{describe_arithmetic(config)}",
    ]


def _describe_epoch(training, epoch):
    """Return the line of an epoch."""
    if isinstance(training.config, LayerConfig):
        return (
            f"Pre-training layer {training.config.layer}, epoch {epoch.epoch}, cost {epoch.cost:f}"
        )
    error = _percent(epoch.validation_loss)
    return f"Training epoch {epoch.epoch}, cost {epoch.cost:f}, validation error {error}"


def _save_and_say_results(training, test, session):
    """Draw the best weights, and the errors of all epochs; say the best errors."""
    run, model, best = training.run, training.model, training.best_model
    errors = f"best validation error {_percent(best.stopping.best_validation_loss)}"
    with best.applied(model):
        if test is not None:
            errors += f", with test error {_percent(compile_validation(model, test)())}"
        W = model.params[0].get_value()
    with run.written("filters.png") as path:
        save_image(path, enlarge(draw_filters(W, training.config.image_shape)))
    with run.written("errors.png") as path:
        plot_errors(path, [epoch.validation_loss for epoch in run.history])
    session.say(errors)
    session.say(f"epochs: {len(run.history) + bool(run.costs)}")


def _percent(share):
    return f"{100 * share:f} %"
