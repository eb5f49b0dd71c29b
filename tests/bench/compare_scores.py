"""Compare two score tables of the same recordings: `python -m tests.bench.compare_scores BEFORE.csv AFTER.csv`.

Prints a Markdown table of how much the scores of each recording differ and which statuses and flags changed, after a
change of the program that moves scores a little.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

_KEYS = ["recording", "segment"]


def compare(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Compare segment by segment.

    Args:
        before, after: score tables, one row for each segment.

    Returns:
        One row for each recording: segments in both tables, segments scored in both, largest and mean absolute
        difference of their scores (points), segments whose status changed, segments whose flags changed.
    """
    both = before.merge(after, on=_KEYS, how="outer", suffixes=("_before", "_after"), indicator=True)
    both["difference"] = (both["score_after"] - both["score_before"]).abs()
    both["in_both"] = both["_merge"] == "both"
    both["scored"] = both["difference"].notna()
    for column in ("status", "flags"):
        old, new = both[f"{column}_before"].fillna(""), both[f"{column}_after"].fillna("")
        both[f"{column}_changed"] = (old != new) | ~both["in_both"]
    groups = both.groupby("recording", sort=True)
    return pd.DataFrame(
        {
            "segments": groups["in_both"].sum(),
            "scored": groups["scored"].sum(),
            "largest": groups["difference"].max(),
            "mean": groups["difference"].mean(),
            "status_changed": groups["status_changed"].sum(),
            "flags_changed": groups["flags_changed"].sum(),
        }
    )


def markdown(table: pd.DataFrame) -> str:
    """The comparison as a Markdown table, recordings that did not change in one row."""
    lines = [
        "| recording | segments | scored in both | largest difference | mean | status changed | flags changed |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    changes = table[["status_changed", "flags_changed"]].sum(axis=1)
    changed = (table["largest"].fillna(0) > 0) | (changes > 0)
    for name, row in table[changed].sort_values("largest", ascending=False).iterrows():
        lines.append(_line(str(name), row))
    same = table[~changed]
    if len(same):
        lines.append(f"| {len(same)} others | {same['segments'].sum()} | {same['scored'].sum()} | 0 | 0 | 0 | 0 |")
    mean = (table["mean"] * table["scored"]).sum() / max(1, table["scored"].sum())
    total = table[["segments", "scored", "status_changed", "flags_changed"]].sum()
    lines.append(_line("all", total, table["largest"].max(), mean))
    return "\n".join(lines)


def _line(name: str, row: pd.Series, largest: float | None = None, mean: float | None = None) -> str:
    top = row["largest"] if largest is None else largest
    middle = row["mean"] if mean is None else mean
    differences = "- | -" if pd.isna(top) else f"{top:.3f} | {middle:.4f}"
    counts = [int(row[name]) for name in ("segments", "scored", "status_changed", "flags_changed")]
    return f"| {name} | {counts[0]} | {counts[1]} | {differences} | {counts[2]} | {counts[3]} |"


def main(paths: list[str]) -> None:
    """Print the comparison of two tables."""
    before, after = (pd.read_csv(Path(path)) for path in paths)
    print(markdown(compare(before, after)))


if __name__ == "__main__":
    main(sys.argv[1:])
