"""Score tables, manifests and ratings for tests of `avpenet report`, and the command on them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.conftest import Answer

Avpenet = Callable[..., Answer]

FEW_RESAMPLES = ("--bootstrap", "200")
HEADER = "recording,segment,start_s,end_s,score,label,status,reason,flags,weights"
WEIGHTS = "mine@0123456789ab"


def strict_json(text: str) -> Any:
    """JSON as the standard has it, without NaN and infinity."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} in JSON")

    return json.loads(text, parse_constant=refuse)


def run_report(avpenet: Avpenet, out: Path, *args: str | Path) -> dict[str, Any]:
    """Run the command and return what it wrote to report.json."""
    done = avpenet("report", *args, *FEW_RESAMPLES, "--out", out)
    assert done.code == 0, done.err
    document: dict[str, Any] = strict_json(out.with_suffix(".json").read_text())
    return document


def all_tables(study: Path) -> list[str | Path]:
    """Arguments for a report on everything that `make_study` wrote."""
    with_ratings: list[str | Path] = ["--reference", study / "ratings.csv", "--subjects", study / "subjects.csv"]
    return [study / "scores.csv", *with_ratings, "--events", study / "events.csv"]


def write_scores(path: Path, rows: Iterable[tuple[str, float, float | None]], weights: str = WEIGHTS) -> Path:
    """Write a score table of (recording, start_s, score); None is unscorable."""
    lines = [HEADER]
    for place, (recording, start_s, score) in enumerate(rows):
        label = "" if score is None else "low" if score <= 3 else "moderate" if score <= 6 else "high"
        value, status, reason = ("", "unscorable", "no_face") if score is None else (f"{score:.3f}", "scored", "")
        quoted = '"' + recording.replace('"', '""') + '"'
        lines.append(f"{quoted},{place},{start_s},{start_s + 3},{value},{label},{status},{reason},{reason},{weights}")
    path.write_text("\n".join(lines) + "\n")
    return path


def write_ratings(path: Path, rows: Iterable[tuple[str, float, float]]) -> Path:
    """Write a table of ratings of (recording, start_s, value), each of three seconds."""
    lines = ["recording,start_s,end_s,value", *(f"{name},{start},{start + 3},{value}" for name, start, value in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def twelve_recordings(n: int = 60, score: float | None = None) -> list[tuple[str, float, float | None]]:
    """Rows for `write_scores`: `n` segments of twelve recordings, all with `score` where one is given."""
    return [(f"rec{i % 12}.mp4", 3.0 * (i // 12), (i * 37 % 100) / 10 if score is None else score) for i in range(n)]


def write_manifest(scores: Path, entries: list[dict[str, Any]], cut_points: tuple[float, float] = (3.0, 6.0)) -> None:
    """Write the run manifest of a table of `WEIGHTS`, as `avpenet score` does."""
    name, digest = WEIGHTS.split("@")
    manifest = {
        "software": {},
        "weights": {"name": name, "digest": digest, "cut_points": list(cut_points)},
        "timing": {"finished": "2026-11-01T00:00:00+00:00"},
        "table": {"file": scores.name, "sha256": hashlib.sha256(scores.read_bytes()).hexdigest(), "rows": 0},
        "recordings": entries,
    }
    scores.with_suffix(".run.json").write_text(json.dumps(manifest))


def manifest_entry(recording: str, nominal_s: float, scored_s: float, failed: bool = False) -> dict[str, Any]:
    """A recording in a run manifest."""
    return {
        "recording": recording,
        "status": "failed" if failed else "scored",
        "reason": "undecodable" if failed else "",
        "message": "",
        "balance_s": {
            "nominal_s": nominal_s,
            "scored_s": scored_s,
            "unscorable_s": {},
            "undecodable_s": nominal_s - scored_s,
        },
    }
