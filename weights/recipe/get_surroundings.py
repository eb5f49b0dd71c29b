"""Gather real recordings of surroundings and speech from Debian packages, which are free.

    python -m weights.recipe.get_surroundings OUT --debs FOLDER --download

writes OUT/GROUP/PACKAGE__NAME.ogg (16 kHz, mono, Opus, 0.3 to 10 s), OUT/index.csv (file, group, package, licence,
split, seconds) and OUT/excluded.txt, the files left out because a
person or creature may cry, scream or be hurt in them.
Needs dpkg-deb, ffmpeg and, to download 1.2 GB, apt-get.
"""

from __future__ import annotations

import csv
import hashlib
import math
import re
import shutil
import struct
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import scipy.signal
import typer

from weights.recipe.surroundings_groups import PACKAGES, group_of, may_be_pain, split_of

_RATE_HZ = 16_000
_LONGEST_S, _SHORTEST_S, _CLIPS = 10.0, 0.3, 3
_SILENT_PEAK = 0.003
_ENDINGS = {"wav", "ogg", "oga", "mp3", "flac", "opus", "aif", "aiff", "au", "g722", "alaw"}
_RAW_INPUT = {"g722": ["-f", "g722"], "alaw": ["-f", "alaw", "-ar", "8000"]}
_OGG_PAGE_HEADER = 27
_SOUNDFONT_HEADER = 46

Wave = npt.NDArray[np.float32]


def candidates(root: Path) -> Iterator[tuple[str, Path]]:
    """Audio files of an unpacked package, by path within it; containers are opened into its folder first."""
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.suffix in {".pk3", ".rcc", ".cat", ".sf2"} and not path.is_symlink():
            _open_container(path, root / "opened" / path.stem)
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.suffix.lower().lstrip(".") in _ENDINGS:
            yield path.relative_to(root).as_posix(), path


