"""The worksheet, in a run directory: data, model, training, pictures."""

import contextlib
import hashlib
import shlex
import sys
import time
from dataclasses import asdict, replace

import pytensor
from numpy.random import RandomState
from pytensor.compile.mode import get_default_mode

from dae.commands._console import StoppedError
from dae.datasets import DataError, read_data, to_floatX
from dae.models.autoencoder import Autoencoder, DenoisingAutoencoder
from dae.random.streams import RandomStreams
from dae.reports.curves import plot_costs
from dae.reports.tiles import draw_filters, draw_side_by_side, enlarge, save_image
from dae.training.checkpoints import get_state, set_state
from dae.training.config import Config
from dae.training.run_directory import Run, RunError
from dae.training.step import compile_train_da, train

CHECKPOINT_SECONDS = 60
"""How much work may be lost, without --checkpoint-every."""


def prepare(run, options, session):
    """Find out what to train and on what, and refuse what cannot be.

    Returns
    -------
    config : Config
    train_x : numpy.ndarray, shape (n_train, n_visible)
        The training images as floatX.
    shown : numpy.ndarray, shape (up to 100, n_visible)
        Images to show reconstructions of: not trained on, if there are such.
    """
    given = {name: value for name, value in vars(options).items() if hasattr(Config, name)}
    if options.resume is None:
        run.check_is_new()
        config = Config(**given)
    else:
        fault = run.reopen()
        if fault:
            session.complain(f"{fault}; going on from the checkpoint before it")
        config = replace(run.config, **given)

    with session.bar(unit="B", unit_scale=True, delay=0.1, leave=False) as progress:
        dataset = read_data(config.data, config.image_shape, options.cache_dir, progress)
    train_x = to_floatX(dataset.train[0], config.floatX)
    shown = dataset.test[0] if len(dataset.test[0]) else dataset.train[0]
    if len(train_x) < config.batch_size:
        raise DataError(
            f"--batch-size is {config.batch_size}, but {config.data} has {len(train_x)} training "
            f"images; expected {len(train_x)} at the most"
        )
    data_sha256 = hashlib.sha256(train_x).hexdigest()
    config = replace(config, image_shape=list(dataset.image_shape), data_sha256=data_sha256)
    if options.resume is not None:
        check_resumable(run, config)
    return config, train_x, to_floatX(shown[:100], config.floatX)


def check_resumable(run, config):
    """Refuse settings under which the rest of a run would not belong to its beginning.

    Raises
    ------
    RunError
        If there are such; it names them all.
    """
    differences = [
        f"{name} is {value}, was {getattr(run.config, name)}"
        for name, value in asdict(config).items()
        if value != getattr(run.config, name) and name not in ("data", "training_epochs")
    ]
    n_begun = len(run.history) + bool(run.costs)
    if config.training_epochs < n_begun:
        differences.append(f"training_epochs is {config.training_epochs}, {n_begun} are begun")
    if differences:
        raise RunError(f"cannot go on with {run.directory}: {'; '.join(differences)}")


def build_model(config, n_visible):
    """Build the model as the worksheet does.

    Returns
    -------
    model : Autoencoder
    sample : matrix, shape (10, 10), or None
        The sample of the noise that the worksheet draws first, so that it is the second stream
        that corrupts the training data; None without noise.
    """
    numpy_rng = RandomState(config.seed)
    theano_rng = RandomStreams(numpy_rng.randint(2**30))
    if config.corruption_level == 0:
        kind, sample = Autoencoder, None
    else:
        kind = DenoisingAutoencoder
        sample = theano_rng.binomial(size=(10, 10), n=1, p=1 - config.corruption_level)
    model = kind(numpy_rng, theano_rng, n_visible=n_visible, n_hidden=config.n_hidden)
    return model, sample


