"""Curves of a training."""


def plot_errors(path, errors):
    """Plot the share of wrong predictions against the epoch.

    Parameters
    ----------
    path : path-like
        The picture to write, in the format that its extension says.
    errors : sequence of float
        That of the validation data after each epoch, in [0, 1].
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot([100 * error for error in errors], marker="." if len(errors) < 20 else "")
    axes.set(xlabel="epoch", ylabel="validation error (%)", ylim=(0, None))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)


def plot_costs(path, costs, validation_costs=(), baselines=None, n_pixels=None, unit="nats"):
    """Plot the cost against the epoch.

    Parameters
    ----------
    path : path-like
        The picture to write, in the format that its extension says.
    costs : sequence of float
        The mean cost of each epoch, per image.
    validation_costs : sequence of (int, float), default=()
        Epochs, and the costs of the validation data after them, per image.
    baselines : dict, optional
        From names to costs per image, which become horizontal lines.
    n_pixels : int, optional
        Number of pixels of an image, for a second axis with the cost per pixel.
    unit : str, default='nats'
        What the cost is measured in.

    Examples
    --------
    >>> plot_costs("costs.png", [138.4, 108.1, 98.9], baselines={"PCA": 66.1})
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    marker = "." if len(costs) < 20 else ""
    axes.plot(range(len(costs)), costs, marker=marker, label="training")
    if validation_costs:
        axes.plot(*zip(*validation_costs, strict=True), "--", marker=marker, label="validation")
    for number, (name, cost) in enumerate((baselines or {}).items(), start=2):
        axes.axhline(cost, color=f"C{number}", linestyle=":", label=name)
    axes.set(xlabel="epoch", ylabel=f"cost ({unit} per image)")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    if len(axes.lines) > 1:
        axes.legend(loc="upper right")
    if n_pixels is not None:
        per_pixel = axes.secondary_yaxis(
            "right", functions=(lambda cost: cost / n_pixels, lambda cost: cost * n_pixels)
        )
        per_pixel.set_ylabel(f"{unit} per pixel")
    figure.savefig(path, dpi=150)
