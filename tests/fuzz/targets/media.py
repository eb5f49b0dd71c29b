"""Recordings: damaged containers and streams, through the program's own probe and decoders."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.campaign import Target
from tests.fuzz.mutations import Rng, damage_media
from tests.fuzz.trials import Limits, Misbehaviour, Outcome, check_end, run_trial, wait_children, working_folder

_REPOSITORY = Path(__file__).resolve().parents[3]
_SHARED = _REPOSITORY.parent / "shared"
_LARGEST_BYTES = 1 << 20
"""Of a shared clip that is used: larger ones take too long."""
_VIDEO = ("-f", "lavfi", "-i", "testsrc2=size=96x64:rate=10:duration=1.5")
_AUDIO = ("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=16000:duration=1.5")
_FORMATS: dict[str, tuple[str, ...]] = {
    "h264.mp4": (*_VIDEO, *_AUDIO, "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"),
    "fragmented.mp4": (*_VIDEO, *_AUDIO, "-c:v", "mpeg4", "-movflags", "frag_keyframe+empty_moov"),
    "rotated.mov": (*_VIDEO, *_AUDIO, "-c:v", "mpeg4", "-c:a", "pcm_s16le"),
    "h264.mkv": (*_VIDEO, *_AUDIO, "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "flac"),
    "vp8.webm": (*_VIDEO, *_AUDIO, "-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libopus"),
    "mjpeg.avi": (*_VIDEO, *_AUDIO, "-c:v", "mjpeg", "-c:a", "pcm_s16le"),
    "mpeg2.ts": (*_VIDEO, *_AUDIO, "-c:v", "mpeg2video", "-c:a", "mp2"),
    "mpeg.mpg": (*_VIDEO, *_AUDIO, "-c:v", "mpeg2video", "-r", "25", "-c:a", "mp2"),
    "wmv.wmv": (*_VIDEO, *_AUDIO, "-c:v", "wmv2", "-c:a", "wmav2"),
    "flv.flv": (*_VIDEO, *_AUDIO, "-c:v", "flv", "-ar", "44100", "-c:a", "aac"),
    "pcm.wav": (*_AUDIO, "-c:a", "pcm_s16le"),
    "stereo.wav": (*_AUDIO, "-ac", "2", "-c:a", "pcm_s24le"),
    "mp3.mp3": (*_AUDIO, "-c:a", "libmp3lame"),
    "vorbis.ogg": (*_AUDIO, "-c:a", "libvorbis"),
    "flac.flac": (*_AUDIO,),
    "aac.m4a": (*_AUDIO, "-c:a", "aac"),
}
_SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".webm", ".wav", ".mp3", ".ogg", ".ts", ".mpg")
_BATCH = 12
"""Damaged files of one `avpenet score`."""
_WHOLE = "pcm.wav"
"""That is scored with them."""


def _prepare(corpus: Path) -> None:
    for name, arguments in _FORMATS.items():
        command = ["ffmpeg", "-v", "error", "-nostdin", "-y", *arguments, "-t", "1.5", str(corpus / name)]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode != 0:  # this ffmpeg has no such encoder
            (corpus / name).unlink(missing_ok=True)
    if not any(corpus.iterdir()):
        raise RuntimeError("ffmpeg made no recording")
    for number, path in enumerate(_shared_clips()):
        shutil.copy(path, corpus / f"shared-{number:03}{path.suffix}")


def _check(corpus: Path) -> None:
    """Whole recordings decode: of damaged ones the decoders would see little otherwise."""
    for path in _made(corpus):
        outcome = _read(path)
        if outcome != "decoded":
            raise ValueError(f"media, {path.name}: an intact recording: {outcome}")


def _made(corpus: Path) -> list[Path]:
    """The recordings that are made here."""
    return sorted(path for path in corpus.iterdir() if not path.name.startswith("shared-"))


def _shared_clips() -> list[Path]:
    """Short real clips, where there are any."""
    if os.environ.get("CI") or not _SHARED.is_dir():
        return []
    paths = (path for path in sorted(_SHARED.rglob("*")) if path.suffix.lower() in (*_SUFFIXES, ".m4v", ".flac"))
    small = [path for path in paths if path.is_file() and path.stat().st_size <= _LARGEST_BYTES]
    return small[:: max(1, len(small) // 60)]


def _damaged(rng: Rng, corpus: Path, folder: Path, number: int = 0) -> Path:
    """A damaged recording; now and then under another format's suffix."""
    # Half of the trials take the files that are made here, whatever there is besides.
    made = _made(corpus)
    every = sorted(corpus.iterdir())
    source = rng.choice(made if rng.random() < 0.5 else every)
    data = damage_media(rng, source.read_bytes(), [rng.choice(made).read_bytes()])
    suffix = source.suffix if rng.random() < 0.9 else rng.choice(_SUFFIXES)
    path = folder / f"{source.stem}-{number:03}{suffix}"
    path.write_bytes(data)
    return path


