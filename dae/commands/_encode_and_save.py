"""What the command `encode` does with its options: read, compute the codes, write them."""

from dae.commands._arrays import Rows, write_csv, write_npy, write_npz
from dae.commands._model_and_images import check_output, compute, load_model_and_images, written


def encode_and_save(options, session):
    """Write the codes of images to a file.

    Parameters
    ----------
    options : argparse.Namespace
        See `dae.commands.encode.make_parser`.
    session : Session
        The console.
    """
    output = options.output
    check_output(output, options.force)
    model, images = load_model_and_images(options, session)
    codes = Rows(
        (images.n_images, model.n_hidden),
        model.x.dtype,
        compute(lambda x, i: model.encode(x), images, session),
    )
    with written(output, options.force, session) as file:
        if output.suffix == ".npy":
            write_npy(file, codes)
        elif output.suffix == ".npz":
            write_npz(file, {"codes": codes} | images.known())
        else:
            write_csv(file, codes, table_columns(images))
    session.say(f"{images.n_images} codes of {model.n_hidden} values: {output}")


def table_columns(images):
    """Return what a table says of each image besides its code.

    Parameters
    ----------
    images : Images

    Returns
    -------
    dict
        From ``name`` and ``label``, as far as there are any, to an array of as many values as
        there are images; a label is the name of its class, if it has one.
    """
    columns = {}
    if images.names is not None:
        columns["name"] = images.names
    if images.labels is not None:
        named = images.label_names is not None
        columns["label"] = images.label_names[images.labels] if named else images.labels
    return columns
