"""Equations: where each number is written, and TeX as MathML, which browsers draw by themselves."""

import re
from html import escape
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert
from markdown import Extension, Markdown
from markdown.inlinepatterns import InlineProcessor
from markdown.treeprocessors import Treeprocessor

DOCS = Path(__file__).parents[1]
NUMBER = re.compile(r"\bM\d{1,2}[a-z]?\b")
HEAD = re.compile(r"^\*\*(M\d{1,2}[a-z]?) (.+?)\.?\*\*", re.MULTILINE)
END = re.compile(r"^(?:#|\*\*)", re.MULTILINE)  # of the text under a number
BLOCK = re.compile(r"^```math\n.*?^```$", re.MULTILINE | re.DOTALL)
WITHIN = r"(?<![\\$\w])\$(?![\s$])([^$\n]+?)(?<![\s\\])\$(?![\w$])"  # $x$, as GitHub reads it

UNKNOWN = re.compile(r"<m[io]>(\\\w+|&)</m[io]>")
BAR = re.compile(r"<mo>(&#x0007C;|&#x02016;)</mo>")  # around a value, not between two


class Equation(NamedTuple):
    """A numbered equation.

    Attributes:
        page: Markdown file of docs/ that has it.
        title: the words beside its number.
        blocks: what is displayed under it, as it is written.
    """

    page: str
    title: str
    blocks: list[str]

    def address(self, number: str) -> str:
        """Its place in the built site, from the root of the site."""
        return f"{self.page.removesuffix('.md')}.html#{number.lower()}"


def equations() -> dict[str, Equation]:
    """All numbered equations of docs/, by number."""
    found: dict[str, Equation] = {}
    for path in sorted(DOCS.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        for head in HEAD.finditer(text):
            end = END.search(text, head.end())
            blocks = BLOCK.findall(text[head.end() : end.start() if end else None])
            if head[1] in found:
                raise ValueError(f"{head[1]} is in {found[head[1]].page} and in {path.name}")
            found[head[1]] = Equation(path.name, head[2], blocks)
    return found


def mathml(tex: str, *, block: bool = False) -> str:
    """TeX as MathML, with its source for who copies or hears it.

    Raises:
        ValueError: a command in it is not known.
    """
    known = tex.replace("{aligned}", "{align*}")  # the name by which the converter knows it
    drawn: str = convert(known, display="block" if block else "inline")
    unknown = UNKNOWN.search(drawn)
    if unknown:
        raise ValueError(f"{unknown[1]} in the equation {tex!r} is not known to latex2mathml")
    drawn = BAR.sub(r'<mo fence="true" stretchy="false" lspace="0" rspace="0">\1</mo>', drawn)
    return drawn.replace("<math ", f'<math alttext="{escape(" ".join(tex.split()))}" ', 1)


def displayed(source: str, *_: Any, **__: Any) -> str:
    """What stands for a fence ```math."""
    return f'<div class="equation" tabindex="0" role="group">{mathml(source, block=True)}</div>'


class Written(Extension):
    """Markdown with $TeX$, and an anchor at every numbered equation."""

    def extendMarkdown(self, md: Markdown) -> None:
        """Add both to a Markdown."""
        md.inlinePatterns.register(_Within(WITHIN, md), "equations", 185)  # after code, before _x_
        md.treeprocessors.register(_Anchors(md), "equations", 15)


class _Within(InlineProcessor):
    """$TeX$ in a sentence."""

    def handleMatch(self, m: re.Match[str], data: str) -> tuple[str, int, int]:
        return self.md.htmlStash.store(mathml(m[1])), m.start(0), m.end(0)


class _Anchors(Treeprocessor):
    """M10 at the beginning of a paragraph becomes its address, #m10."""

    def run(self, root: Element) -> None:
        for each in root.iter("p"):
            first = each.find("*")
            if first is None or first.tag != "strong" or (each.text or "").strip():
                continue
            number = NUMBER.match(first.text or "")
            if number:
                each.set("id", number[0].lower())
                each.set("class", "numbered")
