"""Suffixes of the files that count as recordings."""

from __future__ import annotations

import mimetypes
import re
from collections import Counter
from pathlib import PurePath

_VIDEO = """
    3g2 3gp 3gpp amv asf avi dav divx dv dvr-ms f4v flv gxf ismv m2p m2t m2ts m2v m4v mj2 mk3d mkv mod mov mp4 mp4v mpe
    mpeg mpg mpv mts mxf nut ogm ogv ogx qt rm rmvb tod trp ts vob vro webm wmv wtv
    264 265 avc h264 h265 hevc mjpeg mjpg
"""
_AUDIO = """
    3ga aac ac3 aif aifc aiff amr ape au awb bwf caf dss dts eac3 flac m4a m4b mka mp2 mp3 mpa oga ogg opus ra snd spx
    tta voc w64 wav wave weba wma wv
"""

RECORDING_SUFFIXES = frozenset(f".{word}" for word in (_VIDEO + _AUDIO).split())
"""Suffixes of recordings in a folder, in lower case. A file that is named explicitly may have any suffix."""

NO_SUFFIX = "none"
UNCOMMON_SUFFIX = "uncommon"

_PLAIN = re.compile(r"\.[a-z0-9]{1,8}")


def is_recording_name(name: str) -> bool:
    """Whether a file of this name counts as a recording by its suffix."""
    return PurePath(name).suffix.lower() in RECORDING_SUFFIXES


def countable_suffix(name: str) -> str:
    """The suffix under which a file is counted that is no recording.

    Returns:
        A short suffix in lower case with its dot, `none`, or `uncommon` for anything else after the last dot.
    """
    suffix = PurePath(name).suffix.lower()
    return NO_SUFFIX if not suffix else suffix if _PLAIN.fullmatch(suffix) else UNCOMMON_SUFFIX


def without_names(suffixes: Counter[str]) -> Counter[str]:
    """Counts of suffixes, those that no known kind of file has together as `uncommon`.

    What follows the last dot of a name may be part of a person's name, as in `letter to Dr.Doe`.
    """
    known = {NO_SUFFIX} | mimetypes.types_map.keys() | mimetypes.common_types.keys()
    counts: Counter[str] = Counter()
    for suffix, number in suffixes.items():
        counts[suffix if suffix in known else UNCOMMON_SUFFIX] += number
    return counts
