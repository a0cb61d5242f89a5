"""The page of a sweep: which settings are best, and how they compare."""

import statistics
from typing import NamedTuple

from dae.commands._compare_runs import read_run
from dae.commands._run_page import UNITS, describe_setting
from dae.reports.chart import Curve, draw_chart
from dae.reports.page import command_line, folded, heat_map, paragraph, table, write_page

N_CURVES = 8
"""The curves of so many settings are drawn: there are no more colours."""

MAX_RATIO = 3
"""Curves of settings that are worse than the best by more than that would flatten all others."""


class Measure(NamedTuple):
    """What points are ranked by: lower is better.

    Attributes
    ----------
    name : str
    attribute : str
        That of an `Outcome`.
    is_share : bool
        Whether it is written in percent.
    """

    name: str
    attribute: str
    is_share: bool = False

    def of(self, outcome):
        """Return the number that counts, which may be None."""
        return getattr(outcome, self.attribute)

    def describe(self, numbers):
        """Return the mean of numbers, and their standard deviation if there are several, as text.

        Parameters
        ----------
        numbers : list of float

        Returns
        -------
        str
        """
        factor, unit = (100, " %") if self.is_share else (1, "")
        mean = factor * statistics.fmean(numbers)
        style = ".3g" if mean >= 1e6 else ".2f" if mean >= 10 or self.is_share else ".4f"
        spread = f" ± {factor * statistics.stdev(numbers):{style}}" if len(numbers) > 1 else ""
        return f"{mean:{style}}{spread}{unit}"


VALIDATION_COST = Measure("validation cost", "validation_cost")
TRAINING_COST = Measure("training cost", "cost")
CLASSIFIER_ERROR = Measure("error of a linear classifier", "validation_error", is_share=True)
ALL_MEASURES = TRAINING_COST, VALIDATION_COST, CLASSIFIER_ERROR


def write_sweep_page(file, name, points, outcomes, varying, command):
    """Write the page.

    Parameters
    ----------
    file : binary file
    name : str
        That of the sweep.
    points : list of Point
    outcomes : list of Outcome
        What came of each.
    varying : list of str
        The settings that are not the same in all points.
    command : str
        What makes the sweep.
    """
    done = [
        (point, outcome)
        for point, outcome in zip(points, outcomes, strict=True)
        if outcome.state == "done"
    ]
    kinds = {unit_of(point.config) for point in points}
    names = [name for name in varying if name != "seed"]
    groups = {}
    for point, outcome in done:
        key = tuple(getattr(point.config, name) for name in names)
        groups.setdefault(key, []).append((point, outcome))
    sections = {}
    measures = find_measures(done, is_one_kind=len(kinds) == 1) if done else []
    for measure in measures:
        ranked = rank(groups, measure)
        sections[f"Ranked by {measure.name}"] = show_ranking(
            ranked, names, measure, measures
        ) + draw_heat_maps(groups, names, measure)
    if len(kinds) > 1:
        costs = paragraph(
            "The points have costs of different kinds, which cannot be compared with each other: "
            "only the classifier ranks them."
        )
        sections = {"Costs": costs} | sections
    elif measures:
        unit = UNITS[points[0].config.cost]
        sections["Costs"] = draw_curves(rank(groups, measures[0]), names, measures[0], unit)
    wrong = [
        (outcome.state, point.directory.name, outcome.message)
        for point, outcome in zip(points, outcomes, strict=True)
        if outcome.state != "done"
    ]
    if wrong:
        sections["What went wrong"] = table(["state", "directory", "message"], wrong)
    sections["All points"] = folded(
        f"{len(points)} points, each with a directory of its own",
        table(
            ["state", "epochs", *(measure.name for measure in ALL_MEASURES), "directory"],
            [
                (
                    outcome.state,
                    describe_setting(outcome.epochs),
                    *(describe_of([(point, outcome)], measure) for measure in ALL_MEASURES),
                    point.directory.name,
                )
                for point, outcome in zip(points, outcomes, strict=True)
            ],
        ),
    )
    sections["Do it again"] = command_line(command)
    subtitle = f"{name}: {len(points)} points, {len(done)} of them done"
    write_page(file, "Sweep", subtitle, sections)


def unit_of(config):
    """Return what the costs of a point are measured in."""
    return config.cost, config.standardize


def find_measures(done, is_one_kind):
    """Return what the points can be ranked by.

    Parameters
    ----------
    done : list of (Point, Outcome)
    is_one_kind : bool
        Whether all costs are measured in the same.

    Returns
    -------
    list of Measure
    """

    def is_known(measure):
        return all(measure.of(outcome) is not None for _, outcome in done)

    measures = [VALIDATION_COST if is_known(VALIDATION_COST) else TRAINING_COST]
    return [
        *(measures if is_one_kind else []),
        *([CLASSIFIER_ERROR] if is_known(CLASSIFIER_ERROR) else []),
    ]


