"""ELAN documents for a rater: one for each recording, with an empty annotation on every segment to rate.

Format: ELAN Annotation Format, EAF 3.0 (Max Planck Institute for Psycholinguistics, The Language Archive).
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path

from avpenet_cli.phrasing import printable
from avpenet_cli.storage import atomic_write, make_private_folder
from avpenet_cli.study.scales import Scale, scale_cell

TIER = "rating"
_SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
# ELAN requires a date; the same sample must give the same bytes.
_DATE = "1970-01-01T00:00:00+00:00"
_MIME = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".mpg": "video/mpeg",
    ".mpeg": "video/mpeg",
    ".wav": "audio/x-wav",
}


def write_elan(
    folder: Path, rater: str, places: Sequence[tuple[str, float, float]], scale: Scale, pack_id: str
) -> None:
    """Write one .eaf for each recording, named by its place in the rater's order.

    Args:
        folder: created.
        rater: the tier's annotator and participant.
        places: recording, start_s and end_s of each segment, in the rater's order.
        scale: of the ratings, stated in the document's properties, as is the document's place in the rater's order.
        pack_id: start of the pack's digest, likewise.

    Raises:
        OutputError, EnvironmentUnavailableError: a file cannot be written.
    """
    make_private_folder(folder)
    by_recording: dict[str, list[tuple[float, float]]] = {}
    for recording, start_s, end_s in places:
        by_recording.setdefault(recording, []).append((start_s, end_s))
    digits = max(3, len(str(len(by_recording))))
    for number, (recording, segments) in enumerate(by_recording.items(), 1):
        stated = {"scale": scale_cell(scale), "rater": rater, "order": str(number), "pack": pack_id}
        tree = _document(recording, rater, sorted(segments), stated)
        with atomic_write(folder / f"{number:0{digits}}.eaf") as file:
            tree.write(file, encoding="UTF-8", xml_declaration=True)
            file.write(b"\n")


def _document(
    recording: str, rater: str, segments: Sequence[tuple[float, float]], stated: Mapping[str, str]
) -> ET.ElementTree[ET.Element]:
    ET.register_namespace("xsi", _XSI)
    root = ET.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "",
            "DATE": _DATE,
            "FORMAT": "3.0",
            "VERSION": "3.0",
            f"{{{_XSI}}}noNamespaceSchemaLocation": _SCHEMA,
        },
    )
    header = ET.SubElement(root, "HEADER", {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"})
    kind = _MIME.get(Path(recording).suffix.lower(), "unknown")
    # XML has no control characters.
    address = f"./{printable(recording)}"
    ET.SubElement(header, "MEDIA_DESCRIPTOR", {"MEDIA_URL": address, "MIME_TYPE": kind, "RELATIVE_MEDIA_URL": address})
    for name, value in stated.items():
        ET.SubElement(header, "PROPERTY", {"NAME": name}).text = value
    times = ET.SubElement(root, "TIME_ORDER")
    who = {"ANNOTATOR": rater, "LINGUISTIC_TYPE_REF": TIER, "PARTICIPANT": rater}
    tiers: list[ET.Element] = []
    ends_s: list[float] = []
    moments: list[tuple[int, str]] = []
    for place, (start_s, end_s) in enumerate(segments, 1):
        # Annotations of a tier cannot overlap: segments that do have tiers of their own.
        row = next((row for row, until_s in enumerate(ends_s) if until_s <= start_s), len(tiers))
        if row == len(tiers):
            tiers.append(ET.Element("TIER", who | {"TIER_ID": f"{TIER}-{row + 1}" if row else TIER}))
            ends_s.append(end_s)
        ends_s[row] = end_s
        slots = (f"ts{2 * place - 1}", f"ts{2 * place}")
        for slot, time_s in zip(slots, (start_s, end_s), strict=True):
            moments.append((round(1000 * time_s), slot))
        annotation = ET.SubElement(
            ET.SubElement(tiers[row], "ANNOTATION"),
            "ALIGNABLE_ANNOTATION",
            {"ANNOTATION_ID": f"a{place}", "TIME_SLOT_REF1": slots[0], "TIME_SLOT_REF2": slots[1]},
        )
        ET.SubElement(annotation, "ANNOTATION_VALUE")
    # In the order of time, which the format asks for; where a segment ends and the next begins, that one's end first.
    for time_ms, slot in sorted(moments, key=lambda moment: moment[0]):
        ET.SubElement(times, "TIME_SLOT", {"TIME_SLOT_ID": slot, "TIME_VALUE": str(time_ms)})
    root.extend(tiers)
    ET.SubElement(
        root, "LINGUISTIC_TYPE", {"GRAPHIC_REFERENCES": "false", "LINGUISTIC_TYPE_ID": TIER, "TIME_ALIGNABLE": "true"}
    )
    ET.indent(root)
    return ET.ElementTree(root)
