"""Files of ratings of other programs, and the maps that describe them, through `ratings import`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from avpenet_cli.ratings.importing.run import Format
from tests.fuzz.case_target import case_target
from tests.fuzz.cases import Case

_EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
_FILES: dict[Format, tuple[str, str]] = {
    "boris": ("study.boris", "map-boris.toml"),
    "elan": ("elan/*.eaf", ""),
    "redcap": ("redcap.csv", "map-redcap.toml"),
    "csv": ("carma/*.csv", "map-carma.toml"),
}


def _prepare(corpus: Path) -> None:
    import pandas as pd

    from examples.make_rating_files import make_rating_files
    from examples.make_study import make_study

    study = corpus / "study"
    study.mkdir()
    make_study(study, recordings=4, seed=3)
    for source, table in (("phantoms", _EXAMPLES / "phantoms" / "truth.csv"), ("study", study / "ratings.csv")):
        folder = corpus / f"of-{source}"
        make_rating_files(table, folder)
        pd.read_csv(table)[["recording"]].drop_duplicates().to_csv(folder / "recordings.csv", index=False)
        times = pd.read_csv(table)[["recording"]].drop_duplicates().assign(recorded_at="2026-03-04T10:15:00+01:00")
        times.to_csv(folder / "times.csv", index=False)
        for path in _EXAMPLES.glob("map-*.toml"):
            shutil.copy(path, folder)
    shutil.copytree(corpus / "of-phantoms", corpus / "exports")
    _write_exports(corpus / "exports")


def _write_exports(folder: Path) -> None:
    """Exports of BORIS, and an ELAN document with the things that the others lack."""
    from tests.ratings.formats import AGGREGATED, TABULAR, boris_export_row, eaf, write_rows

    aggregated = boris_export_row(
        AGGREGATED,
        behavior="NRS",
        behavior_type="STATE",
        modifier_1="4",
        start="1.5",
        stop="4.5",
        media_file_name="a.mp4",
    )
    write_rows(folder / "aggregated.csv", [AGGREGATED, aggregated])
    tabular = boris_export_row(
        TABULAR, behavior="NIPS", behavior_type="POINT", modifier_1="4", time="1.5", media_file_name="a.mp4"
    )
    write_rows(folder / "tabular.csv", [TABULAR, tabular])
    (folder / "one.eaf").write_text(
        eaf([("NRS", "anna", [(0, 3000, "4"), (None, 9000, "5"), (9000, 12000, "3")])]), encoding="utf-8"
    )


def _reader(kind: Format, pattern: str, map_name: str, *, known: bool) -> Callable[[Path], None]:
    def read(folder: Path) -> None:
        from avpenet_cli.ratings.importing.run import ImportRequest, import_ratings

        import_ratings(
            ImportRequest(
                files=tuple(sorted(folder.glob(pattern))),
                format=kind,
                out=folder / "out.csv",
                map=folder / map_name if map_name else None,
                recordings=(folder / "recordings.csv",) if known else (),
                recorded_at=folder / "times.csv" if known else None,
                left_out=folder / "left.csv",
            )
        )

    return read


def _cases() -> list[Case]:
    cases = []
    for kind, (pattern, map_name) in _FILES.items():
        for source in ("phantoms", "study"):
            if (kind, source) == ("csv", "study"):
                continue  # not of CARMA's bins
            damaged = (pattern, pattern, *([map_name] if map_name else []), "recordings.csv", "times.csv")
            cases.append(
                Case(f"{kind} {source}", f"of-{source}", (pattern,), _reader(kind, pattern, map_name, known=False))
            )
            read = _reader(kind, pattern, map_name, known=True)
            cases.append(Case(f"{kind} {source}, known", f"of-{source}", damaged, read, weight=0.5))
    for name in ("aggregated.csv", "tabular.csv"):
        cases.append(Case(f"boris {name}", "exports", (name,), _reader("boris", name, "", known=False)))
    cases.append(Case("elan one", "exports", ("one.eaf",), _reader("elan", "one.eaf", "", known=False)))
    return cases


IMPORTERS = case_target("importers", "ratings of BORIS, ELAN, REDCap and CARMA", _prepare, _cases(), ci_trials=80)
