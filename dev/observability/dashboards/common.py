"""Parts that several dashboards share."""

from dev.observability.panels import Kind, Panel, Query

REPLICAS = ("namespace", "service", "instance")
"""The variables of a dashboard whose metrics every service has."""

NO_TROUBLE = "a healthy system has none of these"


def number_panel(  # noqa: PLR0913 -- one line for each such panel
    title: str,
    description: str,
    unit: str,
    expression: str,
    limits: tuple[float, float] | None = None,
    *,
    width: int = 4,
    empty_because: str | None = None,
) -> Panel:
    query = [Query(expression, "")]
    return Panel(title, description, unit, query, Kind.NUMBER, limits, width, height=4, empty_because=empty_because)


def quantile(share: float, metric: str, by: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket[$__rate_interval])))"
