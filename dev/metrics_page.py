"""Makes the tables of docs/reference/metrics.md from the declarations of the code: ``python -m dev.metrics_page``."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from itertools import groupby
from pathlib import Path

import typer

from dev.layout import ROOT
from shared.contracts.topics import SERVICES
from shared.runtime.metrics import DECLARATIONS, Declaration, Label

PATH = Path("docs/reference/metrics.md")

_TITLES = {SERVICES: "Every service"}


def load_declarations() -> Mapping[str, Declaration]:
    """The declarations of all four services, and of what they share."""
    for service in SERVICES:
        import_module(f"services.{service}.app")
    return DECLARATIONS


def metrics_page() -> str:
    """The introduction of the page as it is, and the tables."""
    introduction = (ROOT / PATH).read_text("utf-8").partition("\n## ")[0]
    declarations = load_declarations()
    return "\n".join([introduction, *_sections(declarations), *_bounds(declarations)])


def _sections(declarations: Mapping[str, Declaration]) -> Iterator[str]:
    by_services = sorted(declarations.values(), key=_order)
    for services, declared in groupby(by_services, key=lambda one: one.services):
        yield f"## {_TITLES.get(services, ' and '.join(services))}\n"
        yield "| metric | type | labels | replicas | meaning |\n|---|---|---|---|---|"
        yield from map(_row, declared)
        yield ""


def _order(declared: Declaration) -> tuple[int, list[int], str]:
    """Metrics that most services have come first."""
    return -len(declared.services), [SERVICES.index(one) for one in declared.services], declared.name


def _row(declared: Declaration) -> str:
    labels = "; ".join(map(_label, declared.labels))
    replicas = declared.replicas.value if declared.replicas is not None else ""
    meaning = declared.meaning + (" Exemplars." if declared.has_exemplars else "")
    return f"| `{declared.name}` | {declared.kind} | {labels} | {replicas} | {meaning} |"


def _label(label: Label) -> str:
    values = ", ".join(f"`{value}`" for value in label.values) or label.description
    return f"`{label.name}`: {values}"


def _bounds(declarations: Mapping[str, Declaration]) -> Iterator[str]:
    yield "## Upper bounds of the histograms\n"
    yield "| metric | `le`, besides `+Inf` |\n|---|---|"
    for name, declared in sorted(declarations.items()):
        if declared.buckets:
            yield f"| `{name}` | {', '.join(f'{float(bound)}' for bound in declared.buckets)} |"
    yield ""


def main() -> None:
    """Write docs/reference/metrics.md from the declarations of the services."""
    (ROOT / PATH).write_text(metrics_page(), "utf-8")


if __name__ == "__main__":
    typer.run(main)