def _read(path: Path) -> str:
    """Probe and decode a recording, and check what is said of it."""
    import numpy as np

    from avpenet_cli.media.audio import WaveformStream
    from avpenet_cli.media.probe import probe
    from avpenet_cli.media.video import FrameStream
    from avpenet_cli.media.wholeness import is_whole
    from avpenet_cli.settings import DecodingSettings

    decoding = DecodingSettings(probe_timeout_s=20.0, stall_s=15.0, threads=1)
    facts = probe(path, decoding)
    stated = [facts.nominal_s, facts.start_s, *(stream.start_s for stream in (facts.video, facts.audio) if stream)]
    if not all(map(math.isfinite, stated)) or facts.nominal_s < 0:
        raise Misbehaviour(f"times that are none in a header: {stated}")
    is_whole(path, facts.container)
    decoded = 0.0
    if facts.video is not None:
        frames, last = FrameStream(path, facts, decoding), -1
        for count, frame in enumerate(frames):
            if frame.slot <= last:
                raise Misbehaviour(f"slot {frame.slot} after slot {last}")
            last = frame.slot
            if count % 10 == 0 and frame.image.part(0, 0, *frame.image.size).shape != (*frame.image.size[::-1], 3):
                raise Misbehaviour("a frame that is no image")
        decoded = (last + 1) / 10
        _check_line(frames.decode_error, frames.decoder_warning)
    if facts.audio is not None:
        audio, count = WaveformStream(path, facts, decoding), 0
        for block in audio:
            if block.dtype != np.float32 or block.ndim != 1:
                raise Misbehaviour(f"a block of {block.dtype}, {block.ndim} dimensions")
            count += block.size
        if any(end < start for start, end in audio.present) or audio.end_s < 0:
            raise Misbehaviour(f"audio from {audio.present}")
        decoded = max(decoded, count / audio.rate_hz)
        _check_line(audio.decode_error, audio.decoder_warning, *audio.notes)
    wait_children()
    return "decoded" if decoded else "nothing decoded"


def _check_line(*said: str) -> None:
    """What tables and messages quote of a decoder is one line, without the path of the descriptor."""
    for line in said:
        if "\n" in line or "/dev/fd" in line:
            raise Misbehaviour(f"a message of a decoder: {line!r}")


def _trial(rng: Rng, corpus: Path, keep: Path | None) -> Outcome:
    with working_folder() as folder:
        path = _damaged(rng, corpus, folder)
        if keep is not None:
            shutil.copytree(folder, keep, dirs_exist_ok=True)
        outcome = run_trial(path.suffix, lambda: _read(path), MEDIA.limits)
    return outcome


def _score(folder: Path, paths: Sequence[Path]) -> str:
    """Score damaged recordings and, as the last, a whole one, in one command; every file is accounted for."""
    import pandas as pd

    out = folder / "scores.csv"
    arguments = ["score", *map(str, paths), "--out", str(out), "--weights", "untrained", "--device", "cpu", "--strict"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "-m", "avpenet_cli", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment,
        timeout=SCORE.limits.seconds,
        check=False,
    )
    # A line for each recording that fails, and some for warnings.
    check_end("score", ended.returncode, ended.stderr.decode("utf-8", "replace"), (0, 1), 3 * len(paths) + 12)
    table = pd.read_csv(folder / "scores.recordings.csv")
    missing = {path.name for path in paths} - set(table["recording"])
    if missing or len(table) != len(paths):
        raise Misbehaviour(f"recordings that are not in the table: {sorted(missing)}")
    if table["status"].isna().any():
        raise Misbehaviour("recordings without a status")
    whole = table.loc[table["recording"] == paths[-1].name, "status"].item()
    if whole != "unscorable":  # it has no video
        raise Misbehaviour(f"the whole recording is {whole}")
    return ", ".join(sorted(set(table["status"])))


def _score_trial(rng: Rng, corpus: Path, keep: Path | None) -> Outcome:
    with working_folder() as folder:
        paths = [_damaged(rng, corpus, folder, number) for number in range(_BATCH)]
        whole = folder / _WHOLE
        shutil.copy(corpus / _WHOLE, whole)
        paths.append(whole)
        if keep is not None:
            shutil.copytree(folder, keep, dirs_exist_ok=True)
        return run_trial(f"{_BATCH} files", lambda: _score(folder, paths), SCORE.limits)


MEDIA = Target(
    "media",
    "recordings in every container, through probe and decoders",
    _prepare,
    _trial,
    Limits(seconds=120.0, memory_mib=768.0, child_mib=1536.0),
    ci_trials=12,
    check=_check,
)
SCORE = Target(
    "score",
    f"`avpenet score` of {_BATCH} damaged recordings at a time",
    _prepare,
    _score_trial,
    Limits(seconds=600.0, child_mib=3072.0),
    ci_trials=1,
)
