"""Counts what a reader has to get through: ``python -m dev.measure_code``.

For each part of the tree: modules, lines and function lengths. For the whole: names that stand for more than one class
or type alias, the longest chain of imports within services/rules, and the files that a reader opens to follow one tap.
"""

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import chain
from pathlib import Path
from statistics import median

import grimp
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from dev.layout import ROOT

PRODUCTION = ("services/ingest", "services/rules", "services/dispatcher", "services/writeback", "shared", "ops")
SOURCE = (*PRODUCTION, "dev", "bench")
PARTS = (*SOURCE, "tests")
_LONG_FUNCTION = 30  # lines
_LARGE_MODULE = 500  # lines
_SMALL_MODULE = 60  # lines
_CLASS = re.compile(r"^class ([^\W_]\w*)|^([A-Z](?=\w*[a-z])\w*)(?:: \w+)? = ", re.MULTILINE)

_TAP = re.compile(r"^## One tap becomes a write.*?(?=^## )", re.MULTILINE | re.DOTALL)
_TAP_SERVICE = re.compile(r"^\*\*(?:The )?(\w+)\*\*.*?(?=^\*\*|\Z)", re.MULTILINE | re.DOTALL)
_TAP_STEP = re.compile(r"^(?:\d+\. |    ).*", re.MULTILINE)
_FILE = re.compile(r"`([\w/]+\.py)`")

_CAPTION = "lines of modules and of functions (def): medians, and how many are small or large"

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One Python file, with its public classes and type aliases, and the length in lines of each of its functions."""

    path: Path
    lines: int
    classes: tuple[str, ...]
    functions: tuple[int, ...]


def read_module(path: Path) -> Module:
    source = path.read_text("utf-8")
    tree = ast.parse(source)
    functions = tuple(_length(node) for node in ast.walk(tree) if isinstance(node, FunctionNode))
    return Module(path, len(source.splitlines()), class_names(source), functions)


def modules_of(part: str) -> list[Module]:
    """Every Python file with content below ``part``, a folder of the repository."""
    paths = sorted((ROOT / part).rglob("*.py"))
    return [module for module in map(read_module, paths) if module.lines]


def class_names(source: str) -> tuple[str, ...]:
    """The public classes and type aliases of a module, in the order of its text."""
    return tuple(found[1] or found[2] for found in _CLASS.finditer(source))


def classes_of(part: str) -> dict[Path, tuple[str, ...]]:
    """The public classes and type aliases of every module below ``part``, found without parsing, which would take
    seconds.
    """
    return {path: class_names(path.read_text("utf-8")) for path in sorted((ROOT / part).rglob("*.py"))}


def repeated_classes(classes: Mapping[Path, Iterable[str]]) -> dict[str, list[Path]]:
    """Each name of a class or type alias that more than one module defines, with the modules."""
    places: dict[str, list[Path]] = defaultdict(list)
    for path, names in classes.items():
        for name in names:
            places[name].append(path)
    return {name: paths for name, paths in sorted(places.items()) if len(paths) > 1}


def longest_chain(imports: Mapping[str, Iterable[str]]) -> list[str]:
    """The longest path through a graph of imports, the importing module first. Raises CycleError for a cycle."""
    chains: dict[str, list[str]] = {}
    for module in TopologicalSorter(imports).static_order():
        below = max((chains[imported] for imported in imports.get(module, ())), key=len, default=[])
        chains[module] = [module, *below]
    return max(chains.values(), key=len, default=[])


def imports_within(package: str) -> dict[str, list[str]]:
    """Which modules of ``package`` each of its modules imports while it is loaded."""
    graph = grimp.build_graph(package.partition(".")[0], exclude_type_checking_imports=True, cache_dir=None)
    inside = {module for module in graph.modules if module.startswith(f"{package}.")}
    return {module: sorted(graph.find_modules_directly_imported_by(module) & inside) for module in sorted(inside)}


def files_of_tap(page: str) -> dict[str, list[str]]:
    """The files that docs/architecture.md names on the way of one tap, by service, in the order of the way."""
    told = _TAP.search(page)
    services = _TAP_SERVICE.finditer(told[0] if told else "")
    return {
        service[1].lower(): list(dict.fromkeys(_FILE.findall("\n".join(_TAP_STEP.findall(service[0])))))
        for service in services
    }


def _length(node: FunctionNode) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _row(name: str, modules: Sequence[Module]) -> list[str]:
    sizes = [module.lines for module in modules]
    functions = [length for module in modules for length in module.functions]
    numbers = (
        len(sizes),
        sum(sizes),
        median(sizes or [0]),
        sum(size < _SMALL_MODULE for size in sizes),
        sum(size > _LARGE_MODULE for size in sizes),
        median(functions or [0]),
        sum(length > _LONG_FUNCTION for length in functions),
    )
    return [name, *(f"{number:,.0f}" for number in numbers)]


def _table(parts: Mapping[str, Sequence[Module]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption=_CAPTION)
    table.add_column("part", no_wrap=True)
    for heading in (
        "modules", "lines", "median", f"<{_SMALL_MODULE}", f">{_LARGE_MODULE}", "def", f">{_LONG_FUNCTION}",
    ):  # fmt: skip
        table.add_column(heading, justify="right", no_wrap=True)
    for name, modules in parts.items():
        table.add_row(*_row(name, modules))
    table.add_section()
    production = [module for name in PRODUCTION for module in parts.get(name, ())]
    table.add_row(*_row("production", production))
    table.add_row(*_row("all", [module for modules in parts.values() for module in modules]))
    return table


def _class_lines(repeated: Mapping[str, Sequence[Path]]) -> Iterator[str]:
    yield f"names of classes and type aliases used more than once, outside tests: {len(repeated) or 'none'}"
    for name, paths in repeated.items():
        yield f"  {name}: " + ", ".join(str(path.relative_to(ROOT)) for path in paths)


def _chain_lines(package: str) -> Iterator[str]:
    try:
        modules = longest_chain(imports_within(package))
    except CycleError as cycle:
        yield f"imports in {package} have a cycle: " + " → ".join(cycle.args[1])
        return
    short = [module.removeprefix(f"{package}.") for module in modules]
    yield f"longest chain of imports in {package}: {len(modules)} modules: " + " → ".join(short)


def _tap_lines() -> Iterator[str]:
    files = files_of_tap((ROOT / "docs/architecture.md").read_text("utf-8"))
    yield f"files that docs/architecture.md names on the way of one tap: {len({*chain.from_iterable(files.values())})}"
    for service, paths in files.items():
        yield f"  {service} {len(paths)}: " + " → ".join(paths)


def main() -> None:
    """Count modules, lines and names, and show the longest chains of imports."""
    console = Console()
    parts = {part: found for part in PARTS if (found := modules_of(part))}
    console.print(_table(parts))
    source = [module for part in SOURCE for module in parts.get(part, ())]
    repeated = repeated_classes({module.path: module.classes for module in source})
    for line in (*_class_lines(repeated), *_chain_lines("services.rules"), *_tap_lines()):
        console.print(line, markup=False, highlight=False)
    largest = Counter({str(module.path.relative_to(ROOT)): module.lines for module in source}).most_common(5)
    console.print("largest modules: " + ", ".join(f"{path} {lines}" for path, lines in largest), highlight=False)


if __name__ == "__main__":
    typer.run(main)
