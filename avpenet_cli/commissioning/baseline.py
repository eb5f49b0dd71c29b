"""Baseline scores of phantoms: reading, saving, and comparing today's scores with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked_dataclass

from avpenet_cli.commissioning.phantoms import Phantoms, ScoredPhantom
from avpenet_cli.errors import SettingsError
from avpenet_cli.phrasing import plural
from avpenet_cli.runs.versions import software_versions
from avpenet_cli.settings import from_dict, to_dict
from avpenet_cli.storage import write_json
from avpenet_cli.textfiles import parse_json
from avpenet_cli.version import refuse_later
from avpenet_cli.weights.description import Sha256

TOLERANCE_POINTS = 0.1
"""Largest change of a segment's score that passes; chosen: larger than the effect of summation in another order."""

BASELINE_VERSION: Literal[2] = 2
"""1 called a date `found`."""

Verdict = Literal["PASS", "FAIL", "NO BASELINE"]
Scores = tuple[Annotated[float, Field(ge=0.0, le=10.0)] | None, ...]
"""Scores of a recording's segments, points; None for an unscorable segment."""

_STRICT = ConfigDict(extra="forbid")
# A difference of two decimals of three places misses a round number by a rounding error.
_ROUNDING = 1e-6
_NAMED_REASONS = 3


@checked_dataclass(frozen=True, config=_STRICT)
class KnownScores:
    """Scores of the phantoms by one set of weights.

    Attributes:
        weights: name of the weights.
        date: ISO 8601.
        device: the one that scored.
        software: versions of everything that results depend on.
        scores: by recording.
    """

    weights: str
    date: str
    device: str
    software: dict[str, str]
    scores: dict[str, Scores]


@checked_dataclass(frozen=True, config=_STRICT)
class Baseline:
    """Scores of a set of phantoms by several weights.

    Attributes:
        files: SHA-256 of each recording and table of the phantoms, by name.
        weights: by the weights' digest.
    """

    format_version: Literal[2]
    files: dict[str, Sha256]
    weights: dict[str, KnownScores]


@dataclass(frozen=True)
class ScoreChange:
    """A recording's scores compared with its baseline.

    Attributes:
        largest_points: largest absolute change of a segment's score; None where none can be compared.
        problem: why the scores are not constant; empty where they are.
    """

    recording: str
    largest_points: float | None
    problem: str = ""


def read_baseline(path: Path) -> Baseline:
    """Known scores from a file, of this version or of version 1.

    Raises:
        SettingsError: it cannot be read or is not a baseline.
    """
    remedy = "give a file that avpenet phantom check --save wrote"
    try:
        content = parse_json(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"the baseline {path} cannot be read: {error.strerror}", remedy) from None
    except ValueError:
        raise SettingsError(f"the baseline {path} is not JSON", remedy) from None
    return from_dict(Baseline, _current_version(content, path), f"the baseline {path}")


def _current_version(content: Any, path: Path) -> Any:
    if not isinstance(content, dict):
        return content
    refuse_later(f"the baseline {path}", content.get("format_version"), BASELINE_VERSION)
    if content.get("format_version") != 1:
        return content
    weights = content.get("weights")
    if isinstance(weights, dict):
        weights = {
            digest: {("date" if name == "found" else name): value for name, value in known.items()}
            for digest, known in weights.items()
            if isinstance(known, dict)
        }
    return content | {"format_version": BASELINE_VERSION, "weights": weights}


def baseline_to_extend(path: Path, phantoms: Phantoms) -> Baseline:
    """The baseline in `path`, or an empty one of these phantoms where there is none.

    Raises:
        SettingsError: it contains something else, or scores of other phantoms.
    """
    if not path.exists():
        return Baseline(BASELINE_VERSION, dict(phantoms.files), {})
    baseline = read_baseline(path)
    if baseline.files != phantoms.files:
        raise SettingsError(f"{path} holds scores of other phantoms", "give --save another name")
    return baseline


