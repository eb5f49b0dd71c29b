"""A blinded, stratified sample of segments for raters: from tables or recordings to a folder of files."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from avpenet_cli.errors import SettingsError
from avpenet_cli.phrasing import plural
from avpenet_cli.ratings.sampling_draw import ALLOCATION, Draw, deal, draw
from avpenet_cli.ratings.sampling_frame import Frame, read_frame
from avpenet_cli.ratings.sheet_files import SheetRow, write_rater_folder
from avpenet_cli.runs.history import ReadFile, locked_history
from avpenet_cli.runs.outputs import prepare_output_directory
from avpenet_cli.storage import storage_fault
from avpenet_cli.study.pack import (
    PACK_FILE,
    PACK_NOTICE,
    PACK_VERSION,
    Pack,
    PackDesign,
    PackFrame,
    PackSegment,
    PackStratum,
    sealed,
    write_pack,
)
from avpenet_cli.study.scales import DEFAULT_SCALE, HIGHEST_POINTS, Scale, ScaleError, parse_scale
from avpenet_cli.version import __version__

_MOST_RATERS = 50
_NAMED = 3
_UNFINISHED = ".unfinished-"
_PROBABILITY_DECIMALS = 9


@dataclass(frozen=True)
class SampleRequest:
    """A sample to draw.

    Attributes:
        sources: score tables, or recordings and folders of recordings.
        n: segments to draw.
        out: folder to write, new or empty.
        stratify: `score` and columns of the table of subjects.
        seed: of every random choice.
        subjects: table of subjects; None: every recording counts as a patient.
        raters: number of raters, 1 to 50.
        overlap: share of the segments that all raters rate, 0 to 1.
        scale: that the raters use.
        limit_points: acceptance limit to fix with the sample, points; None for none.
        limit_source: where it comes from.
        allow_empty_strata: draw although some combinations of levels have no segment.
        command: for the history, without folders; empty from the library.

    Raises:
        SettingsError: a value out of its range, or a limit without a source.
    """

    sources: tuple[str, ...]
    n: int
    out: Path
    stratify: tuple[str, ...] = ()
    seed: int = 42
    subjects: Path | None = None
    raters: int = 3
    overlap: float = 1.0
    scale: str = DEFAULT_SCALE
    limit_points: float | None = None
    limit_source: str = ""
    allow_empty_strata: bool = False
    command: str = ""

    def __post_init__(self) -> None:
        limit = self.limit_points
        if self.n < 1:
            raise SettingsError(f"--n {self.n}: no sample", "give the number of segments to draw")
        if not 1 <= self.raters <= _MOST_RATERS:
            raise SettingsError(f"--raters {self.raters}: out of range", f"give 1 to {_MOST_RATERS}")
        if not 0 <= self.overlap <= 1:
            raise SettingsError(f"--overlap {self.overlap:g}: not a share", "give 0 (none) to 1 (all segments)")
        if limit is not None and not 0 < limit <= HIGHEST_POINTS:
            raise SettingsError(
                f"--limit {limit:g}: not a distance on the 0-10 scale", "give points, over 0 and up to 10"
            )
        if limit is not None and not self.limit_source.strip():
            raise SettingsError("--limit without --limit-source", "say where the limit comes from")
        if limit is None and self.limit_source.strip():
            raise SettingsError("--limit-source without --limit", "give the limit, in points")
        if len(set(self.stratify)) < len(self.stratify):
            raise SettingsError(f"--stratify {','.join(self.stratify)}: a column twice", "name each once")
        self.parsed_scale  # noqa: B018  (refused here, before any table is read)

    @property
    def parsed_scale(self) -> Scale:
        """The scale.

        Raises:
            SettingsError: it is not known and has no range.
        """
        try:
            return parse_scale(self.scale.strip())
        except ScaleError as error:
            raise SettingsError(f"--scale: {error.problem}", error.remedy) from None


@dataclass(frozen=True)
class Sample:
    """A sample that was drawn.

    Attributes:
        pack: as in `pack.json`.
        notices: what a person should know.
    """

    pack: Pack
    notices: tuple[str, ...]


def draw_sample(request: SampleRequest) -> Sample:
    """Draw a sample and write `pack.json` and a folder for every rater; the same request gives the same bytes, but for
    the history of `pack.json`, which states when it was drawn.

    Raises:
        SettingsError: the tables cannot be used, strata without a segment, or more segments asked for than there are.
        OutputError, EnvironmentUnavailableError: the folder is not empty or cannot be written.
    """
    started = datetime.now(UTC)
    frame = read_frame(request.sources, request.subjects, request.stratify)
    _check_strata(frame, request)
    rng = np.random.default_rng(request.seed)
    subject = frame.segments["subject"].astype("category").cat.codes.to_numpy().astype(np.int64)
    drawn = draw(frame.stratum, subject, len(frame.strata), request.n, rng)
    stratum = frame.stratum[drawn.rows]
    given = deal(stratum, request.raters, request.overlap, rng)
    raters = tuple(f"rater-{number}" for number in range(1, request.raters + 1))
    orders: list[dict[str, int]] = [{} for _ in drawn.rows]
    sheets = []
    for rater, name in enumerate(raters):
        sequence = rng.permutation(np.flatnonzero(given[:, rater])).tolist()
        sheets.append(sequence)
        for place, segment in enumerate(sequence, 1):
            orders[segment][name] = place
    pack = _pack(request, frame, drawn, subject, orders, raters)
    prepare_output_directory(request.out, lambda name: False)
    tables = (*(("scores", file) for file in pack.scores), *((("subjects", pack.subjects),) if pack.subjects else ()))
    read = [ReadFile(content, file.name, file.sha256, file.scores_digest) for content, file in tables]
    path = request.out / PACK_FILE
    with locked_history(path) as history:
        _write(request, pack, sheets)
        history.append("ratings sample", written=[path], read=read, command=request.command, started=started)
    return Sample(pack, frame.notices)


def _write(request: SampleRequest, pack: Pack, sheets: Sequence[Sequence[int]]) -> None:
    """Write the pack, and for every rater the segments of a sheet in its order."""
    with _appearing_at_end(request.out) as folder:
        for name, sequence in zip(pack.design.raters, sheets, strict=True):
            rows = [
                SheetRow(place, segment.recording, segment.start_s, segment.end_s)
                for place, segment in enumerate((pack.segments[index] for index in sequence), 1)
            ]
            write_rater_folder(folder / name, name, rows, request.parsed_scale, pack.pack_id)
        write_pack(folder / PACK_FILE, pack)


def _check_strata(frame: Frame, request: SampleRequest) -> None:
    sizes = np.bincount(frame.stratum, minlength=len(frame.strata))
    n_segments, empty = len(frame.segments), np.flatnonzero(sizes == 0)
    if request.n > n_segments:
        raise SettingsError(f"--n {request.n}: only {plural(n_segments, 'segment')} can be drawn", "draw fewer")
    if empty.size and not request.allow_empty_strata:
        named = "; ".join(_named(frame.strata[place]) for place in empty[:_NAMED].tolist())
        more = f"; and {empty.size - _NAMED} more" if empty.size > _NAMED else ""
        raise SettingsError(
            f"{empty.size} of {len(frame.strata)} strata have no segment to draw: {named}{more}",
            "leave out a column of --stratify, or accept them with --allow-empty-strata",
        )
    filled = len(frame.strata) - empty.size
    if request.n < filled:
        raise SettingsError(
            f"--n {request.n}: fewer than the {filled} strata", "draw more, or leave out a column of --stratify"
        )


def _named(levels: dict[str, str]) -> str:
    return ", ".join(f"{column} {level}" for column, level in levels.items())


def _pack(
    request: SampleRequest,
    frame: Frame,
    drawn: Draw,
    subject: np.ndarray[tuple[int], np.dtype[np.int64]],
    orders: list[dict[str, int]],
    raters: tuple[str, ...],
) -> Pack:
    strata = []
    for place, levels in enumerate(frame.strata):
        members = frame.stratum == place
        size, sampled = int(members.sum()), int(drawn.sampled[place])
        fraction = round(sampled / size, _PROBABILITY_DECIMALS) if size else 0.0
        strata.append(PackStratum(levels, size, len(np.unique(subject[members])), sampled, fraction))
    rows = frame.segments.iloc[drawn.rows]
    columns = (rows["recording"], rows["start_s"], rows["end_s"])
    segments = tuple(
        PackSegment(str(recording), float(start_s), float(end_s), int(stratum), float(probability), order)
        for recording, start_s, end_s, stratum, probability, order in zip(
            *columns, frame.stratum[drawn.rows], drawn.probability.round(_PROBABILITY_DECIMALS), orders, strict=True
        )
    )
    return sealed(
        Pack(
            version=PACK_VERSION,
            notice=PACK_NOTICE,
            software=f"avpenet {__version__}",
            scores=frame.scores,
            scores_digest=frame.scores_digest,
            subjects=frame.subjects,
            weights=frame.weights,
            design=PackDesign(
                n=request.n,
                seed=request.seed,
                stratify=request.stratify,
                cut_points=frame.cut_points,
                allocation=ALLOCATION,
                raters=raters,
                overlap=float(request.overlap),
                scale=request.parsed_scale.label,
            ),
            frame=PackFrame(
                segments=len(frame.segments),
                recordings=int(frame.segments["recording"].nunique()),
                subjects=int(frame.segments["subject"].nunique()),
                subjects_known=frame.subjects is not None,
                left_out=frame.left_out,
                most_of_one_subject=int(np.bincount(subject[drawn.rows]).max()),
            ),
            limit_points=None if request.limit_points is None else float(request.limit_points),
            limit_source=request.limit_source.strip(),
            strata=tuple(strata),
            segments=segments,
        )
    )


@contextlib.contextmanager
def _appearing_at_end(folder: Path) -> Iterator[Path]:
    """A hidden folder whose content is moved into `folder` when the block ends well, `pack.json` last.

    The caller has the lock: those that killed runs left behind are removed.
    """
    try:
        for left_behind in folder.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(left_behind, ignore_errors=True)
        unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=folder))
    except OSError as error:
        raise storage_fault(folder, error) from None
    try:
        yield unfinished
        for path in sorted(unfinished.iterdir(), key=lambda path: path.name == PACK_FILE):
            path.rename(folder / path.name)
    except OSError as error:
        raise storage_fault(folder, error) from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