def compile_step(run, model, train_x, session):
    """Compile `train_da(index)`, and bring the model where the run has got to."""
    config = run.config
    height, width = config.image_shape
    session.say(
        f"{type(model).__name__} with {model.n_visible} visible and {config.n_hidden} hidden "
        f"units, corruption level {config.corruption_level:g}, learning rate "
        f"{config.learning_rate:g}"
    )
    session.say(
        f"{config.data}: {len(train_x)} images of {height}x{width}, "
        f"{len(train_x) // config.batch_size} minibatches of {config.batch_size}, "
        f"{config.training_epochs} epochs"
    )
    session.say(
        f"seed {config.seed}, {config.floatX}, PyTensor {pytensor.__version__}, "
        f"linker {get_default_mode().provided_linker}"
    )
    session.say("compiling ...")
    start = time.perf_counter()
    train_da = compile_train_da(
        model,
        pytensor.shared(train_x, borrow=True),
        corruption_level=config.corruption_level,
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
    )
    session.say(f"compiled in {time.perf_counter() - start:.1f}s")
    if run.state:
        set_state(model, run.state)
        session.say(f"going on at epoch {len(run.history)}, minibatch {len(run.costs)}")
    return train_da


def train_epochs(run, model, train_da, n_train_batches, options, session):
    """Train the epochs that are left, save checkpoints and report on the way.

    Raises
    ------
    StoppedError
        If a signal came, or nobody reads the output; a checkpoint was saved.
    """
    training_epochs = run.config.training_epochs

    def save_checkpoint():
        run.save_checkpoint(get_state(model))

    def step(index):
        session.check_signals()
        if not options.checkpoint_every and time.monotonic() > run.saved_at + CHECKPOINT_SECONDS:
            save_checkpoint()
        return train_da(index)

    epochs = train(step, n_train_batches, training_epochs, len(run.history), run.costs)
    settings = {"total": training_epochs, "initial": len(run.history), "unit": "epoch"}
    with session.signals_waiting(), session.bar(**settings) as show:
        try:
            for epoch in epochs:
                run.save_epoch(epoch)
                n_done = len(run.history)
                if options.checkpoint_every and n_done % options.checkpoint_every == 0:
                    save_checkpoint()
                show(f"cost {epoch.cost:f}", n_done, training_epochs)
                if epoch.epoch % options.report_every == 0:
                    session.say(f"Training epoch {epoch.epoch}, cost {epoch.cost:f}")
            save_checkpoint()
            session.check_signals()
        except StoppedError as stopped:
            save_checkpoint()
            place = f"at epoch {len(run.history)}, minibatch {len(run.costs)}"
            raise StoppedError(stopped.status, f"{stopped} {place}") from None


def save_noise(run, sample):
    """Draw the sample of the noise."""
    bits = sample.eval(mode="FAST_COMPILE")  # one call: not worth machine code
    with run.written("noise.png") as path:
        save_image(path, enlarge(255 * bits.astype("uint8"), 24))


def save_pictures(run, model, shown):
    """Draw the filters, reconstructions of images, and the costs."""
    z = model.feedforward().eval({model.x: shown}, mode="FAST_COMPILE")
    with run.written("filters.png") as path:
        save_image(path, draw_filters(model.W.get_value(borrow=True), run.config.image_shape))
    with run.written("reconstructions.png") as path:
        save_image(path, draw_side_by_side(shown, z, img_shape=run.config.image_shape))
    with run.written("costs.png") as path:
        plot_costs(path, [cost for cost, seconds in run.history])


def train_and_save(options, session):
    """Train what the command line says, and keep what comes out in a run directory.

    Parameters
    ----------
    options : argparse.Namespace
        See `dae.train.make_parser`.
    session : dae.commands._console.Session
    """
    with contextlib.closing(Run(options.resume or options.output_dir)) as run:
        config, train_x, shown = prepare(run, options, session)

        with pytensor.config.change_flags(floatX=config.floatX):
            model, sample = build_model(config, train_x.shape[1])
            run.begin(config)
            resume = [sys.executable, "-m", "dae.train", "--resume", str(run.directory)]
            session.advice = f"; go on with: {shlex.join(resume)}"

            if sample is not None:
                save_noise(run, sample)
            train_da = compile_step(run, model, train_x, session)
            start = time.perf_counter()
            n_train_batches = len(train_x) // config.batch_size
            train_epochs(run, model, train_da, n_train_batches, options, session)
            seconds = time.perf_counter() - start
            run.save_model(model)
            save_pictures(run, model, shown)
            session.say(f"time: {seconds:.0f}s")
            session.say(f"results: {run.directory}")
