"""HTML to text: what a reader sees, headings as `# ` lines, by the parser of the standard library."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_HIDDEN = frozenset("script style nav noscript template svg head iframe object".split())
_BLOCKS = frozenset(
    "address article aside blockquote body br dd div dl dt fieldset figcaption figure footer form header hr li main ol p "
    "pre section table tbody td th thead tr ul".split()
)
_HEADINGS = {f"h{level}": "#" * level for level in range(1, 7)}
_SPACES = re.compile(r"\s+")


def read_html(text: str) -> tuple[str, str]:
    """Return (title, text) of a page; the title is empty where it has none. Broken markup is read as browsers read it."""
    page = _Page()
    page.feed(text)
    page.close()
    return page.named(), page.said()


class _Page(HTMLParser):
    """Gathers pieces of lines. Of what never shows, only the outermost tag is followed: any depth costs the same."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self.title: list[str] = []
        self.hidden, self.depth = "", 0
        self.in_title = False
        self.mark = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "body" and self.hidden == "head":
            self.hidden = ""  # a head that was never closed
        if tag == "title" and not self.title and self.hidden in ("", "head"):
            self.in_title = True
        elif tag in _HIDDEN and self.hidden in ("", tag):
            self.hidden, self.depth = tag, self.depth + 1 if self.hidden else 1
        if tag in _HEADINGS:
            self._break(blank=True)
            self.mark = _HEADINGS[tag] + " "
        elif tag in _BLOCKS:
            self._break(blank=tag in ("p", "table", "ul", "ol", "section", "article"))
            self.mark = "- " if tag == "li" else ""

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _BLOCKS:
            self._break()

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self.in_title = False
        if tag == self.hidden:
            self.depth -= 1
            self.hidden = tag if self.depth else ""
        if tag in _HEADINGS or tag in _BLOCKS:
            self._break(blank=tag in _HEADINGS or tag == "p")
            self.mark = ""

    def handle_data(self, data: str) -> None:
        if self.in_title:
            self.title.append(data)
        elif not self.hidden and data.strip():
            self.pieces.append(self.mark + _SPACES.sub(" ", data))
            self.mark = ""
        elif not self.hidden and not self._is_new():
            self.pieces.append(" ")

    def named(self) -> str:
        """Return the text of <title> in one line."""
        return " ".join("".join(self.title).split())

    def said(self) -> str:
        """Return the lines, with at most one empty one between two."""
        lines = [" ".join(line.split()) for line in "".join(self.pieces).split("\n")]
        return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()

    def _break(self, blank: bool = False) -> None:
        if not self._is_new():
            self.pieces.append("\n")
        if blank:
            self.pieces.append("\n")

    def _is_new(self) -> bool:
        return not self.pieces or self.pieces[-1] == "\n"
