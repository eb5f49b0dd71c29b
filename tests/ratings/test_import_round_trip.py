"""The same ratings, written as each program writes them, come back as the table that they were made from."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from avpenet_cli.ratings.importing.run import Format, ImportRequest, import_ratings
from avpenet_cli.study.ratings import read_ratings
from examples.make_rating_files import make_rating_files

REPOSITORY = Path(__file__).resolve().parents[2]
PHANTOMS = REPOSITORY / "examples" / "phantoms"


def sorted_rows(table: Path) -> pd.DataFrame:
    rows = read_ratings(table).rows.drop(columns="line")
    return rows.sort_values(["recording", "rater", "start_s"]).reset_index(drop=True)


PROGRAMS: dict[Format, tuple[str, str | None]] = {
    "boris": ("study.boris", "map-boris.toml"),
    "elan": ("elan/*.eaf", None),
    "redcap": ("redcap.csv", "map-redcap.toml"),
    "csv": ("carma/*.csv", "map-carma.toml"),
}


@pytest.mark.parametrize(
    ("ratings", "kind"),
    [
        *(("phantoms", kind) for kind in PROGRAMS),
        # Not CARMA: the study's ratings are not of its bins.
        *(("study", kind) for kind in PROGRAMS if kind != "csv"),
    ],
)
def test_round_trip(tmp_path: Path, study: Path, ratings: str, kind: Format) -> None:
    files, map_name = PROGRAMS[kind]
    table = PHANTOMS / "truth.csv" if ratings == "phantoms" else study / "ratings.csv"
    expected = sorted_rows(table)
    make_rating_files(table, tmp_path / "made")
    recordings = tmp_path / "recordings.csv"
    expected["recording"].drop_duplicates().to_csv(recordings, index=False)
    request = ImportRequest(
        files=tuple(sorted((tmp_path / "made").glob(files))),
        format=kind,
        out=tmp_path / "out.csv",
        map=REPOSITORY / "examples" / map_name if map_name else None,
        recordings=(recordings,),
    )
    summary = import_ratings(request)
    assert summary.unmatched == {}
    assert summary.unrated == 0
    assert summary.ratings == len(expected)
    for count in summary.files:
        assert count.rows == count.imported + sum(count.left_out.values())
    pd.testing.assert_frame_equal(sorted_rows(request.out), expected, atol=0.0005)


def test_the_map_in_the_guide_is_the_example() -> None:
    guide = (REPOSITORY / "docs" / "how-to" / "import-ratings.md").read_text(encoding="utf-8")
    assert f"```toml\n{(REPOSITORY / 'examples' / 'map-carma.toml').read_text()}```\n" in guide
