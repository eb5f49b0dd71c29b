"""What an experiment was: its systems as configured and run, its choices, and what a reader must know first."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.errors import SettingsError
from avpenet_cli.experiment.analysis import dataset_summary, group_columns
from avpenet_cli.experiment.descriptions import Choice, ExperimentRecord, SystemDescription
from avpenet_cli.experiment.inputs import Condition, Inputs
from avpenet_cli.experiment.predictions import PredictionKey
from avpenet_cli.experiment.settings import ExperimentSettings
from avpenet_cli.experiment.train import Trained
from avpenet_cli.model.registry import network_entry
from avpenet_cli.phrasing import counted
from avpenet_cli.report.document.review import Notice
from avpenet_cli.runs.versions import software_versions
from avpenet_cli.settings import flatten, to_dict


def record_notices(settings: ExperimentSettings, inputs: Inputs) -> tuple[Notice, ...]:
    """What a reader must know that does not follow from the results."""
    notices = []
    if settings.left_out and len(inputs.store.record.splits.leave_one_site_out) < 2:
        notices.append(Notice("note", "No site is left out: the store has fewer than two."))
    elif settings.left_out and any(system.init == "weights" for system in settings.systems.values()):
        notices.append(
            Notice(
                "note",
                f"Encoders start from the weights {Path(settings.init).name}. Whether these learnt from people or "
                "sites of this store is not checked; a site that is left out is left out of the trainings of this "
                "experiment only.",
            )
        )
    if settings.robust and settings.harder and not inputs.has_recordings:
        notices.append(
            Notice(
                "note",
                "Noise before denoising and covers before face detection are not tested: they need the recordings "
                "(--recordings).",
            )
        )
    if inputs.missing_recordings and any(system.variant is not None for system in settings.systems.values()):
        notices.append(
            Notice(
                "warning",
                f"{counted(inputs.missing_recordings, 'recording')} of the store not found: systems whose recordings "
                "are prepared differently are trained on fewer.",
            )
        )
    return tuple(notices)


def columns_shown(settings: ExperimentSettings, store: SegmentStore) -> tuple[str, ...]:
    """The columns by which errors are shown.

    Raises:
        SettingsError: one that the store has not.
    """
    columns = group_columns(store) if settings.columns is None else settings.columns
    unknown = [name for name in columns if name not in store.index.columns]
    if unknown:
        known = ", ".join(group_columns(store))
        remedy = f"name some of {known}" if known else "leave columns out"
        raise SettingsError(f"columns: the store has no column {unknown[0]}", remedy)
    return columns


def experiment_record(
    settings: ExperimentSettings,
    command: str,
    inputs: Inputs,
    conditions: Sequence[Condition],
    outcomes: Mapping[PredictionKey, Trained],
    failures: Mapping[PredictionKey, str],
    absent: Mapping[str, str],
    notices: tuple[Notice, ...],
) -> ExperimentRecord:
    """What is known of an experiment besides its predictions.

    Args:
        command: repeats the experiment.
        conditions: under which systems are evaluated.
        outcomes: of the trainings that are finished.
        failures: reasons, of those that failed.
        absent: reasons, by the name of each system that cannot be trained here.
        notices: from `record_notices`.
    """
    store = inputs.store
    return ExperimentRecord(
        title=settings.title,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=command,
        software=software_versions(),
        dataset=dataset_summary(store),
        columns=columns_shown(settings, store),
        systems=tuple(_descriptions(settings, outcomes, failures, absent)),
        views=tuple(condition.description for condition in conditions),
        choices=_choices(settings),
        notices=(*notices, *_version_notices(outcomes)),
    )


def _version_notices(outcomes: Mapping[PredictionKey, Trained]) -> tuple[Notice, ...]:
    versions = sorted({trained.version for trained in outcomes.values()})
    if len(versions) < 2:
        return ()
    return (Notice("warning", f"Trained with several versions of the program: {', '.join(versions)}."),)


def _descriptions(
    settings: ExperimentSettings,
    outcomes: Mapping[PredictionKey, Trained],
    failures: Mapping[PredictionKey, str],
    absent: Mapping[str, str],
) -> list[SystemDescription]:
    """All systems, those that failed or were not asked for among them."""
    descriptions = []
    for name, system in settings.systems.items():
        own = {key.seed: outcomes[key] for key in sorted(outcomes) if key.system == name and not key.left_out_site}
        failed = [f"{_which(key)}: {reason}" for key, reason in failures.items() if key.system == name]
        failed += [
            f"{_which(key)}, {view}: {reason}"
            for key, trained in outcomes.items()
            for view, reason in trained.problems.items()
            if key.system == name
        ]
        description = SystemDescription(
            name=name,
            title=system.title,
            group=system.group,
            differs=_differs(settings, name),
            modalities=network_entry(settings.train_settings(name, settings.seeds[0]).network).modalities,
            seeds=tuple(own),
        )
        if own:
            timed = (trained.ms_per_segment for trained in own.values() if trained.ms_per_segment is not None)
            description = replace(
                description,
                parameters=own[min(own)].parameters,
                ms_per_segment=next(timed, None),
                reason="; ".join(failed),
            )
        elif failed:
            description = replace(description, status="failed", reason=_without_repeats(failed))
        else:
            reason = absent.get(name, "not part of this run (--only)")
            description = replace(description, status="not run", reason=reason)
        descriptions.append(description)
    return descriptions


def _which(key: PredictionKey) -> str:
    return f"seed {key.seed}{f' without site {key.left_out_site}' if key.left_out_site else ''}"


def _without_repeats(failed: Sequence[str]) -> str:
    """Reasons that are the same for every seed once."""
    reasons = {text.split(": ", 1)[1] for text in failed}
    return next(iter(reasons)) if len(reasons) == 1 else "; ".join(failed)


def _differs(settings: ExperimentSettings, name: str) -> dict[str, str]:
    """The settings in which a system differs from the reference."""
    seed = settings.seeds[0]
    system, reference = settings.systems[name], settings.systems[settings.reference]
    own, other = (flatten(to_dict(settings.train_settings(item, seed))) for item in (name, settings.reference))
    differs = {key: str(value) for key, value in own.items() if other.get(key, value) != value or key not in other}
    for label in ("view", "variant"):
        part = getattr(system, label)
        if part is not None:
            plain, default = to_dict(part), to_dict(type(part)())
            differs |= {key: str(value) for key, value in plain.items() if value != default[key]}
    if system.base:
        differs["base"] = system.base
    if system.init != reference.init:
        differs["init"] = system.init
    return differs


def _choices(settings: ExperimentSettings) -> tuple[Choice, ...]:
    return (
        Choice("systems, their settings and seeds, views and rules of the claims", "fixed beforehand"),
        Choice("the epoch whose parameters are kept, of networks that are trained by epochs", "validation"),
        Choice("settings that a network tries out while it learns, such as those of support vectors", "validation"),
        Choice("the weights that systems start from", "fixed beforehand", Path(settings.init).name),
    )
