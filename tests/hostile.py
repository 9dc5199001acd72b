"""Strings that would be markup, and every string of a record, a plan or whatever else replaced by such ones."""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

#: What would be taken for something else by a reader of Markdown, HTML, LaTeX, CSV, XML, a template or a terminal.
HOSTILE = {
    "heading": "\n\n## What failed\n\n- nothing\n",
    "table": "| a | b |\n|---|---|\n| c | d |",
    "bar": "a|b\\|c\\",
    "script": "<script>alert('x')</script><!-- -->",
    "element": "\"'><img src=x onerror=alert(1)><b>",
    "code": "`a` ``b``` ~~~\n```\n",
    "formula": "=cmd()|' /C calc'!A0",
    "plus": "+1+2",
    "minus": "- a\n-2+3\n---",
    "at": "@SUM(A1)",
    "latex": "\\input{x} \\\\ & } {",
    "signs": "$x_{1}$ %comment #1 ~a^b",
    "row-end": "[1cm] * \\\\[2cm]",
    "escapes": "\x1b[31m\x1b]0;title\x07\x00\x7f\x9b2J\r",
    "emphasis": "*a* **b** _c_ __d__ ~~e~~ *",
    "link": "![a](b) [c](http://d.invalid) [e]: f [g][h] ]",
    "address": "http://a.invalid www.b.invalid <http://c.invalid>",
    "number": "1. a\n2) b\n===",
    "quotation": "> a\n>> b",
    "box": "[x] a [^1]: b",
    "entities": "&lt;b&gt; &#60;b&#62; &amp;amp; &nosuch;",
    "xml": "]]> <?xml?> <!DOCTYPE a>",
    "template": "{{ 7 * 7 }} {% raw %} {# a #} ${a}",
    "spaces": "\t \u2028 \u2029 \x85 a \u00a0\u3000",
    "invisible": "\u202eabc\u200b\ufeff\ud800\ufffe",
    "quotes": '"a",\'b\';""',
    "underscore": "_a",
    "long": "x" * 300,
    "wide": "測定🟢",
}


def everywhere(value: T, change: Callable[[str], str], kept: frozenset[str] = frozenset()) -> T:
    """A dataclass with every text in it changed, however deep, but for fields of these names.

    What the fields' types allow only some words for (a Literal) stays: no device or file gets anything else into it.
    """
    return _changed(value, type(value), change, kept)  # type: ignore[no-any-return]


def _changed(value: Any, hint: Any, change: Callable[[str], str], kept: frozenset[str]) -> Any:
    if isinstance(value, Path) or get_origin(hint) is Literal:
        return value
    if isinstance(value, str):
        return change(value)
    if is_dataclass(value) and not isinstance(value, type):
        hints = get_type_hints(type(value))
        names = [one.name for one in fields(value) if one.init and one.name not in kept]
        return replace(value, **{it: _changed(getattr(value, it), hints[it], change, kept) for it in names})  # type: ignore[type-var]
    inner = _inner(hint)
    if isinstance(value, dict):
        key, item = inner if len(inner) > 1 else (Any, Any)
        return {_changed(k, key, change, kept): _changed(v, item, change, kept) for k, v in value.items()}
    if isinstance(value, tuple | list):
        of_place = inner if len(inner) == len(value) and Ellipsis not in inner else [*inner[:1]] * len(value)
        items = [_changed(it, of, change, kept) for it, of in zip(value, of_place or [Any] * len(value), strict=True)]
        return type(value)(items)
    return value


def _inner(hint: Any) -> list[Any]:
    """What a container's type says of its items, looking through `| None`."""
    if get_origin(hint) in (Union, types.UnionType):
        return next((_inner(one) for one in get_args(hint) if get_args(one)), [])
    return list(get_args(hint))


def harmless(text: str) -> str:
    return f"x{text}x"


def hostile(name: str) -> Callable[[str], str]:
    """A change that keeps different texts different, and equal ones equal."""
    return lambda text: f"{HOSTILE[name]}{text}{HOSTILE[name]}"
