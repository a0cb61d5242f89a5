"""What the command `train` does with its options: find the data, call `fit`, and report."""

import contextlib
import shlex
import sys
import time
from dataclasses import fields, replace

import pytensor
from pytensor.compile.mode import get_default_mode

from dae.commands._console import StoppedError
from dae.commands._results import save_noise, save_results
from dae.commands._snapshots import Snapshots
from dae.datasets import DataError, read_data, to_floatX
from dae.training.callbacks import Callback
from dae.training.config import Config, ConfigError
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
    """
    with Run(options.resume or options.output_dir, options.checkpoint_every) as run:
        config, dataset = prepare(run, options, session)
        train_x = to_floatX(dataset.train[0], config.floatX)
        validation = dataset.valid[0] if len(dataset.valid[0]) else None
        with contextlib.ExitStack() as exit_stack:
            report = Report(session, exit_stack, options.report_every)
            every = options.snapshots or Snapshots.every_of(run)
            snapshots = Snapshots(run, every) if every else None
            callbacks = [report, snapshots] if snapshots else [report]
            try:
                model, history = fit(
                    config, train_x, validation=validation, run=run, callbacks=callbacks
                )
            except ConfigError as error:
                if error.name == "patience":
                    raise DataError(
                        f"--patience is {config.patience}, but {config.data} has no validation "
                        "images to judge by; expected data that has such, or no --patience"
                    ) from error
                raise DataError(
                    f"--batch-size is {config.batch_size}, but {config.data} has {len(train_x)} "
                    f"training images; expected {len(train_x)} at the most"
                ) from error
            seconds = time.perf_counter() - report.start
        if session.stopped:
            place = f"at epoch {len(history)}, minibatch {len(run.costs)}"
            raise StoppedError(session.stopped.status, f"{session.stopped} {place}")
        save_results(run, model, dataset, options.sort_filters, snapshots, options.report)
        session.say(f"time: {seconds:.0f}s")
        session.say(f"results: {run.directory}")


def prepare(run, options, session):
    """Find out what to train and on what.

    Parameters
    ----------
    run : Run
        The directory; a run that is resumed is reopened there.
    options : argparse.Namespace
        See `dae.commands.train.make_parser`.
    session : Session
        The console.

    Returns
    -------
    config : Config
    dataset : Dataset
    """
    settings = {field.name for field in fields(Config)}
    given = {name: value for name, value in vars(options).items() if name in settings}
    if options.resume is None:
        try:
            run.check_is_new()
        except NotEmptyError as error:
            raise RunError(
                f"{run.directory} is not empty; give a new or an empty directory, or --resume to "
                "go on with the run that it holds"
            ) from error
        config = Config(**given)
    else:
        fault = run.reopen()
        if fault:
            session.complain(f"{fault}; going on from the checkpoint before it")
        config = replace(run.config, **given)

    with session.bar(unit="B", unit_scale=True, delay=0.1, leave=False) as progress:
        dataset = read_data(config.data, config.image_shape, options.cache_dir, progress)
    return replace(config, image_shape=dataset.image_shape), dataset


class Report(Callback):
    """Shows a training on the console, which can stop it.

    Parameters
    ----------
    session : Session
        The console.
    exit_stack : contextlib.ExitStack
        It closes the bar after the training, and lets stopping wait no longer.
    report_every : int
        Number of epochs between lines.

    Attributes
    ----------
    start : float
        When the present stage began, compiling or training, as `time.perf_counter` tells.
    """

    def __init__(self, session, exit_stack, report_every):
        self.start = None
        self._session = session
        self._exit_stack = exit_stack
        self._report_every = report_every
        self._show_bar = None

    def on_begin(self, training):
        """Draw the sample of the noise, and show what will be trained."""
        config, model, say = training.config, training.model, self._session.say
        resume = [sys.executable, "-m", "dae.train", "--resume", str(training.run.directory)]
        self._session.advice = f"; go on with: {shlex.join(resume)}"
        if config.corruption_level:
            save_noise(training.run)
        height, width = config.image_shape
        n_train = len(training.train_set[0].get_value(borrow=True))
        say(
            f"{type(model).__name__} with {model.n_visible} visible and {config.n_hidden} hidden "
            f"units, corruption level {config.corruption_level:g}, learning rate "
            f"{config.learning_rate:g}"
        )
        say(
            f"{config.data}: {n_train} images of {height}x{width}, {training.n_train_batches} "
            f"minibatches of {config.batch_size}, {config.training_epochs} epochs"
        )
        say(
            f"seed {config.seed}, {config.floatX}, PyTensor {pytensor.__version__}, "
            f"linker {get_default_mode().provided_linker}"
        )
        say("compiling ...")
        self.start = time.perf_counter()

    def on_compiled(self, training):
        """Show the time and the bar; from now on stopping waits for the end of a minibatch."""
        n_done = len(training.history)
        self._session.say(f"compiled in {time.perf_counter() - self.start:.1f}s")
        if training.run.state:
            self._session.say(f"going on at epoch {n_done}, minibatch {len(training.costs)}")
        self._exit_stack.enter_context(self._session.stops_waiting())
        self._show_bar = self._exit_stack.enter_context(
            self._session.bar(total=training.config.training_epochs, initial=n_done, unit="epoch")
        )
        self.start = time.perf_counter()

    def on_minibatch(self, training):
        """Stop if a signal came."""
        if self._session.stopped:
            training.stop()

    def on_epoch(self, training, epoch):
        """Show the cost; stop if nobody reads the output."""
        self._show_bar(f"cost {epoch.cost:f}", epoch.epoch + 1, training.config.training_epochs)
        if epoch.epoch % self._report_every == 0:
            self._session.say(f"Training epoch {epoch.epoch}, cost {epoch.cost:f}")
            if self._session.stopped:
                training.stop()
