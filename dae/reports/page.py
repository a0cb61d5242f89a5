"""Pages: HTML files that need nothing but themselves, made of strings that these functions return.

Every text that they are given is plain text, and escaped; what is HTML already says so.
"""

import base64
import io
from html import escape
from importlib.resources import files
from string import Template

from dae.reports.tiles import save_animation, save_image


def write_page(file, title, subtitle, sections):
    """Write a page.

    Parameters
    ----------
    file : binary file
    title, subtitle : str
        The first lines.
    sections : dict
        From headings to the HTML below them.
    """
    template = Template(files("dae.reports").joinpath("page.html").read_text(encoding="utf-8"))
    body = "\n".join(
        f"<section>\n<h2>{escape(heading)}</h2>\n{content}\n</section>"
        for heading, content in sections.items()
    )
    page = template.substitute(title=escape(title), subtitle=escape(subtitle), body=body)
    # A name of a file may have bytes that are no text; the page shows them as question marks.
    file.write(page.encode("utf-8", errors="replace"))


def paragraph(text):
    """Return a paragraph.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
        HTML.
    """
    return f"<p>{escape(text)}</p>"


def command_line(text):
    """Return a command that wraps, and is selected as a whole by a click.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
        HTML.
    """
    return f'<pre class="command"><code>{escape(text)}</code></pre>'


def table(header, rows, marked=()):
    """Return a table, which scrolls by itself where it is wider than the page.

    Parameters
    ----------
    header : sequence of str
        The names of the columns; the first is that of the names of the rows.
    rows : sequence of sequences of str
        The rows, each beginning with its name.
    marked : container of str, default=()
        The names of the rows to emphasise.

    Returns
    -------
    str
        HTML.
    """
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in header)
    body = "\n".join(
        f"<tr{' class=marked' if name in marked else ''}>"
        f'<th scope="row">{escape(name)}</th>'
        + "".join(f"<td{_kind(cell)}>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for name, *cells in rows
    )
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="table"><table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _kind(cell):
    """Return the class of a cell: numbers are not broken between lines."""
    is_number = cell[:1].isdigit() and (len(cell) < 12 or "±" in cell)
    return " class=number" if is_number else ""


def heat_map(row_label, rows, column_label, columns, values, texts):
    """Return a table whose cells are the darker the lower their values are.

    Parameters
    ----------
    row_label, column_label : str
        What the rows and the columns are.
    rows, columns : sequence of str
        Their names.
    values : sequence of sequences of float or None
        A row for each of the rows; None for a cell without colour.
    texts : sequence of sequences of str
        What the cells say.

    Returns
    -------
    str
        HTML.
    """
    known = sorted({value for row in values for value in row if value is not None}, reverse=True)

    def cell(value, text):
        style = ""
        if value is not None:
            # By its place: a value far from all others would leave those without a difference.
            share = known.index(value) / max(len(known) - 1, 1)
            style = f' style="--share:{60 * share:.0f}%"'
        return f"<td{style}>{escape(text)}</td>"

    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    body = "\n".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(cell(value, text) for value, text in zip(*cells, strict=True))
        + "</tr>"
        for name, *cells in zip(rows, values, texts, strict=True)
    )
    corner = f"{escape(row_label)} ↓ {escape(column_label)} →"
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="heat map">'
        f'<table class="heat">\n<thead><tr><th scope="col">{corner}</th>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def folded(summary, content):
    """Return what is shown when one asks for it.

    Parameters
    ----------
    summary : str
        What is shown always.
    content : str
        HTML.

    Returns
    -------
    str
        HTML.
    """
    return f'<details class="folded"><summary>{escape(summary)}</summary>\n{content}\n</details>'


def beside(*parts):
    """Return parts side by side, as far as there is room.

    Parameters
    ----------
    *parts : str
        HTML.

    Returns
    -------
    str
        HTML.
    """
    return '<div class="beside">\n' + "\n".join(parts) + "\n</div>"


def picture(pixels, alt, caption, row_names=()):
    """Return a picture that a click, or the Enter key, enlarges.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width) or (height, width, 3)
        The picture; it is shown about 600 pixels wide, if there is room, or as wide as it is.
    alt : str
        What it shows, in words for those who cannot see it.
    caption : str
        The text below it.
    row_names : sequence of str, default=()
        What its rows are, if it has rows of the same height.

    Returns
    -------
    str
        HTML.
    """
    content = io.BytesIO()
    save_image(content, pixels, "png")
    return _figure(content.getvalue(), "png", pixels.shape, alt, caption, row_names)


def animation(frames, alt, caption):
    """Return an animated picture that a click, or the Enter key, enlarges.

    Readers who want things to keep still are shown the last frame.

    Parameters
    ----------
    frames : sequence of ndarray of uint8, shape (height, width) or (height, width, 3)
    alt, caption : str
        See `picture`.

    Returns
    -------
    str
        HTML.
    """
    moving, still = io.BytesIO(), io.BytesIO()
    save_animation(moving, frames)
    save_image(still, frames[-1], "png")
    return _figure(moving.getvalue(), "gif", frames[-1].shape, alt, caption, still=still.getvalue())


def _figure(content, kind, shape, alt, caption, row_names=(), still=None):
    height, width = shape[:2]
    shown = width * max(600 // width, 1)
    image = (
        f'<img src="{_data_uri(content, kind)}" alt="{escape(alt)}" '
        f'width="{width}" height="{height}">'
    )
    if still is not None:
        image = (
            '<picture><source media="(prefers-reduced-motion: reduce)" '
            f'srcset="{_data_uri(still, "png")}">{image}</picture>'
        )
    names = "".join(f"<li>{escape(name)}</li>" for name in row_names)
    return (
        f'<figure style="--width:{shown}px;--ratio:{width / height:.5g}">\n<div class="rows">'
        + (f"<ol>{names}</ol>" if names else "")
        + f'<details class="zoom"><summary>{image}</summary></details></div>\n'
        f"<figcaption>{escape(caption)}</figcaption>\n</figure>"
    )


def _data_uri(content, kind):
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
