"""The parts of a dashboard, and how it becomes Grafana's JSON.

Queries are written as in the Prometheus console; the variables of a dashboard are added to every metric of ours when it
is rendered. ``$__rate_interval`` and ``$__range`` are Grafana's.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from grafana_foundation_sdk.builders import bargauge, common, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as grafana
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dev.observability.catalogue import add_matchers

_DATASOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
_WIDTH = 24
_SOURCES = {
    "namespace": ("Namespace", "The namespace, and so the tenant: each tenant has a Stet of its own."),
    "service": ("Service", "ingest, rules, dispatcher or writeback."),
    "instance": ("Instance", "The replica, by the address at which it is scraped."),
}


class Kind(StrEnum):
    """How a panel shows its numbers."""

    LINES = "timeseries"
    NUMBER = "stat"
    TABLE = "table"
    BARS = "bargauge"


@dataclass(frozen=True)
class Query:
    """``legend`` is a name, or a label in double braces; in a table it is the title of the column."""

    expression: str
    legend: str


@dataclass(frozen=True)
class Panel:
    """``title`` is a question or a fact. ``limits`` are the values from which it is shown yellow and red.

    ``empty_because`` says why a healthy system may have no number here; None means that it always has one.
    """

    title: str
    description: str
    unit: str
    queries: Sequence[Query]
    kind: Kind = Kind.LINES
    limits: tuple[float, float] | None = None
    width: int = 12
    height: int = 8
    stacked: bool = False
    empty_because: str | None = None


@dataclass(frozen=True)
class Row:
    """Panels under one headline."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Dashboard:
    """``variables`` are of ``namespace``, ``service`` and ``instance``; a query filters by all of them."""

    name: str
    title: str
    description: str
    rows: Sequence[Row]
    variables: tuple[str, ...] = ("namespace",)
    since: str = "6h"

    @property
    def uid(self) -> str:
        return f"stet-{self.name}"

    @property
    def panels(self) -> Iterator[Panel]:
        for row in self.rows:
            yield from row.panels

    def expression(self, query: Query) -> str:
        return add_matchers(query.expression, ", ".join(f'{name}=~"${name}"' for name in self.variables))


@dataclass
class _Counter:
    """The next number of a panel; Grafana wants each to have one."""

    last: int = field(default=0)

    def next(self) -> int:
        self.last += 1
        return self.last


def to_json(dashboard: Dashboard) -> str:
    """The file that Grafana's provisioning, its sidecar or a person imports."""
    return JSONEncoder(sort_keys=True, indent=1, ensure_ascii=False).encode(build(dashboard).build()) + "\n"