def _open_container(path: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".pk3":
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                if member.rsplit(".", 1)[-1] in _ENDINGS and ".." not in member:
                    archive.extract(member, folder)
        return
    data = path.read_bytes()
    if path.suffix == ".sf2":
        _write_soundfont(data, folder)
    elif path.suffix == ".cat":
        for number, start in enumerate(match.start() for match in re.finditer(b"RIFF....WAVE", data, re.DOTALL)):
            size = int.from_bytes(data[start + 4 : start + 8], "little") + 8
            (folder / f"{_letters(number)}.wav").write_bytes(data[start : start + size])
    else:
        # A Qt resource file: Ogg streams, not compressed, begin at pages that are marked as the first of a stream.
        for number, match in enumerate(re.finditer(rb"OggS\x00\x02", data)):
            (folder / f"{path.stem}_{_letters(number)}.ogg").write_bytes(_ogg_stream(data, match.start()))


def _letters(number: int) -> str:
    """A name of letters, because digits do not tell files apart in `split_of`."""
    return "".join(chr(ord("a") + number // 26**place % 26) for place in (2, 1, 0))


def _ogg_stream(data: bytes, start: int) -> bytes:
    end = start
    while data[end : end + 4] == b"OggS" and (end == start or not data[end + 5] & 2):
        segments = data[end + _OGG_PAGE_HEADER - 1]
        end += _OGG_PAGE_HEADER + segments + sum(data[end + _OGG_PAGE_HEADER : end + _OGG_PAGE_HEADER + segments])
    return data[start:end]


def _write_soundfont(data: bytes, folder: Path) -> None:
    """Write the samples of a SoundFont 2 as WAV files, those of a left channel left out."""
    import soundfile

    audio_at, headers_at = data.index(b"smpl") + 8, data.index(b"shdr") + 8
    count = int.from_bytes(data[headers_at - 4 : headers_at], "little") // _SOUNDFONT_HEADER
    for number in range(count - 1):
        at = headers_at + number * _SOUNDFONT_HEADER
        name = data[at : at + 20].split(b"\0")[0].decode("latin-1")
        start, end, _, _, rate_hz = struct.unpack_from("<5I", data, at + 20)
        samples = np.frombuffer(data, "<i2", max(0, min(end - start, 20 * rate_hz)), audio_at + 2 * start)
        if not name.endswith(("L", "(L)", "-L")) and samples.size:
            soundfile.write(folder / f"{re.sub(r'[^A-Za-z0-9]+', '_', name)}.wav", samples, rate_hz)


def decode(path: Path) -> Wave:
    """First 90 s of a file as (samples,) float32, 16 kHz, mono; empty where nothing can decode it."""
    import soundfile

    try:
        audio, rate_hz = soundfile.read(path, frames=90 * 48_000, dtype="float32", always_2d=True)
    except (RuntimeError, OSError):
        command = ["ffmpeg", "-v", "quiet", *_RAW_INPUT.get(path.suffix.lstrip("."), []), "-i", str(path), "-t", "90"]
        command += ["-f", "f32le", "-ac", "1", "-ar", str(_RATE_HZ), "-"]
        return np.frombuffer(subprocess.run(command, capture_output=True, check=False).stdout, np.float32)
    mono = audio.mean(1)
    common = math.gcd(rate_hz, _RATE_HZ)
    return np.asarray(scipy.signal.resample_poly(mono, _RATE_HZ // common, rate_hz // common), np.float32)


def clips(audio: Wave) -> list[Wave]:
    """Up to three parts of up to 10 s, spread over the recording; none that is silent or shorter than 0.3 s."""
    longest = round(_LONGEST_S * _RATE_HZ)
    count = min(_CLIPS, max(1, audio.size // longest))
    starts = np.linspace(0, max(0, audio.size - longest), count).astype(int)
    parts = [audio[start : start + longest] for start in starts]
    return [part for part in parts if part.size >= _SHORTEST_S * _RATE_HZ and np.abs(part).max() > _SILENT_PEAK]


def licence_of(root: Path, package: str) -> str:
    """Short names of all licences in the package's copyright file."""
    path = root / "usr/share/doc" / package / "copyright"
    text = path.read_text("utf-8", "replace") if path.is_file() else ""
    names = sorted({name.strip() for name in re.findall(r"^License:[ \t]*(\S.*)$", text, re.MULTILINE)})
    if names:
        return "; ".join(names)
    known = re.findall(r"common-licenses/([\w.-]*\w)|(CC[- ]BY[\w. -]*\d)", text)
    return "; ".join(sorted({first or second for first, second in known})) or "see the package's copyright file"


def chosen(root: Path, package: str, excluded: list[str]) -> list[tuple[str, Path]]:
    """The files of a package that are taken, evenly over its files in an order that the names decide."""
    files = []
    for name, path in candidates(root):
        if may_be_pain(name):
            excluded.append(f"{package}: {name}")
        else:
            files.append((name, path))
    # Files of a telling group come first: most of a package of speech is speech.
    default = PACKAGES[package][0]
    files.sort(key=lambda file: (group_of(package, file[0]) == default, hashlib.sha256(file[0].encode()).digest()))
    return files[: PACKAGES[package][1]]


def convert(root: Path, package: str, out: Path, excluded: list[str]) -> Iterator[list[str]]:
    """Write the clips of an unpacked package; yields their rows of the index."""
    import soundfile

    licence = licence_of(root, package)
    for name, path in chosen(root, package, excluded):
        group, split = group_of(package, name), split_of(package, name)
        stem = re.sub(r"[^\w.-]+", "_", "_".join(Path(name).with_suffix("").parts[-2:]))
        for number, clip in enumerate(clips(decode(path))):
            file = Path(group) / f"{package}__{stem}_{number}.ogg"
            (out / group).mkdir(parents=True, exist_ok=True)
            peak = max(1.0, float(np.abs(clip).max()))
            # libsndfile maps a level of 0 to 256 kbit/s and of 1 to 6 kbit/s: this is 24 kbit/s.
            soundfile.write(out / file, clip / peak, _RATE_HZ, "OPUS", format="OGG", compression_level=0.928)
            yield [file.as_posix(), group, package, licence, split, f"{clip.size / _RATE_HZ:.2f}"]


def main(
    out: Annotated[Path, typer.Argument(help="Folder to write to.")],
    debs: Annotated[Path, typer.Option(help="Folder of .deb files.")],
    download: Annotated[bool, typer.Option(help="Call apt-get download for packages that the folder lacks.")] = False,
) -> None:
    """Gather real recordings of surroundings from Debian packages."""
    debs.mkdir(parents=True, exist_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    excluded: list[str] = []
    with (out / "index.csv").open("w", newline="") as index:
        rows = csv.writer(index)
        rows.writerow(["file", "group", "package", "licence", "split", "seconds"])
        for package in PACKAGES:
            if download and not list(debs.glob(f"{package}_*.deb")):
                subprocess.run(["apt-get", "download", "-q", package], cwd=debs, check=True)
            for deb in sorted(debs.glob(f"{package}_*.deb"))[-1:]:
                root = Path(tempfile.mkdtemp())
                try:
                    subprocess.run(["dpkg-deb", "-x", str(deb), str(root)], check=True)
                    written = list(convert(root, package, out, excluded))
                finally:
                    shutil.rmtree(root)
                rows.writerows(written)
                typer.echo(f"{package}: {len(written)} clips")
    (out / "excluded.txt").write_text("\n".join(excluded) + "\n", "utf-8")


if __name__ == "__main__":
    typer.run(main)
