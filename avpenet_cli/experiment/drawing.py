"""Which figures an experiment's page has, and the data of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from avpenet_cli.experiment.figures import PAPER_MARK, Row, Wording, forest, limits_of, split_rows
from avpenet_cli.experiment.figures_conditions import MOST_SYSTEMS, Curve, Panel, conditions
from avpenet_cli.experiment.page_content import ConditionTable, PageContent
from avpenet_cli.experiment.results import ClaimResult, ConditionResult, GroupResult, SystemResult
from avpenet_cli.phrasing import number
from avpenet_cli.report.estimates import Style, format_estimate
from avpenet_cli.report.figures.style import Figure
from avpenet_cli.stats.estimate import NAN, NO_INTERVAL, Estimate, absent

_PAPER = f"{PAPER_MARK} paper"
_ON_ITS_DATA = "Hollow: the paper's figure, obtained on its own data; not a result of this experiment."


def draw(content: PageContent) -> dict[str, Figure]:
    """All figures by name; those without content are left out."""
    figures: dict[str, Figure] = {}
    _add(figures, "systems", [_system_row(content, item) for item in content.main], _systems_wording(), None)
    _add(figures, "claims", [row for claim in content.result.claims if (row := _claim_row(claim))], _CLAIMS, 0.0)
    _add(figures, "ablations", _ablation_rows(content), _ablations_wording(content), 0.0)
    _add(figures, "groups", _group_rows([groups.lead for groups in content.columns]), _groups_wording(content), None)
    _add(figures, "sites", _site_rows(content), _SITES, None)
    return figures | _condition_figures(content)


def figure_names(figures: dict[str, Figure], start: str) -> list[str]:
    """The parts of a figure that was divided, in order."""
    return [name for name in figures if name == start or name.startswith(f"{start}_")]


def _add(figures: dict[str, Figure], name: str, rows: Sequence[Row], wording: Wording, zero: float | None) -> None:
    if not any(not row.heading for row in rows):
        return
    parts, limits = split_rows(rows), limits_of(rows, zero)
    for place, part in enumerate(parts, start=1):
        key, words = name, wording
        if len(parts) > 1:
            key, words = f"{name}_{place}", replace(wording, title=f"{wording.title}, part {place} of {len(parts)}")
        figures[key] = forest(part, words, name=key.replace("_", "-"), zero=zero, limits=limits)


def _text(estimate: Estimate, style: Style = "points") -> str:
    """A number with its interval for a figure, without reasons: those stand in the tables."""
    text = format_estimate(estimate, style)
    if not text.computable:
        return "none"
    return f"{text.value} {text.interval}" if text.bounded else text.value


def _systems_wording() -> Wording:
    return Wording(
        title="Mean absolute error of the comparison systems",
        caption=(
            "Square: mean over seeds, with its 95 % interval over subjects, on the test split. Left is better."
            f" {_ON_ITS_DATA}"
        ),
        axis="MAE (points)",
        text_head="MAE [95 % CI]",
        hollow_head=_PAPER,
        legend=("this experiment", "paper, on its own data", "single seeds"),
    )


def _system_row(content: PageContent, item: SystemResult) -> Row:
    paper = item.published_mae
    seeds = [content.mae_of_seed.get((item.system.name, seed), NAN) for seed in content.seeds]
    return Row(
        label=content.title(item.system.name),
        value=item.test.mae.mean.value,
        ci=item.test.mae.mean.ci,
        text=_text(item.test.mae.mean) if item.test.n_segments else item.system.status,
        hollow=paper.value if paper else NAN,
        hollow_ci=(paper.low, paper.high) if paper else NO_INTERVAL,
        hollow_text=number(paper.value) if paper else "",
        ticks=tuple(seeds) if item.test.mae.n_seeds > 1 else (),
    )


_CLAIMS = Wording(
    title="Claims: difference of MAE in per cent",
    caption=(
        "Square: MAE of the first system minus that of the second, over that of the second, on the same test segments,"
        f" with its 95 % interval. Left of zero, the first system is better. {_ON_ITS_DATA}"
    ),
    axis="difference of MAE (%)",
    text_head="difference [95 % CI]",
    hollow_head=_PAPER,
    legend=("this experiment", "paper, on its own data", ""),
)


def _claim_row(claim: ClaimResult) -> Row | None:
    if not claim.percent.computable:
        return None
    paper = claim.paper_percent
    return Row(
        label=claim.name,
        value=claim.percent.value,
        ci=claim.percent.ci,
        text=_text(claim.percent, "per cent"),
        hollow=NAN if paper is None else paper,
        hollow_text="" if paper is None else _text(Estimate(paper), "per cent"),
    )


def _ablations_wording(content: PageContent) -> Wording:
    reference = content.title(content.result.settings.reference)
    return Wording(
        title="Ablations: difference from the reference system",
        caption=(
            f"Square: MAE of the system minus that of {reference}, on the same test segments, with its 95 % interval."
            " Right of zero, the change raises the error."
        ),
        axis="difference of MAE (points)",
        text_head="difference [95 % CI]",
    )


def _ablation_rows(content: PageContent) -> list[Row]:
    rows = []
    for group in content.ablations:
        rows.append(Row(group.title, heading=True))
        for item, against in group.rows:
            name, difference = content.title(item.system.name), against.difference
            rows.append(Row(name, difference.value, difference.ci, _text(difference, "signed")))
    return rows


def _groups_wording(content: PageContent) -> Wording:
    names = list(dict.fromkeys(content.title(groups.lead.system) for groups in content.columns))
    return Wording(
        title="Mean absolute error by group",
        caption=(
            f"Square: MAE of {', '.join(names)} in the segments of one group, with its 95 % interval. Groups may differ"
            " in more than the column that divides them."
        ),
        axis="MAE (points)",
        text_head="MAE [95 % CI]",
        hollow_head="subjects",
    )


def _group_rows(groups: Sequence[GroupResult]) -> list[Row]:
    rows = []
    for group in groups:
        if group.levels:
            rows.append(Row(group.column.replace("_", " "), heading=True))
        for level in group.levels:
            text = "too few" if level.suppressed else _text(level.mae)
            rows.append(Row(level.level, level.mae.value, level.mae.ci, text, hollow_text=f"{level.n_subjects}"))
    return rows


_SITES = Wording(
    title="Leave-one-site-out",
    caption=(
        "Square: MAE of the system trained without the site, on all of the site's rated segments, with its 95 %"
        " interval. Hollow: MAE of the system trained on all sites, on those of the site's segments that are in its"
        " test split."
    ),
    axis="MAE (points)",
    text_head="without the site",
    hollow_head="with it",
    legend=("trained without the site", "trained on all sites", ""),
    hollow="own",
)


def _site_rows(content: PageContent) -> list[Row]:
    rows = []
    for site, results in content.sites.items():
        rows.append(Row(f"site {site}", heading=True))
        for result in results:
            mae, within = result.mae.mean, result.within_mae
            rows.append(
                Row(
                    content.title(result.system),
                    mae.value,
                    mae.ci,
                    _text(mae),
                    within.value,
                    within.ci,
                    _text(within) if within.computable else "",
                )
            )
    return rows


def _condition_figures(content: PageContent) -> dict[str, Figure]:
    """A figure for each kind of noise and for covers, with the kinder and the harder change next to each other."""
    kinds: dict[tuple[str, str], list[ConditionTable]] = {}
    for table in content.conditions:
        if table.family in ("noise", "cover"):
            kinds.setdefault((table.family, table.kind), []).append(table)
    figures = {}
    for number_, ((family, kind), tables) in enumerate(kinds.items(), start=1):
        systems = _chosen(content, tables)
        panels = [_panel(table, systems) for table in tables[:2]]
        key = f"conditions_{number_}"
        more = f" Systems not drawn are in the tables; the figure has {len(systems)}." * _some_left(tables, systems)
        lost = (
            " Lower panels: share of the segments scored clean that get no score under the change; bars in the legend's"
            " order."
        )
        figures[key] = conditions(
            panels,
            name=key.replace("_", "-"),
            title=f"Error under {kind}",
            caption=(
                "MAE of the segments that still get a score, with 95 % intervals; clean: all test segments."
                + lost * any(share > 0 for panel in panels for curve in panel.curves for share in curve.lost)
                + more
            ),
            connect=family == "noise",
        )
    return figures


def condition_figure_of(content: PageContent) -> dict[str, str]:
    """Name of the figure of each kind of change."""
    kinds = dict.fromkeys((table.family, table.kind) for table in content.conditions)
    drawn = [kind for family, kind in kinds if family in ("noise", "cover")]
    return {kind: f"conditions_{number_}" for number_, kind in enumerate(drawn, start=1)}


def _chosen(content: PageContent, tables: Sequence[ConditionTable]) -> list[SystemResult]:
    """The systems of a figure: the reference, the best, then in the order of the configuration."""
    found = {item.system.name: item for table in tables for item, _ in table.rows}
    first = (content.result.settings.reference, content.result.best_on_validation)
    names = dict.fromkeys([*(name for name in first if name in found), *found])
    return [found[name] for name in names][:MOST_SYSTEMS]


def _some_left(tables: Sequence[ConditionTable], systems: Sequence[SystemResult]) -> bool:
    return len({item.system.name for table in tables for item, _ in table.rows}) > len(systems)


def _panel(table: ConditionTable, systems: Sequence[SystemResult]) -> Panel:
    cells = {item.system.name: row for item, row in table.rows}
    curves = []
    for item in systems:
        row: Sequence[ConditionResult | None] = cells.get(item.system.name, (None,) * len(table.columns))
        mae = [cell.mae if cell else absent("not evaluated") for cell in row]
        lost = [cell.lost.value if cell else NAN for cell in row]
        curves.append(Curve(item.system.title or item.system.name, (item.test.mae.mean, *mae), (0.0, *lost)))
    heading = table.place or table.kind
    if table.kinder:
        heading += " (kinder)"
    elif table.place:
        heading += " (harder)"
    return Panel(heading, ("clean", *(label for label, _ in table.columns)), tuple(curves))