def build(dashboard: Dashboard) -> grafana.Dashboard:
    builder = (
        grafana.Dashboard(dashboard.title)
        .uid(dashboard.uid)
        .description(dashboard.description)
        .tags(["stet"])
        .readonly()
        .timezone("browser")
        .refresh("1m")
        .time(f"now-{dashboard.since}", "now")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(_other_dashboards())
        .with_variable(grafana.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    for name in dashboard.variables:
        builder = builder.with_variable(_variable(name, dashboard.variables))
    ids = _Counter()
    for row in dashboard.rows:
        builder = builder.with_row(grafana.Row(row.title).id(ids.next()))
        for panel in row.panels:
            builder = builder.with_panel(_Built(_panel(panel, dashboard, ids.next())))
    return builder


def _other_dashboards() -> grafana.DashboardLink:
    link = grafana.DashboardLink("Stet").type(models.DashboardLinkType.DASHBOARDS).tags(["stet"])
    return link.as_dropdown(True).include_vars(True).keep_time(True)  # noqa: FBT003 -- the library's own signature


def _variable(name: str, variables: Sequence[str]) -> grafana.QueryVariable:
    """Its values are those that exist under the variables before it."""
    label, description = _SOURCES[name]
    before = ", ".join(f'{one}=~"${one}"' for one in variables[: variables.index(name)])
    return (
        grafana.QueryVariable(name)
        .label(label)
        .description(description)
        .datasource(_DATASOURCE)
        .query(f"label_values(stet_build_info{{{before}}}, {name})".replace("{}", ""))
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)  # noqa: FBT003
        .include_all(True)  # noqa: FBT003
        .all_value(".*")
        .current(models.VariableOption(selected=True, text="All", value="$__all"))
    )


_Builder = timeseries.Panel | stat.Panel | table.Panel | bargauge.Panel


class _Built(Builder[models.Panel]):
    """A panel with its number and place: the library's kinds of panel share no base class with a number."""

    def __init__(self, panel: models.Panel) -> None:
        self._panel = panel

    def build(self) -> models.Panel:
        return self._panel


def _panel(panel: Panel, dashboard: Dashboard, number: int) -> models.Panel:
    builder: _Builder = _BUILDERS[panel.kind](panel)
    builder.title(panel.title).description(panel.description).unit(panel.unit).datasource(_DATASOURCE)
    builder.span(min(panel.width, _WIDTH)).height(panel.height).thresholds(_thresholds(panel.limits))
    if panel.empty_because is not None:
        builder.no_value("none")
    for index, query in enumerate(panel.queries):
        builder.with_target(_target(panel, query, dashboard, chr(ord("A") + index)))
    if panel.kind is Kind.TABLE:
        builder.transformations(_one_row_for_each_label(panel))
    built = builder.build()
    built.id_val = number
    return built


def _lines(panel: Panel) -> timeseries.Panel:
    builder = timeseries.Panel().min(0).line_width(1.5).show_points(common_models.VisibilityMode.NEVER).fill_opacity(10)
    legend = common.VizLegendOptions().display_mode(common_models.LegendDisplayMode.LIST)
    builder = builder.legend(legend.placement(common_models.LegendPlacement.BOTTOM).show_legend(True))  # noqa: FBT003
    if panel.limits is not None:
        style = common.GraphThresholdsStyleConfig().mode(common_models.GraphTresholdsStyleMode.DASHED)
        builder = builder.thresholds_style(style)
    if panel.stacked:
        builder = builder.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL).group("A"))
    return builder


def _number(_: Panel) -> stat.Panel:
    return stat.Panel().reduce_options(_last()).graph_mode(common_models.BigValueGraphMode.AREA)


def _bars(_: Panel) -> bargauge.Panel:
    return bargauge.Panel().reduce_options(_last()).min(0).orientation(common_models.VizOrientation.HORIZONTAL)


def _table(_: Panel) -> table.Panel:
    return table.Panel()


_BUILDERS: Mapping[Kind, Callable[[Panel], _Builder]] = {
    Kind.LINES: _lines,
    Kind.NUMBER: _number,
    Kind.TABLE: _table,
    Kind.BARS: _bars,
}


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"])


def _thresholds(limits: tuple[float, float] | None) -> grafana.ThresholdsConfig:
    """A limit under the one before it means that less is worse."""
    steps: list[tuple[float | None, str]] = [(None, "green")]
    if limits is not None and limits[0] <= limits[1]:
        steps += [(limits[0], "yellow"), (limits[1], "red")]
    elif limits is not None:
        steps = [(None, "red"), (limits[1], "yellow"), (limits[0], "green")]
    thresholds = [models.Threshold(value=value, color=color) for value, color in steps]
    return grafana.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(thresholds)


def _target(panel: Panel, query: Query, dashboard: Dashboard, ref: str) -> Dataquery:
    target = Dataquery().expr(dashboard.expression(query)).legend_format(query.legend).ref_id(ref)
    match panel.kind:
        case Kind.TABLE:
            return target.instant().format(PromQueryFormat.TABLE)
        case Kind.BARS:
            return target.instant()
        case Kind.LINES | Kind.NUMBER:
            return target.range()


def _one_row_for_each_label(panel: Panel) -> list[models.DataTransformerConfig]:
    """Joins the queries by their labels, and names the columns of values."""
    names = {f"Value #{chr(ord('A') + index)}": query.legend for index, query in enumerate(panel.queries)}
    if len(panel.queries) == 1:
        names["Value"] = panel.queries[0].legend
    organize = {"excludeByName": {"Time": True}, "renameByName": names}
    return [
        models.DataTransformerConfig(id_val="merge", options={}),
        models.DataTransformerConfig(id_val="organize", options=organize),
    ]
