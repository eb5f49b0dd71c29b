"""Months as people write them become one form, which sorts in order of time."""

from __future__ import annotations

import pytest

from avpenet_cli.study.months import month_of, month_of_date


@pytest.mark.parametrize(
    "text",
    [
        *("2026-01", "2026/1", "01/2026", "1.2026", "202601", "2026-01-15", "2026-01-15 08:30", "20260115"),
        *("Jan 2026", "january 2026", "JAN. 2026", "Jan-26", "Jan '26", "2026 Jan", " Jan\u00a02026 "),
    ],
)
def test_months_are_read_in_every_form(text: str) -> None:
    assert month_of(text) == "2026-01"


@pytest.mark.parametrize(
    "text", ["", "1", "Jan", "2026", "2026-13", "0/2026", "15/01/2026", "spring", "Mai 2026", "Ma 26"]
)
def test_what_is_no_month_is_not_guessed(text: str) -> None:
    assert month_of(text) is None


def test_dates_are_iso_8601_only() -> None:
    assert month_of_date("2026-09-30T10:00") == "2026-09" == month_of("Sept 2026")
    assert month_of_date("30.09.2026") is None
    assert month_of_date("2026-09-30 or later") is None