def rank(groups, measure):
    """Return the groups of points that differ in the seed alone, the best first.

    Parameters
    ----------
    groups : dict
        From values of settings to lists of (Point, Outcome).
    measure : Measure

    Returns
    -------
    list of (tuple, list of (Point, Outcome))
    """
    return sorted(groups.items(), key=lambda item: mean_of(item[1], measure))


def mean_of(group, measure):
    """Return the mean of a measure over seeds."""
    return statistics.fmean(measure.of(outcome) for _, outcome in group)


def describe_of(group, measure):
    """Return a measure of points as text: its mean, and its standard deviation."""
    numbers = [measure.of(outcome) for _, outcome in group]
    return "–" if None in numbers else measure.describe(numbers)


EXPLANATIONS = {
    VALIDATION_COST: "What it costs to reconstruct a validation image without noise.",
    TRAINING_COST: "What it cost to reconstruct a training image in the last epoch, with the noise "
    "of the training: there are no validation images.",
    CLASSIFIER_ERROR: "The part of the validation images that a logistic regression on the codes "
    "gets wrong.",
}


def show_ranking(ranked, names, measure, measures):
    """Return a ranking as a table.

    Parameters
    ----------
    ranked : list of (tuple, list of (Point, Outcome))
    names : list of str
        The settings whose values the tuples are.
    measure : Measure
        What they are ranked by.
    measures : list of Measure
        The other ones are shown as well.

    Returns
    -------
    str
        HTML.
    """
    shown = [measure, *(other for other in measures if other is not measure)]
    rows = [
        (
            str(i),
            *(describe_setting(value) for value in key),
            *(describe_of(group, each) for each in shown),
            str(len(group)),
        )
        for i, (key, group) in enumerate(ranked, start=1)
    ]
    text = EXPLANATIONS[measure] + " Lower is better"
    text += "; mean ± standard deviation over seeds." if ranked[0][1][1:] else "."
    header = ["rank", *names, *(each.name for each in shown), "seeds"]
    return paragraph(text) + table(header, rows, marked={"1"})


def draw_heat_maps(groups, names, measure):
    """Return a heat map of the first two settings that vary.

    Parameters
    ----------
    groups : dict
        From values of settings to lists of (Point, Outcome).
    names : list of str
        The settings.
    measure : Measure

    Returns
    -------
    str
        HTML; empty if nothing varies but the seed.
    """
    if not names:
        return ""
    column_name, row_name = names[0], names[1] if len(names) > 1 else ""
    best = {}
    for key, group in groups.items():
        place = (key[1] if row_name else measure.name), key[0]
        if place not in best or mean_of(group, measure) < mean_of(best[place], measure):
            best[place] = group
    rows = list(dict.fromkeys(row for row, _ in best))
    columns = list(dict.fromkeys(column for _, column in best))
    cells = [[best.get((row, column)) for column in columns] for row in rows]
    others = ", ".join(names[2:])
    return heat_map(
        row_name,
        list(map(describe_setting, rows)),
        column_name,
        list(map(describe_setting, columns)),
        [[group and mean_of(group, measure) for group in row] for row in cells],
        [["–" if group is None else describe_of(group, measure) for group in row] for row in cells],
    ) + (paragraph(f"Of the other settings ({others}) the best of each cell.") if others else "")


def draw_curves(ranked, names, measure, unit):
    """Return the curves of the best settings, of one seed each.

    Parameters
    ----------
    ranked : list of (tuple, list of (Point, Outcome))
    names : list of str
        The settings whose values the tuples are.
    measure : Measure
        What they are ranked by.
    unit : str
        What costs are measured in.

    Returns
    -------
    str
        HTML.
    """
    curves = []
    limit = MAX_RATIO * mean_of(ranked[0][1], measure)
    shown = [item for item in ranked[:N_CURVES] if mean_of(item[1], measure) <= limit]
    for i, (key, group) in enumerate(shown):
        run = read_run(group[0][0].directory, "", [])
        values = map(describe_setting, key)
        name = ", ".join(map(" ".join, zip(names, values, strict=True))) or "training"
        curves.append(Curve(name, run.costs, i))
        if run.losses:
            curves.append(Curve(f"{name}, validation", run.losses, i, is_dashed=True))
    which = "All settings" if len(shown) == len(ranked) else f"The best {len(shown)} settings"
    return paragraph(f"{which}, with the first seed.") + draw_chart(
        curves, {}, "epoch", f"{unit} per image"
    )
