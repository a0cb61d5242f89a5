"""Curves of a training."""


def plot_costs(path, costs):
    """Plot the cost against the epoch.

    Parameters
    ----------
    path : path-like
        The picture to write, in the format that its extension says.
    costs : sequence of float
        The mean cost of each epoch, in nats per image.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(range(len(costs)), costs, marker="." if len(costs) < 20 else "")
    axes.set(xlabel="epoch", ylabel="cost (cross-entropy, nats per image)")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)