def save_baseline(path: Path, baseline: Baseline, digest: str, known: KnownScores) -> None:
    """Write a baseline with the scores of one more set of weights; raises as `storage.write_json`.

    Args:
        baseline: from `baseline_to_extend`; its scores by these weights are replaced.
        digest: digest of the weights.
    """
    write_json(path, to_dict(replace(baseline, weights={**baseline.weights, digest: known})))


def make_known_scores(weights: str, device: str, scored: Sequence[ScoredPhantom]) -> KnownScores:
    """Today's scores, in the form of a baseline.

    Args:
        weights: their name.
        device: the one that scored.
    """
    return KnownScores(
        weights=weights,
        date=datetime.now().astimezone().date().isoformat(),
        device=device,
        # The platform's name describes a site's machine, and these files are passed on.
        software={name: version for name, version in software_versions().items() if name != "platform"},
        scores={phantom.name: phantom.scores for phantom in scored},
    )


def altered_files(phantoms: Phantoms, baselines: Sequence[Baseline]) -> tuple[str, ...]:
    """How the phantoms differ from those that the baselines list, one short sentence per file."""
    sentences: dict[str, None] = {}
    for baseline in baselines:
        for name in sorted(baseline.files.keys() | phantoms.files.keys()):
            if name not in phantoms.files:
                sentences[f"{name} is not there"] = None
            elif name not in baseline.files:
                sentences[f"{name} was added"] = None
            elif phantoms.files[name] != baseline.files[name]:
                sentences[f"{name} was altered"] = None
    return tuple(sentences)


def compare_scores(now: Mapping[str, Scores], before: Mapping[str, Scores]) -> tuple[ScoreChange, ...]:
    """Changes of each recording's scores, in the order of `now`; recordings that are only in `before` come last."""
    return tuple(_compare(name, now.get(name), before.get(name)) for name in dict.fromkeys((*now, *before)))


def _compare(name: str, now: Scores | None, before: Scores | None) -> ScoreChange:
    if now is None:
        return ScoreChange(name, None, "was scored before and is not there")
    if before is None:
        return ScoreChange(name, None, "has no known scores")
    both = [(i, new, old) for i, (new, old) in enumerate(zip(now, before, strict=False))]
    changes = [(abs(new - old), i, new, old) for i, new, old in both if new is not None and old is not None]
    largest = max(changes, default=None)
    problem = ""
    status_changed = [(i, new) for i, new, old in both if (new is None) != (old is None)]
    if len(now) != len(before):
        problem = f"has {plural(len(now), 'segment')} and had {len(before)}"
    elif status_changed:
        i, new = status_changed[0]
        problem = f"segment {i} is {'unscorable and was scored' if new is None else 'scored and was unscorable'}"
    elif largest is not None and largest[0] > TOLERANCE_POINTS + _ROUNDING:
        distance, i, new_score, old_score = largest
        problem = f"segment {i} changed by {distance:.2f}, from {old_score:.2f} to {new_score:.2f}"
    return ScoreChange(name, None if largest is None else round(largest[0], 3), problem)


def judge(
    altered: Sequence[str], scored: Sequence[ScoredPhantom], changes: Sequence[ScoreChange] | None
) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict, and the reasons against a pass.

    Args:
        altered: from `altered_files`.
        changes: from `compare_scores`; None where no scores of these weights are known.
    """
    reasons = list(altered)
    reasons += [f"{phantom.name} failed: {phantom.outcome.message}" for phantom in scored if phantom.failed]
    failed = {phantom.name for phantom in scored if phantom.failed}
    reasons += [
        f"{change.recording}: {change.problem}"
        for change in changes or ()
        if change.problem and change.recording not in failed
    ]
    if reasons:
        return "FAIL", tuple(reasons)
    return ("NO BASELINE", ()) if changes is None else ("PASS", ())


def first_reasons(reasons: Sequence[str]) -> str:
    """The first few reasons, and how many more there are."""
    more = len(reasons) - _NAMED_REASONS
    return "; ".join(reasons[:_NAMED_REASONS]) + (f"; and {more} more" if more > 0 else "")
