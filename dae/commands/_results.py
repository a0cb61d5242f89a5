"""What a training leaves to look at: pictures, curves, and the page that shows them all."""

import math
from typing import NamedTuple

import numpy as np
from numpy.random import RandomState

from dae.commands._run_page import UNITS, write_run_page
from dae.commands._views import N_VIEWED, NUMPY, Views, choose_images, compile_view, standardize
from dae.datasets import to_floatX
from dae.random import RandomStreams
from dae.reports.curves import plot_costs
from dae.reports.tiles import (
    draw_filters,
    draw_side_by_side,
    enlarge,
    save_animation,
    save_image,
    sort_by_contribution,
)
from dae.training.baselines import image_costs


class Results(NamedTuple):
    """What a training leaves to look at.

    Attributes
    ----------
    n_train, n_pixels : int
        Numbers of training images and of pixels of each.
    W : ndarray, shape (n_visible, n_hidden)
        The weights, with the units in the order in which they are drawn.
    is_sorted : bool
        Whether that order is that of `sort_by_contribution`.
    views : Views
        Images to draw.
    shown_part : {'test', 'validation', 'training'}
        Where they come from.
    cost : {'cross-entropy', 'squared-error'}
    loss, loss_with_noise : float
        The cost of the images that the model is judged by, without and with noise.
    baselines : dict
        The costs of simple predictors for these images: see `compute_baselines`.
    n_judged : int
        How many these images are.
    judged_part : {'validation', 'training'}
        Where they come from.
    validation_losses : list of (int, float)
        The epochs after which there was a look at the validation images, and their costs.
    frames : list of (int, ndarray of uint8)
        Numbers of epochs, and pictures of the filters after them.
    """

    n_train: int
    n_pixels: int
    W: np.ndarray
    is_sorted: bool
    views: Views
    shown_part: str
    cost: str
    loss: float
    loss_with_noise: float
    baselines: dict
    n_judged: int
    judged_part: str
    validation_losses: list
    frames: list


def save_noise(run):
    """Draw the sample of the noise that the worksheet draws first.

    Parameters
    ----------
    run : Run
        The run directory.
    """
    config = run.config
    theano_rng = RandomStreams(RandomState(config.seed).randint(2**30))
    sample = theano_rng.binomial(size=(10, 10), n=1, p=1 - config.corruption_level)
    bits = sample.eval(mode=NUMPY)
    with run.written("noise.png") as path:
        save_image(path, enlarge(255 * bits.astype("uint8"), 24))


def save_results(run, model, dataset, judge, sort_filters=False, snapshots=None, with_page=True):
    """Draw the filters, reconstructions of images, and the costs; write the page.

    Parameters
    ----------
    run : Run
        The run directory.
    model : Autoencoder
        The model, trained.
    dataset : Dataset
        The data.
    judge : Judge
        What the model is judged by.
    sort_filters : bool, default=False
        Whether to draw the units first that contribute most to the reconstructions.
    snapshots : Snapshots, optional
        Pictures of the filters as they formed.
    with_page : bool, default=True
        Whether to write ``report.html``.
    """
    results = compute_results(run, model, dataset, judge, sort_filters, snapshots)
    shape = run.config.image_shape
    original, _, reconstructed, _ = results.views.to_draw()
    with run.written("filters.png") as path:
        save_image(path, enlarge(draw_filters(results.W, shape)))
    with run.written("reconstructions.png") as path:
        save_image(path, enlarge(draw_side_by_side(original, reconstructed, img_shape=shape)))
    if results.frames:
        with run.written("filters.gif") as path:
            save_animation(path, [enlarge(pixels) for _, pixels in results.frames])
    with run.written("costs.png") as path:
        plot_costs(
            path,
            [epoch.cost for epoch in run.history],
            results.validation_losses,
            {name: results.baselines[name] for name in ("mean image", "PCA")},
            results.n_pixels,
            UNITS[results.cost],
        )
    if with_page:
        with run.written("report.html") as path, path.open("wb") as file:
            write_run_page(file, run, results)


def compute_results(run, model, dataset, judge, sort_filters, snapshots):
    """Compute what there is to draw and to tell.

    Parameters
    ----------
    run, model, dataset, judge, sort_filters, snapshots
        See `save_results`.

    Returns
    -------
    Results
    """
    config = run.config
    parts = {"test": dataset.test, "validation": dataset.valid, "training": dataset.train}
    shown_part, (shown_x, labels) = next(
        (name, part) for name, part in parts.items() if len(part[0])
    )
    judged_x = judge.images()
    view = compile_view(model, config.corruption_level, config.seed)
    views = view(to_floatX(shown_x[choose_images(len(shown_x), labels)], config.floatX))
    W = model.W.get_value(borrow=True)
    order = np.arange(W.shape[1])
    if sort_filters:
        order = sort_by_contribution(model.W_prime.eval(mode=NUMPY), views.codes)
    costs, costs_with_noise = [], []
    for start in range(0, len(judged_x), N_VIEWED):
        batch = view(judged_x[start : start + N_VIEWED])
        x, z, denoised = (
            standardize(model, images)
            for images in (batch.original, batch.reconstructed, batch.denoised)
        )
        costs.extend(image_costs(x, z, model.cost))
        costs_with_noise.extend(image_costs(x, denoised, model.cost))
    return Results(
        n_train=len(dataset.train[0]),
        n_pixels=math.prod(config.image_shape[:2]),
        W=W[:, order],
        is_sorted=sort_filters,
        views=views,
        shown_part=shown_part,
        cost=model.cost,
        loss=float(np.mean(costs)),
        loss_with_noise=float(np.mean(costs_with_noise)),
        baselines=judge.baselines,
        n_judged=len(judged_x),
        judged_part=judge.part,
        validation_losses=[
            (epoch.epoch, epoch.validation_loss)
            for epoch in run.history
            if epoch.validation_loss is not None
        ],
        frames=snapshots.frames(order) if snapshots else [],
    )
