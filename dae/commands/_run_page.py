"""The page of a run: what was asked for, how it went, and what came out."""

import json
import shlex
from dataclasses import asdict, fields

from dae.reports.chart import Curve, draw_chart
from dae.reports.page import (
    animation,
    beside,
    command_line,
    folded,
    paragraph,
    picture,
    table,
    write_page,
)
from dae.reports.tiles import draw_filters, draw_in_rows, draw_side_by_side
from dae.training.config import Config

UNITS = {"cross-entropy": "nats", "squared-error": "squared error"}
"""What each cost is measured in."""


def write_run_page(file, run, results):
    """Write the page of a run.

    Parameters
    ----------
    file : binary file
    run : Run
        The directory, with its settings and its history.
    results : Results
        What came out; see `dae.commands._results`.
    """
    config = run.config
    shape = config.image_shape
    kind = "Denoising autoencoder" if config.corruption_level else "Autoencoder"
    sections = {
        "How good it is": describe_quality(run, results),
        "Costs": draw_costs(run, results),
        "Filters": show_filters(config, results),
        **show_images(config, results),
    }
    versions = json.loads((run.directory / "config.json").read_text("ascii"))["versions"]
    sections["Settings"] = table(
        ["setting", "value"],
        [(name, describe_setting(value)) for name, value in asdict(config).items()]
        + [("versions", ", ".join(f"{name} {number}" for name, number in versions.items()))],
    )
    sections["Do it again"] = command_line(command_to_repeat(config)) + paragraph(
        "The same versions give the same bits. Settings that are not named have their defaults."
    )
    n_train = results.n_train
    size = "×".join(map(str, shape[:2])) + (" in colour" if len(shape) == 3 else "")
    subtitle = f"{run.directory} · {n_train} images of {size} from {config.data}"
    write_page(file, kind, subtitle, sections)


def describe_quality(run, results):
    """Return the costs of the model and of the baselines as a table, with their meaning.

    Parameters
    ----------
    run : Run
    results : Results

    Returns
    -------
    str
        HTML.
    """
    config = run.config
    unit = UNITS[results.cost]
    labels = {
        "mean image": "always the mean image",
        "PCA": f"PCA with {min(config.n_hidden, len(results.W))} components",
        "perfect reconstruction": "a perfect reconstruction",
    }
    costs = [(labels[name], cost) for name, cost in results.baselines.items()]
    model = "this model"
    costs.append((model, results.loss))
    if config.corruption_level:
        costs.append(("this model, given corrupted images", results.loss_with_noise))
    best, best_loss = min(results.validation_losses, key=lambda pair: pair[1], default=(None, None))
    is_last_best = best == len(run.history) - 1
    if best is not None and not is_last_best:
        file = " (best_model.npz)" if config.patience else ""
        costs.append((f"this model after epoch {best}, its best{file}", best_loss))
    costs.sort(key=lambda pair: -pair[1])
    text = (
        f"What it costs to reconstruct {results.n_judged} {results.judged_part} images without "
        f"noise, {'in nats, ' if unit == 'nats' else ''}beside what simpler predictors cost that "
        "were made from the training images."
    )
    if config.corruption_level:
        text += " To reconstruct corrupted images is what the model was trained for."
    if results.judged_part == "training":
        text += " There are no other images: on new ones the model is likely to be worse."
    if is_last_best:
        text += " The last epoch is the best one."
    rows = [
        (name, describe_cost(cost), describe_cost(cost / results.n_pixels)) for name, cost in costs
    ]
    return paragraph(text) + table(
        ["reconstruction", f"{unit} per image", "per pixel"], rows, marked={model}
    )


