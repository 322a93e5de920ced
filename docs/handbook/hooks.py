"""What MkDocs is told of this repository: pages from beside docs/, the reference, and links."""

import posixpath
import re
from html import escape
from pathlib import Path

from equations import NUMBER, Written, displayed, equations
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from mkdocs.utils import get_relative_url

ROOT = Path(__file__).parents[2]
DECISIONS = ROOT / "docs" / "decisions"
BESIDE = {  # pages that lie elsewhere, and why here: they are read on their own as well
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "model-card.md": "engine/backbone/weights/README.md",
    "alike.md": "engine/backbone/alike/weights/README.md",
}
PAGES = {source: page for page, source in BESIDE.items()}
KNOWN = equations()
LINK = re.compile(r"(\]\()([^)#\s:]+)((?:#[^)\s]*)?\))")
TAG = re.compile(r"(<[^>]*>)")
SKIP = ("a", "summary", "code", "pre", "math", "h1", "h2", "h3", "h4", "h5", "h6")
MENTION = re.compile(rf"(?:docs/)?\b([a-z-]+)\.md\b|{NUMBER.pattern}")
MOVED = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<meta http-equiv="refresh" content="0; url={address}">
</head>
<body><a href="{address}">{title}</a></body>
</html>
"""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Know equations, and list the pages that nobody wants to list by hand."""
    config.markdown_extensions.append(Written())  # type: ignore[arg-type]
    fence = {"name": "math", "class": "equation", "format": displayed}
    config.mdx_configs["pymdownx.superfences"] = {"custom_fences": [fence]}
    decisions = ["decisions/index.md", *sorted(f"decisions/{p.name}" for p in DECISIONS.glob("*"))]
    config.nav += [{"Decisions": decisions}, {"Reference": [*_reference()]}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what lies beside docs/, and the reference of the engine."""
    texts = {page: (ROOT / source).read_text("utf-8") for page, source in BESIDE.items()}
    for page, text in (texts | _reference() | {"decisions/index.md": _decisions()}).items():
        files.append(File.generated(config, page, content=text))
    logo = str(ROOT / "dashboard" / "static" / "logo.svg")
    files.append(File.generated(config, "logo.svg", abs_src_path=logo))
    return files


def _decisions() -> str:
    listed = [
        f"- [{path.read_text('utf-8').partition(chr(10))[0].removeprefix('# ')}]({path.name})"
        for path in sorted(DECISIONS.glob("*.md"))
    ]
    return "\n".join(["# Decisions that are costly to undo", "", *listed])


def _reference() -> dict[str, str]:
    """A page for every folder of the engine, with its modules."""
    engine = ROOT / "engine"
    folders = sorted(path.parent for path in engine.rglob("__init__.py"))
    return {f"reference/{_name(folder)}.md": _folder(folder) for folder in folders}


def _folder(folder: Path) -> str:
    modules = [folder, *sorted(folder.glob("[!_]*.py"))]
    told = [f"::: meshtune.{_name(module)}" for module in modules]
    lower = "---\nsearch:\n  boost: 0.01\n---\n"  # what is written for people comes first
    return "\n\n".join([f"{lower}# {_name(folder)}", *told])


def _name(module: Path) -> str:
    return ".".join(module.relative_to(ROOT).with_suffix("").parts)


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Let links to files of the repository lead to their pages."""
    source = BESIDE.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    here = posixpath.dirname(page.file.src_uri)

    def led(found: re.Match[str]) -> str:
        aim = posixpath.normpath(posixpath.join(posixpath.dirname(source), found[2]))
        aim = PAGES.get(aim, aim.removeprefix("docs/"))
        aim = f"{aim}/index.md" if aim == "decisions" else aim
        return f"{found[1]}{posixpath.relpath(aim, here or '.')}{found[3]}"

    return LINK.sub(led, markdown)


def on_page_content(html: str, page: Page, **_: object) -> str:
    """Make a link of every M10 and every docs/x.md in words."""
    pieces, inside = [], 0
    for piece in TAG.split(html):
        if piece.startswith("<"):
            name = piece.strip("</>").split()[0]
            inside += (-1 if piece.startswith("</") else 1) if name in SKIP else 0
        elif not inside:
            piece = MENTION.sub(lambda found: _linked(found, page), piece)
        pieces.append(piece)
    return "".join(pieces)


def _linked(found: re.Match[str], page: Page) -> str:
    """A mention as a link; as it was, where it is the thing itself or no page of ours."""
    if found[1]:  # the name of a page
        if not (ROOT / "docs" / f"{found[1]}.md").exists():
            return found[0]
        address = f"{found[1]}.html"
    elif found[0] not in KNOWN:
        raise PluginError(f"{page.file.src_uri}: there is no equation {found[0]}")
    else:
        address = KNOWN[found[0]].address(found[0])
    return f'<a href="{get_relative_url(address, page.url)}">{found[0]}</a>'


def on_post_build(config: MkDocsConfig) -> None:
    """Give every number an address that stays when its equation moves: m10.html."""
    site = Path(config.site_dir)
    for number, equation in KNOWN.items():
        told = MOVED.format(
            title=escape(f"{number} {equation.title}"), address=equation.address(number)
        )
        (site / f"{number.lower()}.html").write_text(told, encoding="utf-8")
    for each in site.rglob("*.map"):  # of the theme's scripts, for who changes these
        each.unlink()
