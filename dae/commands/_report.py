"""A training on the console: what it says, how it is stopped, how to go on."""

import contextlib
import shlex
import sys
import time

import pytensor
from pytensor.compile.mode import get_default_mode

from dae.commands._console import StoppedError
from dae.training.callbacks import Callback


class Advice(Callback):
    """Says how to go on after an early end, once there is a checkpoint to go on from.

    Parameters
    ----------
    session : Session
        The console.
    """

    def __init__(self, session):
        self._session = session

    def on_begin(self, training):
        """Store the advice."""
        directory = str(training.run.directory)
        resume = [sys.executable, "-m", training.config.command, "--resume", directory]
        self._session.advice = f"; go on with: {shlex.join(resume)}"


class Report(Callback):
    """Shows trainings on the console, one after the other; the console can stop them.

    As a context manager it closes the bar, and stopping no longer waits for a minibatch.

    Parameters
    ----------
    session : Session
        The console.
    report_every : int
        Number of epochs between lines.
    describe : callable
        Called with a `Training` before it is compiled; it returns the lines to show.
    describe_epoch : callable
        Called with a `Training` and an `Epoch` that is due; it returns the line to show.
    judge : Judge, optional
        Says in the bar how good the model is.

    Attributes
    ----------
    training : Training or None
        The present training.
    start : float
        When its present stage began, compiling or training, as `time.perf_counter` tells.
    """

    def __init__(self, session, report_every, describe, describe_epoch, judge=None):
        self.training = self.start = None
        self._session = session
        self._report_every = report_every
        self._describe = describe
        self._describe_epoch = describe_epoch
        self._judge = judge
        self._exit_stack = contextlib.ExitStack()
        self._show_bar = None

    def __enter__(self):
        """Return the report itself."""
        return self

    def __exit__(self, *exception):
        """Close the bar."""
        self._exit_stack.close()

    def reading_bar(self):
        """Show a bar for reading data, until a training begins.

        Returns
        -------
        callable
            See `Session.bar`.
        """
        return self._exit_stack.enter_context(
            self._session.bar(unit="B", unit_scale=True, delay=0.1, leave=False)
        )

    def on_begin(self, training):
        """Show what will be trained; do not begin with it if a signal came in the last one."""
        self._exit_stack.close()
        self.training = training
        if training.run.fault:
            fault = f"{training.run.fault}; going on from the checkpoint before it"
            self._session.complain(fault)
        if self._session.stopped:
            training.stop()
            return
        for line in [*self._describe(training), "compiling ..."]:
            self._session.say(line)
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
        """Show the epoch; stop if nobody reads the output."""
        text = f"cost {epoch.cost:f}"
        if self._judge is not None:
            text = ", ".join(filter(None, [text, self._judge.describe(epoch)]))
        self._show_bar(text, epoch.epoch + 1, training.config.training_epochs)
        if epoch.epoch % self._report_every == 0:
            self._session.say(self._describe_epoch(training, epoch))
            if self._session.stopped:
                training.stop()

    def on_end(self, training):
        """Close the bar."""
        self._exit_stack.close()

    def raise_if_stopped(self):
        """Raise a `StoppedError` that says where, if the console stopped the training."""
        stopped = self._session.stopped
        if stopped:
            training = self.training
            place = f"at epoch {len(training.history)}, minibatch {len(training.costs)}"
            raise StoppedError(stopped.status, f"{stopped} {place}")


def describe_arithmetic(config):
    """Return what the numbers depend on beside the settings, in words.

    Parameters
    ----------
    config : Settings

    Returns
    -------
    str
    """
    linker = get_default_mode().provided_linker
    return f"{config.floatX}, PyTensor {pytensor.__version__}, linker {linker}"
