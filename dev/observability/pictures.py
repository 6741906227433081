"""``make pictures``: draws each dashboard from the numbers of a real Prometheus, in a real browser.

Grafana is not needed: a page of ours shows the panels of the checked-in JSON with their queries. It needs chromium,
pngquant and libjs-chart.js of Debian.
"""

import asyncio
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import typer

from dev.demo.stories import STORIES
from dev.layout import ROOT
from dev.observability.__main__ import DASHBOARDS, DEPLOY
from dev.observability.observed_stack import ObservedStack
from dev.observability.prometheus import without_variables

PICTURES = ROOT / "docs" / "operations" / "pictures"
SHOWN = ("promise", "flows", "delivery", "rules", "rules-rights", "pipeline", "platform")
_PAGE = Path(__file__).with_name("pictures.html")
_CHARTS = Path("/usr/share/javascript/chart.js/Chart.min.js")
_WIDTH, _ROW_HEIGHT, _MARGIN = 1500, 34, 70
_POINTS = 120
_NEEDED = ("chromium", "pngquant")


def main() -> None:
    """Draw the dashboards in a real browser, with the numbers of a stack that played the eight stories."""
    raise typer.Exit(_run())


def _run() -> int:
    """Return the exit code."""
    missing = [name for name in _NEEDED if shutil.which(name) is None]
    if missing or not _CHARTS.exists():
        print("pictures need: apt-get install chromium pngquant libjs-chart.js", file=sys.stderr)
        return 1
    for name, panels in asyncio.run(_numbers()).items():
        print(f"drawing {name}")
        _draw(name, panels)
    return 0


async def _numbers() -> dict[str, list[dict[str, Any]]]:
    """The panels of each dashboard with what their queries answered."""
    async with ObservedStack.open("pictures") as observed:
        await observed.play(STORIES)
        return {name: [await _answer(panel, observed) for panel in _panels(name)] for name in SHOWN}


def _panels(name: str) -> list[dict[str, Any]]:
    document = json.loads((DEPLOY / DASHBOARDS / f"{name}.json").read_text())
    return list(document["panels"])


async def _answer(panel: dict[str, Any], observed: ObservedStack) -> dict[str, Any]:
    queries = [await _series(target, observed) for target in panel.get("targets", [])]
    defaults = panel.get("fieldConfig", {}).get("defaults", {})
    kept = {key: panel.get(key) for key in ("title", "type", "gridPos", "description")}
    steps = defaults.get("thresholds", {}).get("steps", [])
    return {**kept, "unit": defaults.get("unit", ""), "steps": steps, "queries": queries}


async def _series(target: dict[str, Any], observed: ObservedStack) -> dict[str, Any]:
    window = f"{observed.elapsed}s" if "$__range" in target["expr"] else "20s"
    expression = without_variables(target["expr"], window)
    if target.get("instant"):
        found = await observed.prometheus.query(expression)
        series = [(_shown(one["metric"]), [one["value"]]) for one in found]
    else:
        end = observed.began + observed.elapsed
        step = max(observed.elapsed / _POINTS, 1.0)
        found = await observed.prometheus.query_range(expression, observed.began, end, step)
        series = [(_shown(one["metric"]), one["values"]) for one in found]
    legend = target.get("legendFormat", "")
    named = [{"labels": labels, "points": points, "name": _name(legend, labels)} for labels, points in series]
    return {"legend": legend, "series": named}


def _shown(labels: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if not name.startswith("__") and name != "namespace"}


def _name(legend: str, labels: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), legend).strip()


def _draw(name: str, panels: list[dict[str, Any]]) -> None:
    bottom = max(panel["gridPos"].get("y", 0) + panel["gridPos"]["h"] for panel in panels)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        page = folder / "page.html"
        data = json.dumps({"panels": panels, "rowHeight": _ROW_HEIGHT})
        page.write_text(_PAGE.read_text().replace("CHARTS", _CHARTS.as_uri()).replace("DATA", data))
        picture = folder / "picture.png"
        size = f"--window-size={_WIDTH},{bottom * _ROW_HEIGHT + _MARGIN}"
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=4000"]
        browser = ["chromium", *options, size, f"--screenshot={picture}", page.as_uri()]
        subprocess.run(browser, check=True, capture_output=True)
        PICTURES.mkdir(parents=True, exist_ok=True)
        target = PICTURES / f"{name}.png"
        compress = ["pngquant", "--force", "--strip", "--output", str(target), "64", str(picture)]
        subprocess.run(compress, check=True)


if __name__ == "__main__":
    typer.run(main)
