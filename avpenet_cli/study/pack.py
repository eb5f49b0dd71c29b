"""`pack.json`: which segments were sampled for raters, how, and with which limit, fixed before any rating."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from avpenet_cli.errors import SettingsError
from avpenet_cli.storage import content_digest, write_json
from avpenet_cli.textfiles import parse_json

PACK_VERSION = 1
PACK_FILE = "pack.json"
PACK_NOTICE = (
    "NOT FOR RATERS: the strata follow from the scores. Keep this file apart from the raters' folders until all "
    "ratings are in."
)
ID_CHARACTERS = 16
"""Of the digest, in the column `pack` of the rating sheets."""

_RESAMPLE = "use the file as `avpenet ratings sample` wrote it"


@dataclass(frozen=True)
class PackFile:
    """A table that the sample was drawn from.

    Attributes:
        name: without its folder.
        sha256: of its bytes, hexadecimal.
        scores_digest: of a score table: SHA-256 over recording, times and score of its segments, see
            `score_tables.scores_digest`; empty for another table.
    """

    name: str
    sha256: str
    scores_digest: str = ""


@dataclass(frozen=True)
class PackDesign:
    """How the sample was drawn and dealt to raters.

    Attributes:
        n: sampled segments.
        seed: of every random choice.
        stratify: `score` (the three classes) and columns of the table of subjects; empty for one stratum.
        cut_points: upper ends of the classes low and moderate, points.
        allocation: of the sample to the strata and, within each, to the patients.
        raters: names in the sheets.
        overlap: share of the segments that all raters are given, 0 to 1.
        scale: that the sheets ask for.
    """

    n: int
    seed: int
    stratify: tuple[str, ...]
    cut_points: tuple[float, float]
    allocation: str
    raters: tuple[str, ...]
    overlap: float
    scale: str


@dataclass(frozen=True)
class PackFrame:
    """What could have been sampled.

    Attributes:
        segments: number of segments that could be drawn.
        recordings: their recordings.
        subjects: their patients.
        subjects_known: whether a table of subjects was given; otherwise each recording counts as a patient.
        left_out: segments without a score, which were not drawn from.
        most_of_one_subject: the most sampled segments of one patient.
    """

    segments: int
    recordings: int
    subjects: int
    subjects_known: bool
    left_out: int
    most_of_one_subject: int


@dataclass(frozen=True)
class PackStratum:
    """A stratum.

    Attributes:
        levels: level of each column that the sample is stratified by.
        segments: that could be drawn.
        subjects: of those.
        sampled: that were drawn.
        fraction: of the stratum's segments that were drawn, 0 to 1; 0 for an empty stratum.
    """

    levels: dict[str, str]
    segments: int
    subjects: int
    sampled: int
    fraction: float


@dataclass(frozen=True)
class PackSegment:
    """A sampled segment.

    Attributes:
        recording: as in the score table.
        start_s: seconds after the recording's start.
        end_s: seconds after the recording's start.
        stratum: its place in the strata, from 0.
        probability: with which it was drawn, over 0 and up to 1; its inverse is the weight of the segment.
        order: of every rater who is to rate it, the place in the rater's sheet, from 1.
    """

    recording: str
    start_s: float
    end_s: float
    stratum: int
    probability: float
    order: dict[str, int]


@dataclass(frozen=True)
class Pack:
    """A sample of segments for raters, as `pack.json` holds it.

    Attributes:
        version: of this format.
        notice: that the file is not for raters.
        software: name and version of the program that drew the sample.
        scores: score tables that were sampled; empty where recordings were sampled before they had scores.
        scores_digest: SHA-256 over recording, times and score of every segment of those tables, see
            `score_tables.scores_digest`; empty without scores.
        subjects: table of subjects; null without one.
        weights: of the scores, as the table states them; empty without scores.
        design: how the sample was drawn.
        frame: what could have been sampled.
        limit_points: acceptance limit fixed with the sample, points; null without one.
        limit_source: where it comes from.
        strata: all of them, with their sampling fractions.
        segments: the sample, in the order of the tables.
        digest: SHA-256 over everything else in this file, hexadecimal.
    """

    version: int
    notice: str
    software: str
    scores: tuple[PackFile, ...]
    scores_digest: str
    subjects: PackFile | None
    weights: str
    design: PackDesign
    frame: PackFrame
    limit_points: float | None
    limit_source: str
    strata: tuple[PackStratum, ...]
    segments: tuple[PackSegment, ...]
    digest: str = field(default="")

    @property
    def pack_id(self) -> str:
        """The start of the digest, by which rating sheets name their pack."""
        return self.digest[:ID_CHARACTERS]


def sealed(pack: Pack) -> Pack:
    """The same pack with its digest."""
    return replace(pack, digest=content_digest(asdict(pack)))


def write_pack(path: Path, pack: Pack) -> None:
    """Write a sealed pack, readable by its owner only; raises as `storage.atomic_write`."""
    write_json(path, asdict(pack))


def pack_file(path: Path) -> PackFile:
    """Name and digest of a pack's file."""
    return PackFile(path.name, hashlib.sha256(path.read_bytes()).hexdigest())


def read_pack(path: Path) -> Pack:
    """Read a pack and check the digest over its content.

    Raises:
        SettingsError: no such file, not a pack, of a later version, or changed since it was written.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        content = parse_json(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such file", "give the pack.json of avpenet ratings sample") from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}", "check the file") from None
    except ValueError:
        raise SettingsError(f"{path} is not a pack: not JSON", _RESAMPLE) from None
    if not isinstance(content, dict) or not {"version", "design", "segments", "digest"} <= content.keys():
        raise SettingsError(f"{path} is not a pack: it lacks what a pack.json holds", _RESAMPLE)
    if content["version"] != PACK_VERSION:
        raise SettingsError(
            f"{path}: packs of version {content['version']!r} are not known to this program",
            f"it reads version {PACK_VERSION}; use the program that wrote it",
        )
    try:
        intact = content["digest"] == content_digest(content)
    except ValueError:
        intact = False
    if not intact:
        raise SettingsError(f"{path} was changed after it was written: its digest does not fit", _RESAMPLE)
    try:
        return TypeAdapter(Pack).validate_python(content)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise SettingsError(f"{path} is not a pack: {where} is not as it should be", _RESAMPLE) from None
