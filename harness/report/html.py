"""A document as one HTML file that needs nothing beside it, no network and no script. All escaping for it is here."""

from __future__ import annotations

import functools
import xml.etree.ElementTree as ET
from itertools import count
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from harness.report.document import Bar, Cell, Code, Document, Figure, Span, plain
from harness.report.layout import one_line, run
from harness.report.markdown import anchor

if TYPE_CHECKING:
    from jinja2 import Template

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_PX_PER_PT = 96 / 72
_LEAST_SCALE = 0.72  # a choice: text in a plot is never smaller than that part of its size; the plot scrolls instead


def rendered(document: Document) -> str:
    """The whole page; the same document gives the same bytes."""
    css, script = (Markup(_read(name)) for name in ("report.css", "report.js"))  # noqa: S704 (files of ours)
    return _template().render(document=document, numbers=count(1), css=css, script=script)


@functools.cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("harness.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters |= {
        "anchor": anchor,
        "kind": lambda block: type(block).__name__,
        "lines": _lines,
        "more": _more,
        "next": next,
        "plain": plain,
        "run": _run,
        "svg": _svg,
    }
    return environment.get_template("report.html")


def _shown(value: object) -> object:
    """What jinja escapes afterwards: text is on one line, and printable."""
    return one_line(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _run(span: Span | Cell) -> Markup:
    return escape(run(span.text))


def _more(bar: Bar) -> Markup:
    return escape(run(bar.more))


def _lines(code: Code) -> Markup:
    return Markup("\n").join(one_line(line) for line in code.text.split("\n"))


def _read(name: str) -> str:
    from importlib.resources import files

    return (files("harness.report") / "templates" / name).read_text(encoding="utf-8")


def _svg(figure: Figure) -> Markup:
    """matplotlib's SVG as a part of the page: its ids its own, its style within itself, its background the page's."""
    ET.register_namespace("", _SVG)
    name, root = figure.name, ET.fromstring(figure.svg)  # noqa: S314 (drawn by harness.report.plots)
    for child in list(root):
        if child.tag == f"{{{_SVG}}}metadata":
            root.remove(child)
    for parent in root.iter():
        for child in list(parent):
            if child.tag == f"{{{_SVG}}}style":
                parent.remove(child)  # it is about all elements there are, and would be about the page's
        for key, value in list(parent.attrib.items()):
            _own(parent, key, value, name)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    width_px = width * _PX_PER_PT
    root.attrib |= {
        "role": "img",
        "aria-labelledby": f"{name}-title {name}-desc",
        "stroke-linejoin": "round",
        "stroke-linecap": "butt",
        "style": f"width:100%;max-width:{width_px:.0f}px;min-width:{width_px * _LEAST_SCALE:.0f}px;"
        f"aspect-ratio:{width:.1f}/{height:.1f}",
    }
    for place, (tag, text) in enumerate((("title", figure.title), ("desc", figure.description))):
        element = ET.Element(f"{{{_SVG}}}{tag}", {"id": f"{name}-{tag}"})
        element.text = one_line(text)
        root.insert(place, element)
    return Markup(ET.tostring(root, encoding="unicode"))  # noqa: S704 (escaped by ElementTree)


def _own(element: ET.Element, key: str, value: str, name: str) -> None:
    """Makes ids and what refers to them the plot's own, and white grounds those of the page."""
    if key == "id":
        element.set(key, f"{name}-{value}")
    elif key == f"{{{_XLINK}}}href":
        del element.attrib[key]
        element.set("href", f"#{name}-{value.removeprefix('#')}")
    elif "url(#" in value:
        element.set(key, value.replace("url(#", f"url(#{name}-"))
    elif key == "style" and "fill: #ffffff" in value:
        element.set(key, value.replace("fill: #ffffff", "fill: none"))
