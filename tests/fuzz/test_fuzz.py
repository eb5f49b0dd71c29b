"""A seeded minute of the fuzzers: what they try is read or refused, and a campaign resumes where it ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.campaign import Campaign
from tests.fuzz.failing import FAILING
from tests.fuzz.targets import TARGETS

SEED = 0


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files_are_read_or_refused(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]
    # Commands and decoders have tests of their own with intact files, which take long.
    campaign = Campaign(target, SEED, tmp_path, check=name not in ("commands", "media"))
    campaign.run(target.ci_trials)
    if name == "media":
        assert any(label.endswith(": decoded") for label in campaign.progress.outcomes)
    assert campaign.progress.findings == {}, "\n".join(found["detail"] for found in campaign.progress.findings.values())
    assert campaign.progress.next == sum(campaign.progress.outcomes.values()) == target.ci_trials


def test_every_way_to_fail_is_found_once_and_the_next_call_resumes(tmp_path: Path) -> None:
    said: list[str] = []
    for until in (3, 3, 9):
        campaign = Campaign(FAILING, SEED, tmp_path, said.append)
        campaign.run(until)
        assert campaign.progress.next == until
    findings = campaign.progress.findings
    assert {(found["kind"], found["trial"], found["count"]) for found in findings.values()} == {
        ("exception", 1, 2),
        ("crash", 2, 1),
        ("memory", 3, 1),
        ("timeout", 4, 1),
        ("misbehaviour", 5, 1),
        ("descriptors", 6, 1),
    }
    assert len(said) == len(findings)
    assert campaign.progress.outcomes["case: read"] == 4
    assert (tmp_path / "findings" / "failing-0-1" / "file").read_text() == "1"
