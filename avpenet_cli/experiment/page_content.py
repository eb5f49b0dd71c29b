"""What the page shows where: an experiment's results in the order in which its tables and figures list them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from avpenet_cli.experiment.descriptions import SystemDescription, ViewDescription
from avpenet_cli.experiment.results import (
    ACROSS_GROUPS,
    ConditionResult,
    ExperimentResult,
    GroupResult,
    PairResult,
    SiteResult,
    SystemResult,
)
from avpenet_cli.stats.estimate import NAN, Estimate, absent
from avpenet_cli.stats.seeds import SeedAverage

MAIN_GROUPS = ("comparison", "ours")
"""Groups whose systems stand in the first table; all others are ablations."""
MOST_GROUP_COMPARISONS = 12
"""Longer tables of comparisons of groups are folded."""
_GROUP_TITLES = {
    "fusion": "Fusion",
    "tokens": "Tokens",
    "loss": "Loss",
    "window": "Window",
    "encoders": "Encoders",
    "preprocessing": "Preprocessing",
    "frames": "Frames per segment",
    "ours": "Systems of this project",
    "comparison": "Comparison systems",
    ACROSS_GROUPS: "Across groups",
}
_KINDER = ("after denoising", "after detection")
_FAMILY_TITLES = {
    "noise": "Noise",
    "cover": "Covered faces",
    "modality": "A modality missing",
    "preparation": "Prepared otherwise",
}


@dataclass(frozen=True)
class FromReference:
    """A system against the reference system: system minus reference, so that negative favours the system.

    Attributes:
        difference: of MAE, points.
        percent: over the reference's MAE, per cent; without an interval.
        p_holm: of the paired t-test, corrected within the family.
        cohens_d: of that test.
    """

    difference: Estimate
    percent: float = NAN
    p_holm: float = NAN
    cohens_d: float = NAN


@dataclass(frozen=True)
class AblationGroup:
    """Systems of one group, with their differences from the reference system."""

    title: str
    rows: tuple[tuple[SystemResult, FromReference], ...]


@dataclass(frozen=True)
class PairFamily:
    """Pairs that were tested together.

    Attributes:
        title: of the family.
        pairs: of it.
        n_tests: number of p-values that the corrections count.
        n_different: of those, with Holm's p under 0.05.
    """

    title: str
    pairs: tuple[PairResult, ...]
    n_tests: int
    n_different: int


@dataclass(frozen=True)
class ConditionTable:
    """Views that differ in one thing, such as the level of white noise, and the systems evaluated under them.

    Attributes:
        family: of the views.
        kind: what they share, in words: `white noise`, `covered faces`.
        place: at which step the change was made; empty where that does not apply.
        kinder: whether the change came after the step that could fail because of it.
        columns: label and description of each view, from weak to strong as configured.
        rows: system, its result on clean segments, and its result under each view; None where it has none.
        left_out: names of systems without a result, by the reason.
        notes: how the change was made.
    """

    family: str
    kind: str
    place: str
    kinder: bool
    columns: tuple[tuple[str, ViewDescription], ...]
    rows: tuple[tuple[SystemResult, tuple[ConditionResult | None, ...]], ...]
    left_out: dict[str, list[str]]
    notes: tuple[str, ...]

    @property
    def title(self) -> str:
        """What was changed and where, for captions."""
        return self.kind + (f", {self.place}" if self.place else "")


@dataclass(frozen=True)
class ColumnGroups:
    """A column by which errors are shown: the system shown in full, and the others."""

    column: str
    lead: GroupResult
    others: tuple[GroupResult, ...]


@dataclass(frozen=True)
class PageContent:
    """An experiment's results as the page arranges them.

    Attributes:
        result: all of them.
        titles: of systems, by name.
        best: the system chosen on validation; None without one.
        reference: the system that others are compared with; None without one.
        main: systems of the first table, those without results last.
        ablations: differences from the reference system by group.
        families: of pairs, without those across groups.
        n_across: number of pairs across groups, which stand in a table's file only.
        conditions: kinder and harder changes of a kind next to each other.
        columns: groups of segments.
        sites: by site.
        seeds: all seeds of the experiment, in order.
        without_results: systems that failed or were not run, or of which a seed failed.
    """

    result: ExperimentResult
    titles: dict[str, str]
    best: SystemResult | None
    reference: SystemResult | None
    main: tuple[SystemResult, ...]
    ablations: tuple[AblationGroup, ...]
    families: tuple[PairFamily, ...]
    n_across: int
    conditions: tuple[ConditionTable, ...]
    columns: tuple[ColumnGroups, ...]
    sites: dict[str, list[SiteResult]]
    seeds: tuple[int, ...]
    without_results: tuple[SystemDescription, ...]
    mae_of_seed: dict[tuple[str, int], float] = field(default_factory=dict)

    def title(self, name: str) -> str:
        """A system's title."""
        return self.titles.get(name, name)

    def against_reference(self, name: str) -> FromReference:
        """A system's difference from the reference system."""
        return from_reference(self.result, name)

    @property
    def n_trained(self) -> int:
        """Number of systems with at least one trained seed."""
        return sum(item.system.status == "trained" for item in self.result.systems)


