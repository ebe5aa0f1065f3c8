"""The page in a real browser: it draws its plot, asks the network for nothing, and fits a phone."""

from __future__ import annotations

import os
from pathlib import Path

import chromium
import pytest
from report_sample import sample_report, told_report

from slimedge.benchmarks.reporting import html

pytestmark = pytest.mark.skipif(chromium.EXECUTABLE is None, reason=chromium.HOW_TO_GET)
POINTS = """
[...document.querySelectorAll('svg .point circle')].map(circle => {
  const box = circle.getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
})
"""
FRAME = """
(() => {
  const box = document.querySelector('.plot .frame').getBoundingClientRect();
  return [box.left, box.top, box.right, box.bottom];
})()
"""
# The least contrast of any text with what is behind it, and that text (WCAG 2.2, "relative luminance").
CONTRAST = """
(() => {
  const channels = colour => colour.match(/[\\d.]+/g).map(Number);
  const linear = v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const luminance = colour => {
    const [r, g, b] = channels(colour).map(linear);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const behind = element => {
    for (; element; element = element.parentElement) {
      const colour = getComputedStyle(element).backgroundColor;
      if (channels(colour)[3] !== 0) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const texts = document.querySelectorAll(
    'h1, h2, h3, p, li, th, td, small, dt, dd, summary, b, i, .cards span, .verdict, .mark, footer'
  );
  const found = [...texts].map(element => {
    const pair = [getComputedStyle(element).color, behind(element)].map(luminance);
    const [light, dark] = pair.sort((x, y) => y - x);
    return [(light + .05) / (dark + .05), element.className + ' ' + element.textContent.slice(0, 30)];
  });
  return found.sort((x, y) => x[0] - y[0])[0];
})()
"""


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(html.render(sample_report()), encoding="utf-8")
    return path


@pytest.mark.parametrize(("width", "dark"), [(1100, False), (1100, True), (390, False), (390, True)])
def test_the_page_draws_its_plot_and_no_request_leaves_it(page_file, width, dark, tmp_path):
    with chromium.Page(width, dark=dark) as page:
        page.open(page_file)
        page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")

        assert page.requests == [page_file.as_uri()]
        assert page.messages == []
        left, top, right, bottom = page.evaluate(FRAME)
        points = page.evaluate(POINTS)
        assert len(points) == 4
        assert all(left < x < right and top < y < bottom for x, y in points)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        ratio, where = page.evaluate(CONTRAST)
        assert ratio >= 4.5, where  # WCAG 2.2, level AA
        if folder := os.environ.get("SLIMEDGE_SCREENSHOTS"):
            page.screenshot(Path(folder) / f"report_{width}_{'dark' if dark else 'light'}.png")


# What is cut off at the right: elements that reach beyond the page and lie in nothing that scrolls, and drawn text.
CUT = """
[...document.querySelectorAll('body *')].filter(element => {
  const box = element.getBoundingClientRect();
  const hidden = element.closest('.hidden, thead') || !box.width;
  return !hidden && !element.closest('.scroll') && (box.right > innerWidth + 1 || box.left < -1);
}).map(element => element.tagName + ' ' + element.textContent.slice(0, 40))
"""
# Texts of one drawing that lie over each other.
OVERLAPS = """
[...document.querySelectorAll('.fall svg, .scale')].flatMap(svg => {
  const texts = [...svg.querySelectorAll('text')].map(text => [text.textContent, text.getBoundingClientRect()]);
  const drawn = texts.filter(([, box]) => box.width);
  return drawn.flatMap(([one, a], i) => drawn.slice(i + 1)
    .filter(([, b]) => a.left < b.right && b.left < a.right && a.top + 2 < b.bottom && b.top + 2 < a.bottom)
    .map(([other]) => one + ' | ' + other));
})
"""


@pytest.mark.parametrize(
    ("width", "dark", "word"),
    [(1080, False, "Shirt"), (1080, True, "W" * 60), (390, False, "W" * 60), (390, True, "Shirt")],
)
def test_the_page_with_everything_fits_and_asks_for_nothing(width, dark, word, tmp_path):
    path = tmp_path / "told.html"
    path.write_text(html.render(told_report(word=word)), encoding="utf-8")

    with chromium.Page(width, dark=dark) as page:
        page.open(path)
        page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")

        # Pictures inside of the page are requests to Chromium, which leave nothing.
        assert [url for url in page.requests if not url.startswith("data:")] == [path.as_uri()]
        assert page.messages == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(CUT) == []
        assert page.evaluate(OVERLAPS) == []
        assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth)")
        ratio, where = page.evaluate(CONTRAST)
        assert ratio >= 4.5, where
        if folder := os.environ.get("SLIMEDGE_SCREENSHOTS"):
            page.screenshot(Path(folder) / f"told_{width}_{'dark' if dark else 'light'}.png")


def test_markup_in_a_name_is_text_in_the_browser(tmp_path):
    from test_reporting import HOSTILE, hostile

    path = tmp_path / "hostile.html"
    path.write_text(html.render(hostile()), encoding="utf-8")

    with chromium.Page() as page:
        page.open(path)

        assert page.evaluate("document.querySelectorAll('script').length") == 0
        assert page.evaluate("document.querySelector('h1').textContent") == HOSTILE


def test_the_plot_and_every_table_can_be_read_without_seeing(page_file):
    with chromium.Page() as page:
        page.open(page_file)

        described = page.evaluate(
            "document.querySelector('svg').getAttribute('aria-labelledby').split(' ')"
            ".map(id => document.getElementById(id).textContent).join(' ')"
        )
        assert "resnet8.int8.onnx: accuracy 91.28 %, latency 74.0 µs" in described
        assert page.evaluate(
            "[...document.querySelectorAll('table')].every(t => t.querySelector('th[scope=col]'))"
        )
        assert page.evaluate(
            "[...document.querySelectorAll('tbody tr')].every(r => r.querySelector('th[scope=row]'))"
        )
        assert page.evaluate("document.documentElement.lang") == "en"
