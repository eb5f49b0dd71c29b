"""From a file to scores in one process: evidence, missing streams, pooling variants, repeatability."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from avpenet_cli.errors import RecordingError, SettingsError
from avpenet_cli.model.architecture import Architecture, Modality
from avpenet_cli.pipeline.evidence import FrontEnd
from avpenet_cli.pipeline.timer import StageTimer
from avpenet_cli.pipeline.windows import balance
from avpenet_cli.records import Flag, RecordingOutcome, Status
from avpenet_cli.scoring.encoder_threads import EncoderThreads
from avpenet_cli.scoring.network import Network
from avpenet_cli.scoring.pools import EmbeddingPool, ImagePool
from avpenet_cli.scoring.scorer import Scorer
from avpenet_cli.settings import RunSettings
from avpenet_cli.weights import UNTRAINED, find
from tests.conftest import ClipMaker

SMALL = ("240x180", 5.0)
"""Size and frame rate: every second place on the frame grid repeats a frame, whose faces are encoded once."""


@pytest.fixture(scope="module")
def network() -> Network:
    return Network(find(UNTRAINED), RunSettings(device="cpu"))


@pytest.fixture(scope="module")
def scorer(network: Network) -> Scorer:
    return Scorer(network, RunSettings(device="cpu"))


def scores(outcome: RecordingOutcome) -> list[float | None]:
    return [segment.score for segment in outcome.segments]


def test_clip_with_face_and_voice_is_scored_with_every_second_in_the_balance(scorer: Scorer, clips: ClipMaker) -> None:
    outcome = scorer.score(clips.face(7.0, *SMALL))
    assert outcome.status is Status.SCORED
    assert [(s.start_s, s.end_s, s.status) for s in outcome.segments] == [
        (0.0, 3.0, Status.SCORED),
        (3.0, 6.0, Status.SCORED),
    ]
    assert all(s.score is not None and 0 <= s.score <= 10 for s in outcome.segments)
    assert all(s.modalities == "audio+face" for s in outcome.segments)
    assert all(s.quality.face_rate == 1 and s.quality.faces == 1 for s in outcome.segments)
    assert outcome.orientation_deg == 0
    assert outcome.balance is not None
    assert abs(outcome.balance.unaccounted_s) < 0.1
    assert outcome.balance.unscorable_s["tail_too_short"] == pytest.approx(1.0, abs=0.1)


def test_scores_do_not_depend_on_batch_size_stride_or_earlier_recordings(
    network: Network, scorer: Scorer, clips: ClipMaker
) -> None:
    clip = clips.face(6.0, *SMALL)
    first = scorer.score(clip)
    assert scorer.score(clip).segments == first.segments
    for batch_size, stride_s in ((1, 3.0), (64, 1.0)):
        run = RunSettings(device="cpu", batch_size=batch_size, stride_s=stride_s)
        other = Scorer(Network(find(UNTRAINED), run), run).score(clip)
        shared = [s for s in other.segments if s.start_s in (0.0, 3.0)]
        for segment, again in zip(first.segments, shared, strict=True):
            assert segment.score == pytest.approx(again.score, abs=5e-4)
            assert segment.quality.face_rate == again.quality.face_rate
            assert segment.quality.voiced == again.quality.voiced


def test_patient_out_of_frame_gets_no_score_there(scorer: Scorer, clips: ClipMaker) -> None:
    outcome = scorer.score(clips.face(6.0, *SMALL, away_s=(3.0, 6.0)))
    here, away = outcome.segments
    assert here.status is Status.SCORED
    assert (away.status, away.score, away.reason, away.label) == (Status.UNSCORABLE, None, "no_face", "")
    assert Flag.NO_FACE in away.flags


def test_audio_that_had_to_be_corrected_is_flagged_and_described(scorer: Scorer, clips: ClipMaker) -> None:
    voice = "0.2*sin(2*PI*400*t)*gt(sin(2*t),0)"
    source = f"aevalsrc='0.1+{voice}|0.1-{voice}':s=16000:d=3"
    outcome = scorer.score(clips.ffmpeg("-f", "lavfi", "-i", source, "-c:a", "pcm_s16le", suffix=".wav"))
    (segment,) = outcome.segments
    assert Flag.AUDIO_CORRECTED in segment.flags
    assert Flag.SILENT not in segment.flags
    assert segment.quality.level_dbfs == pytest.approx(-20, abs=1)
    audio = outcome.facts["audio"]
    assert isinstance(audio, dict)
    assert audio["corrections"] == [
        "channel 2 is inverted; its sign was changed",
        "a DC offset of 10 % of full scale was removed",
    ]


def test_silence_is_scored_but_a_missing_audio_stream_is_not(scorer: Scorer, clips: ClipMaker) -> None:
    (mute,) = scorer.score(clips.face(3.0, *SMALL, audio=None)).segments
    assert (mute.status, mute.reason) == (Status.UNSCORABLE, "no_audio")
    assert Flag.NO_AUDIO in mute.flags
    assert mute.quality.level_dbfs is None
    (quiet,) = scorer.score(clips.face(3.0, *SMALL, audio="silence")).segments
    assert quiet.status is Status.SCORED
    assert quiet.score is not None
    assert Flag.SILENT in quiet.flags


def test_rotated_face_is_scored_like_the_upright_one(scorer: Scorer, clips: ClipMaker) -> None:
    upright = scorer.score(clips.face(seconds=3.0))
    turned = scorer.score(clips.face(seconds=3.0, rotate_deg=90))
    assert turned.orientation_deg == 270
    assert Flag.ROTATED in turned.segments[0].flags
    assert scores(turned)[0] == pytest.approx(scores(upright)[0], abs=0.1)


def test_file_that_does_not_decode_fails_with_its_stated_length(
    scorer: Scorer, clips: ClipMaker, tmp_path: Path
) -> None:
    whole = bytearray(clips.face(seconds=3.0, audio=None).read_bytes())
    start = whole.index(b"mdat") + 4
    size = int.from_bytes(whole[start - 8 : start - 4], "big") - 8
    whole[start : start + size] = bytes(size)
    path = tmp_path / "hollow.mp4"
    path.write_bytes(whole)
    with pytest.raises(RecordingError, match=r"states 3\.0 s, but nothing decodes") as failure:
        scorer.score(path)
    assert failure.value.code == "nothing_decodes"


def test_fragments_of_audio_without_frames_get_no_score(scorer: Scorer, shared: Path) -> None:
    path = shared / "data" / "cries" / "dac_hu_04_f_1430045366784.3gp"
    outcome = scorer.score(path)
    assert outcome.status is Status.UNSCORABLE
    assert {segment.reason for segment in outcome.segments} == {"no_video"}
    with pytest.raises(RecordingError, match="not a recording"):
        scorer.score(Path(__file__))


def test_monte_carlo_intervals_hold_their_samples_and_repeat(clips: ClipMaker) -> None:
    run = RunSettings(device="cpu", mc_samples=20)
    network = Network(find(UNTRAINED), run)
    first, second = (Scorer(network, run).score(clips.brief()).segments[0] for _ in range(2))
    assert first == second
    assert first.score_sd is not None
    assert first.score_lo is not None
    assert first.score_hi is not None
    assert first.score_lo < first.score_hi
    assert first.score_sd > 0


@pytest.mark.parametrize("may_be_missing", [("audio",), ("audio", "face")])
def test_weights_that_allow_it_score_without_a_modality(may_be_missing: tuple[Modality, ...], clips: ClipMaker) -> None:
    architecture = Architecture(may_be_missing=may_be_missing)
    lenient = Network(find(UNTRAINED), RunSettings(device="cpu"))
    lenient.description = dataclasses.replace(lenient.description, architecture=architecture)
    lenient.model.architecture = architecture
    mute = clips.face(3.0, *SMALL, audio=None)
    (segment,) = Scorer(lenient, RunSettings(device="cpu")).score(mute).segments
    assert segment.status is Status.SCORED
    assert segment.score is not None
    assert segment.modalities == "face"
    assert Flag.NO_AUDIO in segment.flags
    (refused,) = Scorer(lenient, RunSettings(device="cpu", require=("audio",))).score(mute).segments
    assert (refused.status, refused.score, refused.reason) == (Status.UNSCORABLE, None, "no_audio")
    assert refused.modalities == ""


def test_score_of_audio_alone_says_so_unless_a_face_is_required(clips: ClipMaker) -> None:
    lenient = Network(find(UNTRAINED), RunSettings(device="cpu"))
    architecture = Architecture(may_be_missing=("audio", "face"))
    lenient.description = dataclasses.replace(lenient.description, architecture=architecture)
    lenient.model.architecture = architecture
    clip = clips.face(6.0, *SMALL, away_s=(3.0, 6.0))
    here, away = Scorer(lenient, RunSettings(device="cpu")).score(clip).segments
    assert (here.modalities, away.modalities) == ("audio+face", "audio")
    _, away = Scorer(lenient, RunSettings(device="cpu", require=("audio", "face"))).score(clip).segments
    assert (away.status, away.reason, away.modalities) == (Status.UNSCORABLE, "no_face", "")
    audio_only = dataclasses.replace(lenient.description, modalities=("audio",), architecture=Architecture())
    lenient.description = audio_only
    with pytest.raises(SettingsError, match=r"do not take face; require only audio"):
        Scorer(lenient, RunSettings(device="cpu", require=("face",)))


def crops(count: int) -> Iterator[np.ndarray]:
    random = np.random.RandomState(0)
    for _ in range(count):
        yield random.randint(0, 256, (224, 224, 3)).astype(np.uint8)


def test_image_pooling_encodes_the_mean_crop_of_each_window(network: Network) -> None:
    pool = ImagePool(EncoderThreads(network, StageTimer()), batch_size=2, stride_frames=10)
    made = list(crops(50))
    for slot, crop in enumerate(made):
        pool.add(slot, 0, crop)
        pool.flush_before(slot + 1)
    pool.finish()
    for first in (0, 10, 20):
        mean = np.asarray(np.mean(made[first : first + 30], axis=0, dtype=np.float32))
        expected = network.encode_faces([mean])
        tokens = pool.features(range(first, first + 30), [0])
        assert tokens is not None
        np.testing.assert_allclose(tokens, expected, atol=1e-4)
    assert pool.features(range(0, 30), [1]) is None


def test_frame_pooling_selects_the_patients_embeddings_in_time_order(network: Network) -> None:
    pool = EmbeddingPool(EncoderThreads(network, StageTimer()), batch_size=3)
    made = list(crops(8))
    for slot in range(4):
        pool.add(slot, 0, made[2 * slot])
        pool.add(slot, 1, made[2 * slot + 1])
    pool.finish()
    expected = network.encode_faces([made[3], made[5], made[7]])
    tokens = pool.features(range(1, 30), [1])
    assert tokens is not None
    np.testing.assert_allclose(tokens, expected, atol=1e-4)


def test_face_that_stays_on_screen_is_encoded_once(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """A camera with few frames a second repeats its frames; a face that comes back later is encoded again."""
    encoded: list[int] = []
    encode = network.model.encode_faces

    def encode_counting(faces: torch.Tensor) -> torch.Tensor:
        encoded.append(len(faces))
        return encode(faces)

    monkeypatch.setattr(network.model, "encode_faces", encode_counting)
    pool = EmbeddingPool(EncoderThreads(network, StageTimer()), batch_size=16)
    first, second, other = crops(3)
    frames = [(first, other), (first.copy(), other), (second, other), (first, first), (first, first)]
    for slot, (left, right) in enumerate(frames):
        pool.add(slot, 0, left)
        pool.add(slot, 1, right)
        pool.flush_before(slot + 1)
    pool.finish()
    assert sum(encoded) == 5
    for track in (0, 1):
        features = pool.features(range(5), [track])
        assert features is not None
        np.testing.assert_allclose(features, network.encode_faces([pair[track] for pair in frames]), atol=1e-4)


def test_encoders_receive_the_normalised_crop(network: Network) -> None:
    (crop,) = crops(1)
    pixels = torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.inference_mode():
        expected = network.model.encode_faces((pixels - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1))
    np.testing.assert_allclose(network.encode_faces([crop]), expected.numpy(), atol=1e-5)


# Expected outcome of each real clip: (segments, scored, reasons, flags of the first segment).
REAL_CLIPS: dict[str, tuple[int, int, set[str], set[Flag]]] = {
    "grid_bbaf2n.mpg": (1, 1, set(), set()),
    "grid_brbk7n.mpg": (1, 1, set(), set()),
    "grid_lwbsza.mpg": (1, 1, set(), set()),
    "grid_swiz3n.mpg": (1, 1, set(), set()),
    "grid_four_speakers_12s.mp4": (4, 4, set(), set()),
    "pyfeat_face_noface.mov": (2, 0, {"no_audio", "no_face"}, {Flag.AUDIO_GAP}),
    "pyfeat_noface_face.mov": (2, 1, {"no_face"}, {Flag.NO_FACE}),
    "pyfeat_single_face.mp4": (1, 1, set(), {Flag.SHORT_TAIL, Flag.SILENT}),
    "pyfeat_no_face.mp4": (1, 0, {"no_face"}, {Flag.NO_FACE}),
    "intel_asl_book.mkv": (1, 0, {"no_audio"}, {Flag.NO_AUDIO}),
    "intel_asl_yes.mkv": (1, 0, {"no_audio"}, {Flag.NO_AUDIO, Flag.SHORT_TAIL}),
    "intel_head-pose-face-detection-female-and-male.gif": (2, 0, {"no_audio"}, {Flag.SEVERAL_FACES}),
    "intel_classroom.gif": (1, 0, {"no_audio"}, {Flag.SEVERAL_FACES, Flag.SMALL_FACE}),
    "intel_bottle-detection.mp4": (13, 0, {"no_face"}, {Flag.NO_FACE, Flag.NO_AUDIO}),
    "autoeditor_example_voice_noface.mp4": (14, 0, {"no_face"}, {Flag.NO_FACE}),
    "autoeditor_h264-png.mp4": (1, 0, {"no_face"}, {Flag.SHORT_TAIL}),
    "autoeditor_testsrc_with_attachment.mkv": (1, 0, {"no_face"}, {Flag.SHORT_TAIL}),
    "autoeditor_webvtt.mkv": (1, 0, {"no_face"}, {Flag.SHORT_TAIL}),
    "autoeditor_testsrc-hevc.mp4": (1, 0, {"no_face"}, {Flag.SHORT_TAIL}),
    "autoeditor_test_yuv422p.mp4": (1, 0, {"no_face"}, {Flag.SHORT_TAIL}),
    "autoeditor_SAR-2by3.mp4": (1, 0, {"no_face"}, {Flag.SHORT_TAIL}),
    "decord_corrupted.mp4": (2, 0, {"no_face"}, {Flag.DAMAGED, Flag.NO_AUDIO}),
    "decord_video_0.mov": (0, 0, set(), set()),
    "decord_video_90.mov": (0, 0, set(), set()),
    "decord_video_180.mov": (0, 0, set(), set()),
    "decord_unordered.mov": (0, 0, set(), set()),
}


class FacePresence:
    """A pool that notes where faces are and encodes nothing: the evidence does not depend on the networks."""

    def __init__(self) -> None:
        self._seen: set[tuple[int, int]] = set()

    def add(self, slot: int, track: int, crop: np.ndarray) -> None:
        self._seen.add((slot, track))

    def flush_before(self, slot: int) -> None:
        pass

    def finish(self) -> None:
        pass

    def features(self, slots: range, tracks: Sequence[int]) -> int | None:
        return sum((slot, track) in self._seen for slot in slots for track in tracks) or None


@pytest.mark.slow
def test_real_clips_have_their_expected_evidence(network: Network, shared: Path) -> None:
    folder = shared / "data" / "videos"
    assert {path.name for path in folder.iterdir()} == set(REAL_CLIPS)
    needed = network.description.modalities_needed
    front_end = FrontEnd(network.description.preprocessing, RunSettings(device="cpu"), needed, network.device)
    for name, (segments, scored, reasons, flags) in REAL_CLIPS.items():
        evidence = front_end.read(folder / name, FacePresence(), StageTimer())
        audio = itertools.zip_longest(evidence.plan, front_end.iter_segment_audio(evidence))
        records = [front_end.assess_segment(evidence, window, heard).record for window, heard in audio]
        assert len(records) == segments, name
        assert sum(record.status is Status.SCORED for record in records) == scored, name
        assert {record.reason for record in records if record.reason} == reasons, name
        assert flags <= {flag for record in records[:1] for flag in record.flags}, name
        balanced = balance(evidence.nominal_s, evidence.length_s, records)
        assert abs(balanced.unaccounted_s) < 0.1, name


@pytest.mark.slow
def test_scores_follow_the_evidence(scorer: Scorer, shared: Path) -> None:
    for name in ("grid_bbaf2n.mpg", "pyfeat_noface_face.mov"):
        outcome = scorer.score(shared / "data" / "videos" / name)
        assert [segment.score is not None for segment in outcome.segments] == [
            segment.status is Status.SCORED for segment in outcome.segments
        ]
        assert sum(segment.score is not None for segment in outcome.segments) == REAL_CLIPS[name][1]
