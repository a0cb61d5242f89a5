"""Pages, read as HTML and opened in a browser."""

import base64
import io
import os
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from dae.reports import page
from dae.reports.chart import Curve, draw_chart

VOID = {"meta", "link", "img", "source", "path", "br"}
NASTY = """<script>console.log(1)</script>"'&$title<img src="http://example.org/x.png">"""


class Reader(HTMLParser):
    """The elements of a page, and its text; it refuses ends without beginnings."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.text, self._open = [], "", []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "style" not in self._open:
            self.text += data


@pytest.fixture
def written(tmp_path):
    """A page with everything that there is, and with names that no page should be hurt by."""
    rng = np.random.default_rng(0)
    grey, coloured = rng.integers(256, size=(29, 9)), rng.integers(256, size=(40, 700, 3))
    grey, coloured = grey.astype(np.uint8), coloured.astype(np.uint8)
    path, file = tmp_path / "report.html", io.BytesIO()
    page.write_page(
        file,
        f"title {NASTY}",
        f"subtitle {NASTY}",
        {
            f"heading {NASTY}": page.paragraph(f"text {NASTY}") + page.command_line(NASTY),
            "Numbers": page.table(
                ["", *(9 * ["a column with a long name"])],
                [["a", *map(str, range(9))], [NASTY, *(9 * [NASTY])]],
                marked={"a"},
            ),
            "Curves": page.folded(f"summary {NASTY}", page.paragraph("inside"))
            + draw_chart(
                [Curve(NASTY, [(0, 1.0), (9, 0.5)])], {NASTY: 2.0}, "x", NASTY, NASTY, 0.1
            ),
            "Pictures": page.beside(
                page.picture(grey, f"alt {NASTY}", f"caption {NASTY}", ["one", NASTY]),
                page.animation([coloured, coloured[::-1]], f"alt {NASTY}", NASTY),
            ),
        },
    )
    path.write_bytes(file.getvalue())
    return path, [grey, coloured]


def test_a_page_is_well_formed_and_needs_nothing_else(written):
    path, pictures = written
    html = path.read_text(encoding="utf-8")
    reader = Reader(html)
    tags = {tag for tag, _ in reader.elements}
    assert {"main", "header", "h1", "h2", "figure", "figcaption", "table", "details"} <= tags
    assert not tags & {"script", "iframe", "object"}
    images = [attributes for tag, attributes in reader.elements if tag == "img"]
    assert len(images) == len(pictures)
    for image, pixels in zip(images, pictures, strict=True):
        kind, content = image["src"].split(";base64,")
        with Image.open(io.BytesIO(base64.b64decode(content))) as shown:
            assert kind == f"data:image/{shown.format.lower()}"
            assert shown.size == (int(image["width"]), int(image["height"]))
            assert shown.size == pixels.shape[1::-1]
        assert image["alt"] == f"alt {NASTY}"
    for _, attributes in reader.elements:
        for name in {"src", "srcset", "href"} & attributes.keys():
            assert attributes[name].startswith("data:")
        assert not any(name.startswith("on") for name in attributes)
    assert ("html", {"lang": "en"}) in reader.elements
    assert any(attributes.get("name") == "viewport" for _, attributes in reader.elements)


def test_all_that_is_given_is_text(written):
    path, _ = written
    text = Reader(path.read_text(encoding="utf-8")).text
    for place in ("title", "subtitle", "heading", "text", "caption", "summary"):
        assert f"{place} {NASTY}" in text


def test_a_name_that_is_no_text_is_written():
    file = io.BytesIO()
    page.write_page(file, "title", os.fsdecode(b"runs/\xff"), {})
    assert "runs/?" in file.getvalue().decode("utf-8")


def contrast(one, other):
    """The contrast of two colours, such as "rgb(1, 2, 3)", as the WCAG define it."""

    def luminance(colour):
        values = np.array([int(value) for value in colour[4:-1].split(",")]) / 255
        linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722] + 0.05

    dark, light = sorted([luminance(one), luminance(other)])
    return light / dark


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_a_browser_shows_the_page(browser, written, width, scheme):
    path, pictures = written
    browser.open(path, width, scheme)
    loaded = browser.evaluate(
        "[...document.images].map(i => i.complete && [i.naturalHeight, i.naturalWidth])"
    )
    assert loaded == [list(pixels.shape[:2]) for pixels in pictures]
    assert browser.messages == []
    assert [url for url in browser.requests if not url.startswith("data:")] == [path.as_uri()]
    # Nothing is wider than the window.
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    ground = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (contrast(ground, "rgb(0, 0, 0)") > 10) == (scheme == "light")
    for element in ("body", "figcaption", "thead th", ".y span", ".name", ".curve", "code"):
        colour = browser.evaluate(
            f"getComputedStyle(document.querySelector('main {element}, {element}')).color"
        )
        assert contrast(ground, colour) >= 4.5


def test_a_click_and_the_enter_key_enlarge_pictures(browser, written):
    browser.open(written[0], 390)
    width = "document.images[0].getBoundingClientRect().width"
    before = browser.evaluate(width)
    browser.evaluate("document.querySelector('.zoom summary').focus()")
    browser.press("Enter", 13)
    assert browser.evaluate(width) > 1.5 * before
    browser.press("Enter", 13)
    assert browser.evaluate(width) == before
    browser.evaluate("document.images[0].scrollIntoView()")
    x, y = browser.evaluate(
        "(r => [r.x + r.width / 2, r.y + r.height / 2])(document.images[0].getBoundingClientRect())"
    )
    browser.click(x, y)
    assert browser.evaluate(width) > 1.5 * before
    browser.click(20, 20)
    assert browser.evaluate(width) == before


def test_console_messages_and_missing_pictures_are_noticed(browser, tmp_path):
    path = tmp_path / "bad.html"
    path.write_text("<img src=none.png><script>console.log('x')</script>")
    browser.open(path)
    assert len(browser.messages) >= 1
    assert browser.evaluate("document.images[0].naturalWidth") == 0
    assert len([url for url in browser.requests if not url.startswith("data:")]) >= 2
