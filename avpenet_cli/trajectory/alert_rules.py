"""Rules by which alerts are raised on a series of scores, and the shape of their file, `alerts.toml`."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from avpenet_cli.errors import SettingsError, reason
from avpenet_cli.settings import from_dict
from avpenet_cli.textfiles import decode_text, parse_toml

_STRICT = ConfigDict(extra="forbid")
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,59}$")]
Text = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*\S[^\x00-\x1f\x7f]*$", max_length=300)]
# Strict, because TOML's true would otherwise be 1.
Points = Annotated[float, Field(strict=True, ge=0.0, le=10.0)]
PointsOfChange = Annotated[float, Field(strict=True, gt=0.0, le=10.0)]
Quality = Annotated[float, Field(strict=True, ge=0.0, le=1.0)]
Seconds = Annotated[float, Field(strict=True, gt=0.0, le=86_400.0)]
Pause = Annotated[float, Field(strict=True, ge=0.0, le=86_400.0)]
Minutes = Annotated[float, Field(strict=True, gt=0.0, le=1_440.0)]
Flag = Annotated[bool, Field(strict=True)]


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class _AnyRule:
    """What every rule has."""

    name: Name
    """What tables call it: small letters, digits, dots, dashes."""
    text: Text
    """What an alert says."""
    of: Literal["level", "score"] = "level"
    """`level`: what the filter knew at the end of each segment, from the scores until then; `score`: each score."""


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class _ScoreRule(_AnyRule):
    min_quality: Quality = 0.0
    """A segment below this quality counts as one without a score; so does one of unknown quality, unless this is 0."""
    certain: Flag = False
    """Take the end of the 95 % interval that makes the alert less likely, in place of the value."""


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class AboveRule(_ScoreRule):
    """Above `points` for `for_s` without interruption; a segment without a score interrupts."""

    kind: Literal["above"]
    points: Points
    """The value has to be above this."""
    for_s: Seconds
    """From the start of the first such segment to the end of the last, s."""
    rearm_s: Pause = 10.0
    """An alert ends when the rule has not been met for this long, s; until then, meeting it prolongs the alert."""


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class RiseRule(_ScoreRule):
    """`points` or more above the lowest value of the last `within_s`, in the same recording."""

    kind: Literal["rise"]
    points: PointsOfChange
    """Least rise."""
    within_s: Seconds
    """Between the ends of the two segments, s; segments without a score between them do not matter."""
    rearm_s: Pause = 10.0
    """As for `above`."""


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class NoDeclineRule(_ScoreRule):
    """No decline of `points` within `within_min` after an event."""

    kind: Literal["no_decline"]
    event: Text
    """Label of the event, in capitals or not."""
    points: PointsOfChange
    """A decline is at least this, from the last value before the event."""
    within_min: Minutes
    """Any segment that ends within this time can show the decline, min."""
    from_points: Points | None = None
    """Events at a lower value are passed over; by default `points`, below which there is no room for the decline."""


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class LowConfidenceRule(_AnyRule):
    """For `for_min` no score, or too low a quality, or too wide an interval."""

    kind: Literal["low_confidence"]
    for_min: Minutes
    """From the start of the first such segment to the end of the last, min."""
    min_quality: Quality = 0.0
    """Segments below this quality count; those of unknown quality do not."""
    max_width: PointsOfChange | None = None
    """Segments whose 95 % interval is wider than this count, points; of the level or of the score, by `of`."""
    rearm_s: Pause = 10.0
    """As for `above`."""


Rule = AboveRule | RiseRule | NoDeclineRule | LowConfidenceRule

KINDS: dict[str, type[Rule]] = {
    "above": AboveRule,
    "rise": RiseRule,
    "no_decline": NoDeclineRule,
    "low_confidence": LowConfidenceRule,
}


@dataclasses.dataclass(frozen=True)
class RulesFile:
    """What a file of rules contained, and the SHA-256 of the very bytes that were read, hexadecimal."""

    rules: tuple[Rule, ...]
    sha256: str


def read_rules(path: Path) -> tuple[Rule, ...]:
    """The rules of a file, see `read_rules_file`."""
    return read_rules_file(path).rules


def read_rules_file(path: Path) -> RulesFile:
    """Read a TOML file with one table `[[rules]]` for each rule.

    Raises:
        SettingsError: the file cannot be read or is not TOML; it has no rules or something else; a rule is of an
            unknown kind, lacks a setting, has one that does not exist or is out of range, or has another rule's name.
            Names the file, the rule and the setting.
    """
    try:
        data = path.read_bytes()
        content = parse_toml(decode_text(data, str(path)).text)
    except (OSError, ValueError) as error:
        raise SettingsError(f"cannot read the rules {path}: {reason(error)}", "correct it, or the path") from None
    others = [name for name in content if name != "rules"]
    if others:
        raise SettingsError(f"{path}: {others[0]} is not known here", "begin each rule with a line [[rules]]")
    tables = content.get("rules")
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise SettingsError(f"{path}: there are no rules", "begin each rule with a line [[rules]]")
    rules = tuple(_rule(table, number, path) for number, table in enumerate(tables, 1))
    names: set[str] = set()
    for rule in rules:
        if rule.name in names:
            raise SettingsError(f"{path}: two rules are called {rule.name}", "give each a name of its own")
        names.add(rule.name)
    return RulesFile(rules, hashlib.sha256(data).hexdigest())


def _rule(table: dict[str, Any], number: int, path: Path) -> Rule:
    name = table.get("name")
    where = f"{path}: rule {number}" + (f" ({name})" if isinstance(name, str) and name.isprintable() else "")
    kind = table.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        problem = "kind is missing" if kind is None else f"kind = {kind!r} is not known"
        raise SettingsError(f"{where}: {problem}", f"give one of {', '.join(KINDS)}")
    for field in dataclasses.fields(KINDS[kind]):
        needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if needed and field.name not in table:
            raise SettingsError(f"{where}: {field.name} is missing", f"a rule {kind} needs it")
    return from_dict(KINDS[kind], table, where)
