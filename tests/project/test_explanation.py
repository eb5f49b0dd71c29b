"""The explanation pages state the constants of the code and name only files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from avpenet_cli.model.losses import LossSettings
from avpenet_cli.settings import AudioSettings, FaceSettings, QualitySettings
from avpenet_cli.stats.bootstrap import FEWEST_SUBJECTS, Resampling
from avpenet_cli.training.settings import TrainSettings
from avpenet_cli.weights import find

DOCS = Path(__file__).resolve().parents[2] / "docs"
REPOSITORY = DOCS.parent
PAGES = sorted([*DOCS.glob("explanation/**/*.md"), DOCS / "glossary.md", REPOSITORY / "CHANGELOG.md"])


def words_of(page: str) -> str:
    """The page's text on one line."""
    return " ".join((DOCS / page).read_text(encoding="utf-8").split())


def method_statements() -> list[str]:
    audio, face, quality, loss, train = (
        AudioSettings(),
        FaceSettings(),
        QualitySettings(),
        LossSettings(),
        TrainSettings(),
    )
    one, two = train.stage_1, train.stage_2
    return [
        f"a = {audio.over_subtraction}, b = {audio.spectral_floor}",
        f'`denoise = "{audio.denoise}"`',
        f"the quietest {100 * audio.quiet_share:.0f} % (`quiet_share`)",
        f"`noise_frames = {audio.noise_frames}`",
        f"Hann window of {audio.denoise_fft_samples} samples and a hop of {audio.denoise_hop_samples} samples",
        f"Frames of {audio.vad_frame_samples} samples with a hop of {audio.vad_hop_samples}",
        f"E = sum of x^2 > {audio.vad_energy} and spectral flatness < {audio.vad_flatness}",
        f"{audio.fft_samples} samples (25 ms), {audio.hop_samples} samples (10 ms)",
        f"{audio.mel_bands} triangular, {audio.mel_low_hz:.0f} to {audio.mel_high_hz:,.0f} Hz",
        f"padded with zeros or trimmed to {audio.mel_frames} frames",
        f"thresholds {', '.join(map(str, face.stage_thresholds))}, pyramid factor {face.pyramid_factor}",
        f"a long side of {face.detect_long_side_px} px",
        f"{face.min_face_px} px in the working copy",
        f"lowest confidence | {face.min_confidence} |",
        f"larger by {100 * face.box_margin:.0f} % of its width and height",
        f"{face.crop_px} x {face.crop_px}",
        f"mean ({', '.join(map(str, face.pixel_mean))}) and standard deviation ({', '.join(map(str, face.pixel_std))})",
        f"the patient's face in under {100 * quality.min_face_rate:.0f} % of its frames",
        f"confidence is under {quality.low_confidence} is flagged",
        f"under {quality.silent_dbfs:.0f} dBFS RMS is flagged `silent`",
        f"L = {loss.mse_weight} MSE + {loss.ordinal_weight} ordinal + {loss.boundary_weight} boundary",
        f"|y_i - y_j| > {loss.ordinal_margin}",
        f"epochs | 1 to {one.epochs} | {one.epochs + 1} to {train.epochs} |",
        f"learning rate of the encoders | frozen | {_rate(two.encoder_rate)} |",
        f"learning rate of fusion and head | {_rate(one.fusion_rate)} | {_rate(two.fusion_rate)} |",
        f"weight decay {train.weight_decay}; cosine decay to {_rate(train.final_rate)}; gradient norm clipped at "
        f"{train.gradient_norm}; label smoothing {train.label_smoothing}, towards 5; mixup with alpha "
        f"{train.mixup_alpha}",
        f"effective batch {train.batch_size * train.accumulate} ({train.batch_size} segments, accumulated over "
        f"{train.accumulate} batches)",
        f"a patience of {train.patience_epochs} epochs; seed {train.seed}",
        f"time stretch by {train.audio.stretch[0]} to {train.audio.stretch[1]}, pitch shift by up to "
        f"{train.audio.pitch_semitones:.0f} semitones",
        f"white noise at {train.audio.noise_snr_db[0]:.0f} to {train.audio.noise_snr_db[1]:.0f} dB",
        f"Rotation within +-{train.face.rotation_deg:.0f} degrees",
        f"translation within +-{train.face.translation_px:.0f} px",
        f"scale {train.face.scale[0]} to {train.face.scale[1]}, brightness and contrast within "
        f"+-{100 * train.face.brightness:.0f} %",
        f"`face.probability = {train.face.probability}`",
    ]


def _rate(value: float) -> str:
    return f"{value:.0e}".replace("e-0", "e-")


@pytest.mark.parametrize("statement", method_statements())
def test_method_page_states_the_constants_of_the_code(statement: str) -> None:
    assert statement in words_of("explanation/method.md")


def test_statistics_page_states_the_bootstrap_of_the_code() -> None:
    page, usual = words_of("explanation/statistics.md"), Resampling()
    assert f"{usual.replicates:,} times (`--bootstrap`), with a fixed seed (`--seed`, {usual.seed})" in page
    assert f"At least {FEWEST_SUBJECTS} subjects. No interval" in page


def test_model_card_describes_the_bundled_weights() -> None:
    page, entry = words_of("explanation/model-card.md"), find("avpenet-phantom")
    assert entry.path is not None
    assert entry.digest[:12] in page
    assert f"{entry.description.n_parameters:,} parameters" in page
    assert f"{entry.path.stat().st_size / 1e6:.0f} MB" in page


def test_every_decision_record_is_listed_once() -> None:
    folder = DOCS / "explanation" / "decisions"
    listed = re.findall(r"^\d{4}-[a-z0-9-]+$", (folder / "index.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert listed == [path.stem for path in sorted(folder.glob("[0-9]*.md"))]
    assert [int(name[:4]) for name in listed] == list(range(1, len(listed) + 1))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"(?<![\w/.])(?:avpenet_cli|tests|docs|weights)/[\w./-]*\w", text)
    assert not [name for name in named if not (REPOSITORY / name).exists()]