def draw_costs(run, results):
    """Return the curves of the costs beside the baselines, and the numbers of some epochs.

    Parameters
    ----------
    run : Run
    results : Results

    Returns
    -------
    str
        HTML.
    """
    with_noise, without = ", with noise", ", without noise"
    if not run.config.corruption_level:
        with_noise = without = ""
    curves = [Curve(f"training{with_noise}", [(epoch.epoch, epoch.cost) for epoch in run.history])]
    if results.validation_losses:
        curves.append(Curve(f"validation{without}", results.validation_losses, 1, is_dashed=True))
    unit = UNITS[results.cost]
    chart = draw_chart(
        curves,
        {name: results.baselines[name] for name in ("mean image", "PCA")},
        "epoch",
        f"{unit} per image",
        f"{unit} per pixel",
        1 / results.n_pixels,
    )
    numbers = [dict(curve.points) for curve in curves]
    epochs = sorted(set.intersection(*map(set, numbers)))
    rows = [
        (str(epoch), *(f"{costs[epoch]:.6f}" for costs in numbers))
        for epoch in epochs[:: max(len(epochs) // 20, 1)]
    ]
    return chart + folded("The numbers", table(["epoch", *(curve.name for curve in curves)], rows))


def show_filters(config, results):
    """Return the filters, and how they formed, if there are snapshots.

    Parameters
    ----------
    config : Config
    results : Results

    Returns
    -------
    str
        HTML.
    """
    order = ", those first that contribute most to the reconstructions" * results.is_sorted
    filters = picture(
        draw_filters(results.W, config.image_shape),
        f"The filters of {config.n_hidden} hidden units",
        f"What each of the {config.n_hidden} hidden units looks for{order}.",
    )
    if not results.frames:
        return filters
    numbers, frames = zip(*results.frames, strict=True)
    return beside(
        filters,
        animation(
            frames,
            "The filters as they form",
            f"The same filters as they form, from epoch {numbers[0]} to {numbers[-1]}.",
        ),
    )


def show_images(config, results):
    """Return images, with noise too if there is any, and their reconstructions.

    Parameters
    ----------
    config : Config
    results : Results

    Returns
    -------
    dict
        Sections of the page: see `write_page`.
    """
    original, corrupted, reconstructed, denoised = results.views.to_draw()
    sections = {}
    if config.corruption_level:
        sections["Noise"] = picture(
            draw_in_rows(original, corrupted, img_shape=config.image_shape),
            "Images, and below them the same with noise",
            f"{results.shown_part.capitalize()} images, and what the model is given of them: the "
            f"corruption level is {config.corruption_level:g}.",
            ["original", "corrupted"],
        )
        rows = [original, reconstructed, corrupted, denoised]
        names = ["original", "reconstructed", "corrupted", "reconstructed"]
    else:
        rows, names = [original, reconstructed], ["original", "reconstructed"]
    sections["Reconstructions"] = picture(
        draw_in_rows(*rows, img_shape=config.image_shape),
        f"Images in {len(rows)} rows: {', '.join(names)}",
        f"{results.shown_part.capitalize()} images; each reconstruction is that of the row above "
        "it.",
        names,
    ) + folded(
        f"{len(original)} images and their reconstructions",
        picture(
            draw_side_by_side(original, reconstructed, img_shape=config.image_shape),
            "A grid of images, and a grid of their reconstructions",
            "Originals on the left, reconstructions on the right, without noise.",
        ),
    )
    return sections


def describe_cost(cost):
    """Return a cost with as many digits as one wants to read.

    Parameters
    ----------
    cost : float

    Returns
    -------
    str
    """
    if cost >= 1e6:
        return f"{cost:.3g}"
    return f"{cost:.2f}" if cost >= 10 else f"{cost:.4f}"


def describe_setting(value):
    """Return the value of a setting as text.

    Parameters
    ----------
    value : object

    Returns
    -------
    str
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " × ".join(map(str, value))
    return str(value)


def command_to_repeat(config):
    """Return the command that trains as the settings say.

    Parameters
    ----------
    config : Config

    Returns
    -------
    str
        For a shell; settings that have their defaults are left out.
    """
    words = ["python", "-m", "dae.train"]
    for field in fields(Config):
        value = getattr(config, field.name)
        option = f"--{field.name.replace('_', '-')}"
        if field.name == "image_shape" and value is not None:
            # The data sets that have a name have a shape of their own.
            if config.data not in ("mini-mnist", "mnist"):
                words += [option, "x".join(map(str, value[:2]))]
        elif field.name == "color" and config.image_shape is not None:
            words += [option] * (len(config.image_shape) == 3)
        elif field.name == "data_sha256" or value in (field.default, None):
            continue
        elif value is True:
            words.append(option)
        else:
            words += [option, str(value)]
    return shlex.join(words)
