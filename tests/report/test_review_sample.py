"""The control sample: every score has the same chance, many subjects are in it, and its mean is that of all scores."""

from __future__ import annotations

import numpy as np
import pandas as pd

from avpenet_cli.report.review_sample import draw_control

UNEVEN = {"a": 40, "b": 1, "c": 7, "d": 3, "e": 9}


def table(lengths: dict[str, int]) -> pd.DataFrame:
    """Segments of one recording per subject."""
    rows = [(f"{name}.mp4", name, 3.0 * place) for name, length in lengths.items() for place in range(length)]
    frame = pd.DataFrame(rows, columns=["recording", "subject", "start_s"])
    return frame.assign(end_s=frame["start_s"] + 3.0)


def test_every_score_has_the_stated_chance_and_the_plain_mean_is_unbiased() -> None:
    scored, draws = table(UNEVEN), 500
    counts, means = np.zeros(len(scored)), []
    # Wrong far more often in the subject with most segments, and in one with a single segment.
    wrong = scored["subject"].map({"a": 0.5, "b": 1.0, "c": 0.0, "d": 0.0, "e": 0.1}).to_numpy()
    for seed in range(draws):
        sample = draw_control(scored, seed, 12)
        assert len(set(sample.rows)) == 12
        counts[sample.rows] += 1
        means.append(wrong[sample.rows].mean())
    assert sample.probability == 12 / 60
    standard_error = np.sqrt(0.2 * 0.8 / draws)
    assert np.abs(counts / draws - 0.2).max() < 4.5 * standard_error
    assert abs(np.mean(means) - wrong.mean()) < 4 * np.std(means) / np.sqrt(draws)


def test_as_many_subjects_as_there_are_places() -> None:
    many = draw_control(table({f"p{place:03}": 20 for place in range(100)}), 7)
    assert many.n_subjects == len(many.rows) == 30
    few = draw_control(table(UNEVEN), 7, 30)
    of_subject = table(UNEVEN)["subject"][few.rows].value_counts()
    # In proportion to the subjects' segments, up to rounding.
    assert of_subject["a"] == 20 and abs(of_subject["e"] - 4.5) < 1


def test_few_scores_are_all_in_it() -> None:
    assert sorted(draw_control(table({"a": 3, "b": 2}), 1).rows) == [0, 1, 2, 3, 4]
    empty = draw_control(table({}), 1)
    assert len(empty.rows) == 0 and empty.probability == 0


def test_the_sample_depends_on_the_seed_and_not_on_the_order_of_the_table() -> None:
    scored = table(UNEVEN)
    shuffled = scored.sample(frac=1, random_state=3).astype({"recording": "category"})
    assert draw_control(scored, 42).rows.tolist() == draw_control(shuffled, 42).rows.tolist()
    assert draw_control(scored, 42).rows.tolist() != draw_control(scored, 43).rows.tolist()


def test_the_sample_stays_the_same_from_version_to_version() -> None:
    """A list handed out by one version is read by the next."""
    assert draw_control(table(UNEVEN), 42, 6).rows.tolist() == [26, 45, 16, 14, 6, 52]
