"""The built handbook: every link of it and to it leads somewhere, nothing comes from elsewhere."""

import re
import tomllib
from functools import cache
from html import unescape
from pathlib import Path
from urllib.parse import unquote, urlsplit

from meshtune.dashboard.look import theme
from meshtune.dashboard.look.handbook import cited
from meshtune.engine.quantities import QUANTITIES

ROOT = Path(__file__).parents[2]
SOURCES = [
    path
    for package in ("engine", "db", "backend", "dashboard")
    for path in sorted((ROOT / package).rglob("*.py"))
]
LINK = re.compile(r'<a\b[^>]*?\bhref="?([^"\s>]+)')
ANCHOR = re.compile(r'\b(?:id|name)="?([^"\s>]+)')
LOADED = re.compile(
    r"<(?:script|img|iframe|source|link(?![^>]*\brel=\"?canonical))\b[^>]*?"
    r"\b(?:src|href)=\"?([^\"\s>]+)"
)
OF_A_STYLE = re.compile(r"url\(\s*[\"']?([^\"')]+)|@import\s+[\"']([^\"']+)")


@cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def anchors_of(path: Path) -> frozenset[str]:
    return frozenset(unescape(each) for each in ANCHOR.findall(text_of(path)))


def leads_somewhere(page: Path, address: str) -> bool:
    """Whether an address within the handbook is that of a file, and of a place in it."""
    found = urlsplit(unescape(address))
    aim = (page.parent / unquote(found.path)).resolve() if found.path else page
    aim = aim / "index.html" if aim.is_dir() else aim
    if not aim.is_file():
        return False
    return not found.fragment or unquote(found.fragment) in anchors_of(aim)


def test_every_link_leads_somewhere(handbook: Path) -> None:
    lost = {
        (page.name, address)
        for page in handbook.rglob("*.html")
        if page.name != "404.html"  # whose links are from the root, wherever that is
        for address in set(LINK.findall(text_of(page)))
        if not urlsplit(address).scheme and not leads_somewhere(page, address)
    }
    assert not lost


def test_nothing_is_loaded_from_another_host(handbook: Path) -> None:
    pages = {path: LOADED.findall(text_of(path)) for path in handbook.rglob("*.html")}
    styles = {
        path: ["".join(each) for each in OF_A_STYLE.findall(text_of(path))]
        for path in (*handbook.rglob("*.css"), *pages)
    }
    assert any(pages.values())
    for path, addresses in [*pages.items(), *styles.items()]:
        foreign = [each for each in addresses if urlsplit(each).netloc]
        assert not foreign, path


def test_what_sources_cite_has_an_address(handbook: Path) -> None:
    """Docstrings and help texts name equations, M10, and pages, docs/metrics.md."""
    cites = {
        (path.name, address)
        for path in SOURCES
        if path.name != "handbook.py"  # which says how they look
        for address in re.findall(r"\]\(handbook/([^)]+)\)", cited(text_of(path)))
    }
    assert len(cites) > 50
    assert not {each for each in cites if not leads_somewhere(handbook / "index.html", each[1])}


def test_the_number_of_an_equation_leads_to_it(handbook: Path) -> None:
    moved = [path for path in handbook.glob("m*.html") if re.fullmatch(r"m\d+[a-z]?", path.stem)]
    assert len(moved) > 30
    for path in moved:
        (aim,) = re.findall(r'content="0; url=([^"]+)"', text_of(path))
        assert aim.endswith(f"#{path.stem}")
        assert leads_somewhere(path, aim)


def test_a_help_text_links_the_equations_that_it_names() -> None:
    told = cited("Payload put on air (M11, M31); see docs/metrics.md. SM12 and M are no numbers")
    assert told == (
        "Payload put on air ([M11](handbook/m11.html), [M31](handbook/m31.html)); see "
        "[docs/metrics.md](handbook/metrics.html). SM12 and M are no numbers"
    )
    assert any("handbook/" in cited(each.meaning) for each in QUANTITIES.values())


def test_the_reference_shows_and_links_equations(handbook: Path) -> None:
    page = text_of(handbook / "reference" / "engine.topology.html")
    assert "../model.html#m17" in page
    folded = page[page.index("M17 Power for the deadline") :]
    assert "<math " in folded[: folded.index("</details>")]
    config = text_of(handbook / "reference" / "engine.config.html")
    assert "Half the band doubles the airtime.</p>" in config  # the description of a field


def test_equations_are_drawn_by_the_browser_alone(handbook: Path) -> None:
    page = text_of(handbook / "model.html")
    assert page.count("<math ") > 50
    assert not re.search(r"\\(?:frac|sum|text|begin)\b", re.sub(r'alttext="[^"]*"', "", page))


def test_the_colours_are_those_of_the_product() -> None:
    sheet = (ROOT / "docs" / "handbook" / "look.css").read_text(encoding="utf-8")
    for name in ("accent", "text", "muted", "paper", "panel", "hairline"):
        tint = getattr(theme, name.upper())
        assert re.findall(rf"--{name}: (#\w+);", sheet) == [tint.light, tint.dark]


def test_the_package_takes_the_handbook_along() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    data = project["tool"]["setuptools"]["package-data"]["meshtune"]
    assert "handbook/**/*" in data
    assert "src/meshtune/handbook/" in (ROOT / ".gitignore").read_text(encoding="utf-8").split()