def arrange(result: ExperimentResult) -> PageContent:
    """Results as the page shows them."""
    by_name = {item.system.name: item for item in result.systems}
    reference = result.settings.reference
    main = [item for item in result.systems if item.system.group in MAIN_GROUPS or item.system.name == reference]
    main.sort(key=lambda item: not item.test.n_segments)
    families = [family for family in _families(result.pairs) if family.title != _GROUP_TITLES[ACROSS_GROUPS]]
    return PageContent(
        result=result,
        titles={item.system.name: item.system.title or item.system.name for item in result.systems},
        best=by_name.get(result.best_on_validation),
        reference=by_name.get(reference),
        main=tuple(main),
        ablations=tuple(_ablations(result)),
        families=tuple(families),
        n_across=sum(pair.family == ACROSS_GROUPS for pair in result.pairs),
        conditions=tuple(_condition_tables(result)),
        columns=tuple(_columns(result)),
        sites=_by_site(result.sites),
        seeds=tuple(sorted({seed.seed for seed in result.seeds})),
        without_results=tuple(item.system for item in result.systems if not item.test.n_segments or item.system.reason),
        mae_of_seed={(seed.system, seed.seed): seed.mae for seed in result.seeds},
    )


def group_title(group: str) -> str:
    """Title of a group of systems."""
    return _GROUP_TITLES.get(group) or group[:1].upper() + group[1:]


def from_reference(result: ExperimentResult, name: str) -> FromReference:
    """A system against the reference system, from the pair that both form."""
    reference = result.settings.reference
    for pair in result.pairs:
        if {pair.first, pair.second} == {name, reference}:
            break
    else:
        missing = next((item.test.mae.mean.reason for item in result.systems if item.system.name == name), "")
        of_reference = next((item for item in result.systems if item.system.name == reference), None)
        if of_reference is None or not of_reference.test.n_segments:
            missing = missing or f"the reference system {reference} has no scores"
        return FromReference(absent(missing or "no segments in common"))
    if pair.second == reference:
        sign, mae, base = 1.0, pair.mae_first, pair.mae_second
    else:
        sign, mae, base = -1.0, pair.mae_second, pair.mae_first
    percent = 100 * (mae - base) / base if base else NAN
    return FromReference(_signed(pair.mae_difference, sign), percent, pair.p_holm, sign * pair.test.cohens_d)


def _signed(estimate: Estimate, sign: float) -> Estimate:
    low, high = sorted((sign * estimate.ci[0], sign * estimate.ci[1])) if estimate.has_interval else estimate.ci
    return replace(estimate, value=sign * estimate.value, ci=(low, high))


def _ablations(result: ExperimentResult) -> Iterable[AblationGroup]:
    groups: dict[str, list[tuple[SystemResult, FromReference]]] = {}
    for item in result.systems:
        if item.system.group not in MAIN_GROUPS and item.system.name != result.settings.reference:
            groups.setdefault(item.system.group, []).append((item, from_reference(result, item.system.name)))
    return (AblationGroup(group_title(group), tuple(rows)) for group, rows in groups.items())


def _families(pairs: Sequence[PairResult]) -> Iterable[PairFamily]:
    families: dict[str, list[PairResult]] = {}
    for pair in pairs:
        families.setdefault(pair.family, []).append(pair)
    for family, members in families.items():
        tests = max((member.test.n_comparisons for member in members), default=0)
        different = sum(member.p_holm < 0.05 for member in members)
        yield PairFamily(group_title(family), tuple(members), tests, different)


def _condition_tables(result: ExperimentResult) -> Iterable[ConditionTable]:
    groups: dict[tuple[str, str, str], list[ViewDescription]] = {}
    for view in result.views:
        if view.family != "clean":
            kind = f"{view.kind} noise".strip() if view.family == "noise" else _FAMILY_TITLES[view.family].lower()
            groups.setdefault((view.family, kind, view.place), []).append(view)
    order: list[str] = list(dict.fromkeys(kind for _, kind, _ in groups))
    # The kinder kind first.
    keys = sorted(groups, key=lambda key: (order.index(key[1]), key[2] not in _KINDER))
    cells = {(item.system, item.view): item for item in result.conditions}
    for family, kind, place in keys:
        views = groups[family, kind, place]
        rows = []
        left_out: dict[str, list[str]] = {}
        for item in result.systems:
            of_system = [cells.get((item.system.name, view.name)) for view in views]
            found = tuple(None if cell is None or cell.not_computable else cell for cell in of_system)
            if any(found):
                rows.append((item, found))
            else:
                for reason in sorted({cell.not_computable for cell in of_system if cell is not None}):
                    left_out.setdefault(reason, []).append(item.system.title or item.system.name)
        if rows:
            notes = tuple(dict.fromkeys(view.note for view in views if view.note))
            columns = tuple((_view_label(view), view) for view in views)
            yield ConditionTable(family, kind, place, place in _KINDER, columns, tuple(rows), left_out, notes)


def _view_label(view: ViewDescription) -> str:
    if view.family == "noise" and view.level:
        return view.level
    if view.family == "cover" and view.kind:
        return f"{view.kind} {view.level}".strip()
    return view.title or view.name


def _columns(result: ExperimentResult) -> Iterable[ColumnGroups]:
    """Every column; the reference system leads, or the best, or the first."""
    columns: dict[str, list[GroupResult]] = {}
    for group in result.groups:
        columns.setdefault(group.column, []).append(group)
    for column, groups in columns.items():
        by_system = {group.system: group for group in groups}
        wanted = (result.settings.reference, result.best_on_validation, groups[0].system)
        lead = next(by_system[name] for name in wanted if name in by_system)
        yield ColumnGroups(column, lead, tuple(group for group in groups if group is not lead))


def _by_site(sites: Sequence[SiteResult]) -> dict[str, list[SiteResult]]:
    by_site: dict[str, list[SiteResult]] = {}
    for site in sites:
        by_site.setdefault(site.site, []).append(site)
    return by_site


def spread_of_seeds(average: SeedAverage) -> tuple[float, float] | None:
    """Least and greatest of the seeds; None with fewer than two."""
    return (average.low, average.high) if average.n_seeds > 1 else None
