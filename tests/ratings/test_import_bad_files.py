"""Every importer, given each kind of bad file, says so in one line and writes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from avpenet_cli.errors import ExitCode, SettingsError
from avpenet_cli.ratings.importing.run import Format, ImportRequest, import_ratings
from avpenet_cli.study.ratings import read_ratings
from examples.make_rating_files import make_rating_files

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FILES: dict[Format, tuple[str, str | None]] = {
    "boris": ("study.boris", "map-boris.toml"),
    "elan": ("elan/001.eaf", None),
    "redcap": ("redcap.csv", "map-redcap.toml"),
    "csv": ("carma/001_truth.csv", "map-carma.toml"),
}
OTHER: dict[Format, Format] = {"boris": "elan", "elan": "csv", "redcap": "boris", "csv": "redcap"}
NO_SCALE: dict[Format, str] = {
    "boris": "no behaviour has the name of a scale ('XYZ')",
    "elan": "no tier has the name of a scale ('XYZ@truth')",
    "redcap": "line 3: unknown scale 'XYZ'; use NRS, VAS",
    "csv": "line 10: unknown scale 'XYZ'; use NRS, VAS",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    make_rating_files(EXAMPLES / "phantoms" / "truth.csv", folder)
    return folder


class Case:
    """A file of a format, to be spoilt, and its refusal."""

    def __init__(self, made: Path, folder: Path, kind: Format) -> None:
        name, map_name = FILES[kind]
        self.made, self.folder, self.kind = made, folder, kind
        self.raw = (made / name).read_bytes()
        self.file = folder / Path(name).name
        self.map_text = (EXAMPLES / map_name).read_text() if map_name else ""

    def refusal(self, raw: bytes, *more: Path, recordings: tuple[Path, ...] = ()) -> str:
        self.file.write_bytes(raw)
        map_file, out = self.folder / "map.toml", self.folder / "out.csv"
        map_file.write_text(self.map_text)
        request = ImportRequest(
            (self.file, *more), self.kind, out, map_file if self.map_text else None, recordings=recordings
        )
        with pytest.raises(SettingsError) as refused:
            import_ratings(request)
        assert refused.value.exit_code == ExitCode.USAGE
        assert "\n" not in str(refused.value)
        assert not out.exists()
        return str(refused.value)


@pytest.fixture(params=list(FILES))
def case(made: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Case:
    return Case(made, tmp_path, request.param)


def test_a_file_of_another_program(case: Case) -> None:
    line = case.refusal((case.made / FILES[OTHER[case.kind]][0]).read_bytes())
    assert str(case.file) in line
    assert any(words in line for words in ("is no BORIS project", "is no ELAN file", "is not a", "its columns:")), line


def test_half_a_file(case: Case) -> None:
    half = case.raw[: case.raw.index(b"\n", len(case.raw) // 2) + 2]
    line = case.refusal(half)
    assert str(case.file) in line
    assert "line " in line
    assert "half of one" in line or "check that the file is whole" in line


def test_another_encoding(case: Case) -> None:
    # Of a rater, or of the recording in a file that names no rater.
    line = case.refusal(case.raw.replace(b"truth" if b"truth" in case.raw else b"P0001", "Zoë".encode("cp1252")))
    assert "is not in UTF-8" in line or "not well-formed (invalid token)" in line


def test_media_that_are_no_recordings_of_the_study(case: Case) -> None:
    scores = case.folder / "scores.csv"
    scores.write_text("recording\nother.mp4\n")
    assert "none of its recordings is among those of scores.csv" in case.refusal(case.raw, recordings=(scores,))


def test_rows_that_overlap(case: Case) -> None:
    again = case.folder / f"again_{case.file.name}"
    again.write_bytes(case.raw)
    line = case.refusal(case.raw, again)
    assert "truth rated " in line
    assert f"twice at times that overlap: 0 to 1 s ({case.file.name} " in line


def test_an_unknown_scale(case: Case) -> None:
    case.map_text = case.map_text.replace('"NRS"', '"XYZ"')
    assert NO_SCALE[case.kind] in case.refusal(case.raw.replace(b"NRS", b"XYZ"))


def test_a_table_cut_anywhere_is_refused_said_or_a_part_of_the_whole(tmp_path: Path) -> None:
    rows = [f"ward/Mü.mp4;{start};{start + 10};anna;{value};VAS" for start, value in ((0, "7,25"), (10, "50,5"))]
    whole = ("recording;start_s;end_s;rater;value;scale\r\n" + "\r\n".join(rows) + "\r\n").encode("utf-16")
    file, out = tmp_path / "a.csv", tmp_path / "out.csv"
    kept = {"whole": 0, "refused": 0}
    for length in range(len(whole) // 2, len(whole) + 1):
        file.write_bytes(whole[:length])
        try:
            summary = import_ratings(ImportRequest((file,), "csv", out, overwrite=True))
        except SettingsError:
            kept["refused"] += 1
            continue
        table = read_ratings(out).rows
        said = any("its last line has no end" in notice for notice in summary.notices)
        # Half of a value or a rater never passes unseen; `VAS` cut to `VA` is no scale.
        assert said or table["value"].tolist() in ([0.725], [0.725, 5.05]), whole[:length][-40:]
        kept["whole"] += 1
    assert min(kept.values()) > 0
