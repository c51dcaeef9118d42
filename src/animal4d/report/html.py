"""Pages as text: one file, its style, scripts and data inside of it, nothing loaded from anywhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from importlib import resources
from typing import Any

_NOTHING_FROM_OUTSIDE = "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
GENERATOR = "animal4d"
_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cg fill='%230f7f80'%3E"
    "%3Cellipse cx='8' cy='11' rx='4' ry='3.2'/%3E%3Ccircle cx='3' cy='7' r='1.6'/%3E%3Ccircle cx='6.2' cy='4' r='1.7'/"
    "%3E%3Ccircle cx='9.8' cy='4' r='1.7'/%3E%3Ccircle cx='13' cy='7' r='1.6'/%3E%3C/g%3E%3C/svg%3E"
)


def page(title: str, body: str, data: dict[str, Any]) -> str:
    """A whole document. `data` reaches the script as `DATA`."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_NOTHING_FROM_OUTSIDE}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f'<meta name="generator" content="{GENERATOR}">\n<title>{escape(title)}</title>\n'
        f'<link rel="icon" href="{_ICON}">\n<style>\n{_file("page.css")}</style>\n'
        f"</head>\n<body>\n{body}\n"
        f'<script type="application/json" id="data">{json_text(data)}</script>\n'
        f"<script>\n{_file('viewer.js')}\n{_file('page.js')}</script>\n</body>\n</html>\n"
    )


def json_text(data: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def section(identifier: str, title: str, content: str, note: str = "") -> str:
    described = f'<p class="note">{escape(note)}</p>' if note else ""
    return (
        f'<section id="{identifier}" aria-labelledby="{identifier}-title">'
        f'<h2 id="{identifier}-title">{escape(title)}</h2>{described}{content}</section>'
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str, kind: str = "") -> str:
    """Cells are HTML already; the first of a row names it."""
    headings = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>' for first, *rest in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table class="{kind}">'
        f"<caption>{escape(caption)}</caption><thead><tr>{headings}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def details(title: str, content: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def bullets(items: Sequence[str], kind: str = "") -> str:
    return f'<ul class="{kind}">{"".join(f"<li>{escape(item)}</li>" for item in items)}</ul>'


def transport() -> str:
    """The bar at the bottom that plays everything on a page."""
    return (
        '<div class="transport" role="group" aria-label="Playback">'
        '<button id="play" class="round" aria-label="Play" title="Play or pause (space)">'
        '<svg viewBox="0 0 16 16" aria-hidden="true"><path class="to-play" d="M4 2.5v11l9-5.5z"/>'
        '<path class="to-pause" d="M4 2.5h3v11H4zM9 2.5h3v11H9z"/></svg></button>'
        '<div class="track"><canvas id="parts" aria-hidden="true"></canvas>'
        '<input id="scrub" type="range" min="0" value="0" step="1" aria-label="Frame"></div>'
        '<output id="place" for="scrub"></output>'
        '<label class="speed"><span class="hidden">Speed</span><select id="speed">'
        '<option value="0.25">¼ &times;</option><option value="0.5">½ &times;</option>'
        '<option value="1" selected>1 &times;</option><option value="2">2 &times;</option></select></label></div>'
    )


def theme_button() -> str:
    return (
        '<button id="theme" class="quiet" aria-label="Switch between light and dark" title="Light or dark">'
        '<svg viewBox="0 0 16 16" aria-hidden="true"><circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" '
        'stroke-width="1.5"/><path d="M8 2a6 6 0 0 1 0 12z" fill="currentColor"/></svg></button>'
    )


def stage(index: int, label: str) -> str:
    """An asset's viewer with its buttons; the script finds the asset by the index."""
    return (
        f'<div class="stage" data-run="{index}"><canvas class="asset" tabindex="0" role="img" '
        f'aria-label="{escape(label, quote=True)}: drag to turn, pinch or ctrl-wheel to come nearer, double click to '
        'go back"></canvas><p class="failure" hidden></p>'
        '<div class="tools"><button class="chip" data-tool="clay" aria-pressed="false">Clay</button>'
        '<button class="chip" data-tool="skeleton" aria-pressed="false">Skeleton</button>'
        '<button class="chip" data-tool="throughCamera" aria-pressed="false">Camera view</button>'
        '<button class="chip" data-tool="turning" aria-pressed="true">Turn</button></div></div>'
    )


def comparison(index: int, label: str) -> str:
    """The input with what was found over it, divided by a line that can be dragged."""
    return (
        f'<div class="compare" data-run="{index}"><canvas class="filmed" role="img" '
        f'aria-label="{escape(label, quote=True)}"></canvas>'
        '<input class="divide" type="range" min="0" max="100" value="50" '
        'aria-label="Where the input ends and the result begins">'
        '<span class="corner left">input</span><span class="corner right">mesh</span>'
        '<div class="tools"><button class="chip" data-over="mesh" aria-pressed="true">Mesh</button>'
        '<button class="chip" data-over="textured" aria-pressed="false">Textured</button>'
        '<button class="chip" data-over="turntable" aria-pressed="false">Turntable</button></div></div>'
    )


def _file(name: str) -> str:
    return (resources.files("animal4d.report") / "page" / name).read_text(encoding="utf-8")
