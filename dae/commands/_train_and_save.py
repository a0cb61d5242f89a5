"""What the command `train` does with its options: find the data, call `fit`, and report."""

import shlex
import time
from dataclasses import fields, replace

from dae.commands._judging import Judge
from dae.commands._reading import check_batch_size, read_for_training
from dae.commands._report import Advice, Report, describe_arithmetic
from dae.commands._results import save_noise, save_results
from dae.commands._snapshots import Snapshots
from dae.compiler import set_num_threads
from dae.datasets import DataError
from dae.training.callbacks import Callback
from dae.training.config import Config, LayerConfig
from dae.training.fitting import fit
from dae.training.run_directory import NotEmptyError, Run, RunError


def train_and_save(options, session):
    """Train what the command line says, and keep what comes out in a run directory.

    Parameters
    ----------
    options : argparse.Namespace
        See `dae.commands.train.make_parser`.
    session : Session
        The console.

    Returns
    -------
    history : list of Epoch
    dataset : Dataset
    """
    with Run(options.resume or options.output_dir, options.checkpoint_every) as run:
        config, dataset = prepare(run, options, session, Config)
        train_x = dataset.train[0]
        check_batch_size(config.batch_size, train_x, "training", config.data)
        validation = dataset.valid[0] if len(dataset.valid[0]) else None
        if config.patience is not None and validation is None:
            raise DataError(
                f"--patience is {config.patience}, but {config.data} has no validation images to "
                "judge by; expected data that has such, or no --patience"
            )
        judge = Judge(config, dataset)
        run.columns |= judge.columns
        with Report(session, options.report_every, describe, describe_epoch, judge) as report:
            every = options.snapshots or Snapshots.every_of(run)
            snapshots = Snapshots(run, every) if every else None
            callbacks = [Advice(session), Noise(), report]
            callbacks += [snapshots] if snapshots else []
            model, _ = fit(
                config,
                train_x,
                validation=validation,
                run=run,
                callbacks=callbacks,
                progress=report.reading_bar(),
            )
            seconds = time.perf_counter() - report.start
        report.raise_if_stopped()
        save_results(run, model, dataset, judge, options.sort_filters, snapshots, options.report)
        session.say(f"time: {seconds:.0f}s")
        session.say(f"results: {run.directory}")
        return run.history, dataset


def prepare(run, options, session, kind):
    """Find out how to train and on what.

    Parameters
    ----------
    run : Run
        The directory; a run that is resumed is reopened there.
    options : argparse.Namespace
        The settings that are given, and where the run is to be: see
        `dae.commands.train.make_parser`.
    session : Session
        The console.
    kind : type
        The class of the settings.

    Returns
    -------
    config : Settings
    dataset : Dataset
    """
    set_num_threads(options.threads)
    settings = {field.name for field in fields(kind)}
    given = {name: value for name, value in vars(options).items() if name in settings}
    if options.resume is None:
        try:
            run.check_is_new()
        except NotEmptyError as error:
            raise RunError(
                f"{run.directory} is not empty; give a new or an empty directory, or --resume to "
                "go on with the run that it holds"
            ) from error
        config = kind(**given)
    else:
        run.reopen()
        if not isinstance(run.config, kind):
            directory = run.directory
            if isinstance(run.config, LayerConfig):
                directory = directory.parent
            raise RunError(
                f"{run.directory} holds a run of another command; go on with: python -m "
                f"{run.config.command} --resume {shlex.quote(str(directory))}"
            )
        config = replace(run.config, **given)
    is_bounded = kind is not Config or config.cost == "cross-entropy"
    dataset = read_for_training(session, config, options.cache_dir, is_bounded)
    return replace(config, image_shape=dataset.image_shape), dataset


class Noise(Callback):
    """Draws the sample of the noise that the worksheet draws first."""

    def on_begin(self, training):
        """Draw it, if there is noise."""
        config = training.config
        if config.corruption_level and config.corruption == "masking":
            save_noise(training.run)


def describe(training):
    """Return the lines that say what will be trained."""
    config, model = training.config, training.model
    size = "x".join(map(str, config.image_shape))
    n_train = len(training.train_set[0])
    return [
        f"{type(model).__name__} with {model.n_visible} visible and {config.n_hidden} hidden "
        f"units, corruption level {config.corruption_level:g}, learning rate "
        f"{config.learning_rate:g}",
        f"{config.data}: {n_train} images of {size}, {training.n_train_batches} "
        f"minibatches of {config.batch_size}, {config.training_epochs} epochs",
        f"seed {config.seed}, {describe_arithmetic(config)}",
    ]


def describe_epoch(training, epoch):
    """Return the line of an epoch."""
    return f"Training epoch {epoch.epoch}, cost {epoch.cost:f}"
