"""The page that shows runs side by side."""

import math

import numpy as np

from dae.commands._run_page import UNITS, describe_setting
from dae.reports.chart import Curve, draw_chart
from dae.reports.page import beside, folded, paragraph, picture, table, write_page
from dae.reports.tiles import draw_filters, draw_in_rows


def write_comparison(file, comparison):
    """Write the page.

    Parameters
    ----------
    file : binary file
    comparison : Comparison
        See `dae.commands._compare_runs`.
    """
    runs, first = comparison.runs, comparison.runs[0]
    directories = table(["", "directory"], [(run.name, str(run.directory)) for run in runs])
    sections = {
        # A column for each run, since pages are higher than wide.
        "Results": table(*transpose(comparison.header, comparison.rows))
        + "".join(map(paragraph, [describe_columns(comparison.header), *comparison.notes]))
        + folded("The directories", directories)
    }
    curves = [
        curve
        for i, run in enumerate(runs)
        if run in comparison.plotted
        for curve in (
            Curve(f"{run.name}, training", run.costs, i),
            Curve(f"{run.name}, validation", run.losses, i, is_dashed=True),
        )
        if curve.points
    ]
    if curves:
        unit = UNITS[first.config["cost"]]
        right = [] if first.image_shape is None else [f"{unit} per pixel"]
        right += [1 / math.prod(first.image_shape[:2])] * len(right)
        sections["Costs"] = draw_chart(curves, {}, "epoch", f"{unit} per image", *right)
    drawable = [run for run in runs if run.model is not None]
    if drawable:
        sections["Filters"] = beside(
            *(
                picture(
                    draw_filters(run.model.W.get_value(borrow=True), run.image_shape),
                    f"The filters of {run.name}",
                    f"{run.name}: what each of its {run.model.n_hidden} hidden units looks for.",
                )
                for run in drawable
            )
        )
    if comparison.images:
        names, images = zip(*comparison.images, strict=True)
        sections["Reconstructions"] = picture(
            draw_in_rows(*(np.clip(rows, 0, 1) for rows in images), img_shape=first.image_shape),
            f"Images, and what each model makes of them, in {len(names)} rows",
            "What each model makes of the same images"
            + (", and of the same corrupted images." if "corrupted" in names else "."),
            names,
        )
    settings = dict.fromkeys(name for run in runs for name in run.config)
    sections["Settings"] = folded(
        "All settings",
        table(
            ["setting", *(run.name for run in runs)],
            [
                (name, *(describe_setting(run.config.get(name)) for run in runs))
                for name in settings
            ],
        ),
    )
    write_page(file, "Comparison", ", ".join(run.name for run in runs), sections)


def transpose(header, rows):
    """Return the header and the rows of a table whose columns are these rows."""
    header, *rows = zip(header, *rows, strict=True)
    return header, rows


def describe_columns(header):
    """Return what the columns of results mean.

    Parameters
    ----------
    header : list of str

    Returns
    -------
    str
    """
    text = "Costs are per image: of the last epoch, and of the last look at the validation images."
    if "same images" in header:
        text += (
            " All models reconstructed the same images; what that costs is also given per pixel"
            + (", and for the same images with noise." if "corrupted" in header else ".")
        )
    return text
