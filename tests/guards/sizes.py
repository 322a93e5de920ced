"""How large modules and functions are, and whether imports run in circles.

`make check` calls this file; it ends with 1 if a module has more than 400 lines without being data,
if functions have grown in the middle or at the upper end, or if modules import each other in a
circle. Read with the syntax tree alone, so nothing is imported.
"""

import ast
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

PACKAGES = ("engine", "db", "backend", "dashboard")
MODULE_LINES_MAX = 400
MEDIAN_MAX, UPPER_MAX = 8, 25  # lines of a function, in the median and at the 90th percentile
DATA: frozenset[str] = frozenset()  # paths of modules that are tables, and may be as long as these

Graph = Mapping[str, set[str]]


@dataclass
class Imports:
    """What a module imports of its own house, by when it does so."""

    at_once: set[str] = field(default_factory=set)
    in_functions: set[str] = field(default_factory=set)
    for_types: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Report:
    """What was measured, as lines to print, and what is wrong, as sentences."""

    lines: list[str]
    faults: list[str]


def main() -> int:
    """Print the report; the exit code."""
    told = report(Path(__file__).parents[2])
    print("\n".join([*told.lines, *(f"fault: {fault}" for fault in told.faults)]))
    return 1 if told.faults else 0


def report(root: Path) -> Report:
    """Sizes and circles of the packages that lie in `root`."""
    paths = sorted(path for name in PACKAGES for path in (root / name).rglob("*.py"))
    sources = {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in paths
    }
    trees = {name: ast.parse(text) for name, text in sources.items()}
    parts = (long_modules(sources), function_report(trees.values()), circle_report(trees))
    return Report(
        [line for part in parts for line in part.lines],
        [fault for part in parts for fault in part.faults],
    )


def long_modules(sources: Mapping[str, str]) -> Report:
    """Modules that have too many lines."""
    lines = {name: text.count("\n") for name, text in sources.items()}
    long = sorted((n for n in lines if lines[n] > MODULE_LINES_MAX), key=lambda n: -lines[n])
    longest = max(lines, key=lambda name: lines[name])
    return Report(
        [f"modules: {len(lines)}, the longest {longest} with {lines[longest]} lines"],
        [f"{n} has {lines[n]} lines, more than {MODULE_LINES_MAX}" for n in long if n not in DATA],
    )


def function_report(trees: Iterable[ast.Module]) -> Report:
    """Median and 90th percentile of the lines of all functions."""
    sizes = sorted(size for tree in trees for size in function_sizes(tree))
    middle, upper = median(sizes), sizes[math.ceil(0.9 * len(sizes)) - 1]
    told = f"functions: {len(sizes)}, median {middle:g} lines, 90th percentile {upper}"
    limits = ((middle, MEDIAN_MAX, "the median"), (upper, UPPER_MAX, "the 90th percentile"))
    return Report(
        [told],
        [
            f"{of} of functions is {s:g} lines, more than {most}"
            for s, most, of in limits
            if s > most
        ],
    )


def function_sizes(tree: ast.Module) -> Iterator[int]:
    """Lines of every function, from `def` to its last one, without its docstring."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            told = node.body[0] if ast.get_docstring(node, clean=False) is not None else None
            words = 0 if told is None else _last(told) - told.lineno + 1
            yield _last(node) - node.lineno + 1 - words


def _last(node: ast.stmt) -> int:
    return node.end_lineno or node.lineno


def circle_report(trees: Mapping[str, ast.Module]) -> Report:
    """Circles of what is imported at once; those that later imports would close are only told."""
    modules = {module_name(path): tree for path, tree in trees.items()}
    packages = {module_name(path) for path in trees if path.endswith("__init__.py")}
    found = {name: imports_of(tree, modules.keys()) for name, tree in modules.items()}
    at_once = {name: each.at_once for name, each in found.items()}
    later = {name: e.at_once | e.in_functions | e.for_types for name, e in found.items()}
    in_functions = sum(len(each.in_functions) for each in found.values())
    for_types = sum(len(each.for_types) for each in found.values())
    return Report(
        [
            f"imports: {sum(map(len, at_once.values()))} at once between {len(modules)} modules "
            f"({len(packages)} packages), {in_functions} in functions, {for_types} for types alone",
            f"circles: {len(circles(at_once))}, {len(circles(later))} if later imports count",
        ],
        [f"a circle of imports: {' > '.join(circle)}" for circle in circles(at_once)],
    )


def module_name(path: str) -> str:
    """The name under which a file is imported."""
    return "meshtune." + path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imports_of(tree: ast.Module, modules: Iterable[str]) -> Imports:
    """The modules of the house that a module names in its imports, in three kinds."""
    known, found = set(modules), Imports()

    def visit(node: ast.AST, into: set[str]) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import | ast.ImportFrom):
                into.update(named(child, known))
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                visit(child, found.in_functions)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                visit(child, found.for_types)
            else:
                visit(child, into)

    visit(tree, found.at_once)
    return found


def named(node: ast.Import | ast.ImportFrom, known: set[str]) -> set[str]:
    """Modules that an import names; what it takes out of a package may be one."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names} & known
    base = node.module or ""
    full = {f"{base}.{alias.name}" for alias in node.names}
    return (full | {base} if full - known else full) & known


def circles(graph: Graph) -> list[list[str]]:
    """The groups of modules of which each leads to every other (Tarjan, 1972)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in order:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == order[node]:
            place = stack.index(node)
            group = stack[place:]
            del stack[place:]
            if len(group) > 1 or node in graph[node]:
                found.append(sorted(group))

    for node in sorted(graph):
        if node not in order:
            visit(node)
    return found


if __name__ == "__main__":
    sys.exit(main())
