"""ELAN: annotation files (.eaf, XML; the ELAN Annotation Format, versions 2.0 to 3.0).

Read with expat, which tells the line of each annotation. A document type declaration, and with it every entity, is
refused: EAF has none, and entities can make a small file fill the memory or read other files.
"""

from __future__ import annotations

import xml.parsers.expat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from avpenet_cli.errors import SettingsError, reason
from avpenet_cli.keys import tidy
from avpenet_cli.ratings.importing.rating_map import RatingColumns, RatingMap
from avpenet_cli.ratings.importing.source import Media, Source, SourceRow, column_key, refuse_media_and_times
from avpenet_cli.study.scales import ScaleError, parse_scale
from avpenet_cli.study.sheets import quoted

TIER, TYPE, ANNOTATOR, PARTICIPANT, RATER, VALUE = "Tier", "Type", "Annotator", "Participant", "Rater", "Value"
PACK, ORDER = "Pack", "Order"
SHEET_TIER = "rating"
"""Tier of the documents of `avpenet ratings sample`; for segments that overlap there are `rating-2` and so on."""
_COLUMNS = (TIER, TYPE, ANNOTATOR, PARTICIPANT, RATER, VALUE)
_REMEDY = "give an annotation file that ELAN saved (.eaf)"
_LONGEST_MS = 10**12
NO_TIME = "an annotation that is not aligned with time"


@dataclass
class _Annotation:
    identifier: str
    tier: int
    line: int
    slots: tuple[str, str] | None
    parent: str
    text: str = ""


@dataclass
class _Document:
    """What the parser finds.

    Attributes:
        units: of the time slots.
        media: attributes of each media descriptor.
        properties: of the document, by name.
        slots: time of each slot, ms; None for one without a time.
        tiers: attributes of each tier.
        annotations: in the file's order.
    """

    root: str = ""
    units: str = "milliseconds"
    media: list[dict[str, str]] = field(default_factory=list)
    slots: dict[str, int | None] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    tiers: list[dict[str, str]] = field(default_factory=list)
    annotations: list[_Annotation] = field(default_factory=list)


class _DoctypeError(Exception):
    """The file has a document type declaration."""


def read_elan_source(path: Path, chosen: RatingMap | None) -> Source:
    """Read an ELAN annotation file; each annotation of each tier is a row.

    Columns: `Tier` and `Type` (the tier's name and linguistic type), `Annotator`, `Participant`, `Value` (the
    annotation's text) and `Rater`: the annotator, otherwise the participant, otherwise what follows `@` in the tier's
    name. Without a map, or with one without `[[ratings]]`, tiers are ratings whose name before `@` or whose type is the
    name of a scale, and those of the documents that `avpenet ratings sample` writes, which state scale and pack as
    properties.

    Raises:
        SettingsError: a file that cannot be read, is no XML or no EAF, has a document type declaration, or times in
            frames; times in the map.
    """
    document = _parse(path)
    chosen = chosen or RatingMap()
    refuse_media_and_times(path, chosen)
    if not chosen.ratings:
        chosen = replace(chosen, ratings=_by_scale(document))
    if not chosen.ratings:
        listed = ", ".join(repr(tier.get("TIER_ID", "")) for tier in document.tiers[:8])
        raise SettingsError(
            f"{path}: no tier has the name of a scale ({listed or 'there are no tiers'})",
            "say in a map (--map) which tiers are ratings",
        )
    if not (chosen.rater or chosen.rater_column or chosen.rater_from_file):
        chosen = replace(chosen, rater_column=RATER)
    media = (Media(chosen.recording_name),) if chosen.recording_name else _media(path, document)
    if not document.annotations:
        raise SettingsError(f"{path}: it has no annotation", "rate in ELAN first, or give another file")
    by_name = {annotation.identifier: annotation for annotation in document.annotations}
    rows = tuple(_row(path, document, by_name, annotation, media) for annotation in document.annotations)
    # Those of the documents of `ratings sample`, which are rated in the order of their numbers.
    pack, order = (document.properties.get(name, "") for name in ("pack", "order"))
    stated = {column_key(name): text for name, text in ((PACK, pack), (ORDER, order)) if text}
    chosen = replace(
        chosen, pack=chosen.pack or (PACK if pack else None), order=chosen.order or (ORDER if order else None)
    )
    source = Source(path, rows, _COLUMNS, chosen, stated)
    source.require_columns()
    return source


def _parse(path: Path) -> _Document:
    document = _Document()
    parser = xml.parsers.expat.ParserCreate()
    collecting: list[str] | None = None
    property_name = ""

    def begin(name: str, attributes: dict[str, str]) -> None:
        nonlocal collecting, property_name
        document.root = document.root or name
        if name == "HEADER":
            document.units = attributes.get("TIME_UNITS", document.units)
        elif name == "MEDIA_DESCRIPTOR":
            document.media.append(attributes)
        elif name == "PROPERTY":
            collecting, property_name = [], attributes.get("NAME", "")
        elif name == "TIME_SLOT":
            document.slots[attributes["TIME_SLOT_ID"]] = _milliseconds(attributes)
        elif name == "TIER":
            document.tiers.append(attributes)
        elif name in ("ALIGNABLE_ANNOTATION", "REF_ANNOTATION"):
            slots = None
            if name == "ALIGNABLE_ANNOTATION":
                slots = (attributes["TIME_SLOT_REF1"], attributes["TIME_SLOT_REF2"])
            identifier, parent = attributes["ANNOTATION_ID"], attributes.get("ANNOTATION_REF", "")
            tier = len(document.tiers) - 1
            document.annotations.append(_Annotation(identifier, tier, parser.CurrentLineNumber, slots, parent))
        elif name == "ANNOTATION_VALUE":
            collecting = []

    def end(name: str) -> None:
        nonlocal collecting
        if name == "PROPERTY" and collecting is not None:
            document.properties[property_name], collecting = "".join(collecting).strip(), None
        if name == "ANNOTATION_VALUE" and collecting is not None and document.annotations:
            document.annotations[-1].text, collecting = "".join(collecting), None

    def text(data: str) -> None:
        if collecting is not None:
            collecting.append(data)

    def doctype(*declared: object) -> None:
        raise _DoctypeError

    parser.StartElementHandler, parser.EndElementHandler = begin, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = text, doctype
    try:
        with path.open("rb") as file:
            parser.ParseFile(file)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {reason(error)}", "check the file") from None
    except _DoctypeError:
        problem = f"line {parser.CurrentLineNumber} declares a document type, which ELAN never does"
        raise SettingsError(f"{path}: {problem}", "save the file with ELAN again") from None
    except xml.parsers.expat.ExpatError as error:
        message = xml.parsers.expat.ErrorString(error.code)
        raise SettingsError(
            f"{path} is no ELAN file, or half of one: line {error.lineno}: {message}", _REMEDY
        ) from None
    except (KeyError, ValueError, LookupError) as error:
        problem = f"line {parser.CurrentLineNumber}: {_one_line(error)}"
        raise SettingsError(f"{path} is not as ELAN writes it: {problem}", _REMEDY) from None
    if document.root != "ANNOTATION_DOCUMENT":
        raise SettingsError(f"{path} is no ELAN file: it is XML of another kind ({document.root})", _REMEDY)
    if document.units != "milliseconds":
        raise SettingsError(f"{path}: its times are in {document.units}", "save it with times in milliseconds")
    return document


def _one_line(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"no attribute {error.args[0]}"
    return " ".join(str(error).split())[:100]


def _milliseconds(attributes: Mapping[str, str]) -> int | None:
    text = attributes.get("TIME_VALUE")
    return None if text is None else _whole_number(text)


def _whole_number(text: str) -> int:
    number = int(text)
    if abs(number) > _LONGEST_MS:
        raise ValueError("a time of over 30 years")
    return number


def _by_scale(document: _Document) -> tuple[RatingColumns, ...]:
    blocks: dict[str, RatingColumns] = {}
    for tier in document.tiers:
        name = tier.get("TIER_ID", "")
        stated = document.properties.get("scale", "") if name.partition("-")[0] == SHEET_TIER else ""
        for candidate in (stated, name.split("@")[0], tier.get("LINGUISTIC_TYPE_REF", "")):
            try:
                parse_scale(tidy(candidate) or "?")
            except ScaleError:
                continue
            blocks[name] = RatingColumns(value=VALUE, where={TIER: name}, scale=candidate)
            break
    return tuple(blocks.values())


def _media(path: Path, document: _Document) -> tuple[Media, ...]:
    """The media files; where ELAN aligned them with each other, each with its offset (`TIME_ORIGIN`, ms)."""
    media = []
    for attributes in document.media:
        name = attributes.get("MEDIA_URL") or attributes.get("RELATIVE_MEDIA_URL") or ""
        try:
            origin_ms = _whole_number(attributes.get("TIME_ORIGIN") or "0")
        except ValueError:
            problem = f"TIME_ORIGIN is {quoted(attributes['TIME_ORIGIN'])}, not a number of milliseconds"
            raise SettingsError(f"{path}: {problem}", _REMEDY) from None
        if name:
            media.append(Media(name, origin_ms / 1000.0))
    return tuple(media)


def _row(
    path: Path,
    document: _Document,
    by_name: Mapping[str, _Annotation],
    annotation: _Annotation,
    media: tuple[Media, ...],
) -> SourceRow:
    place = f"line {annotation.line}"
    if annotation.tier < 0:
        raise SettingsError(f"{path}: {place}: an annotation outside a tier", _REMEDY)
    tier = document.tiers[annotation.tier]
    name, annotator, participant = (tier.get(key, "") for key in ("TIER_ID", "ANNOTATOR", "PARTICIPANT"))
    cells = {
        TIER: name,
        TYPE: tier.get("LINGUISTIC_TYPE_REF", ""),
        ANNOTATOR: annotator,
        PARTICIPANT: participant,
        RATER: annotator or participant or name.partition("@")[2],
        VALUE: annotation.text,
    }
    by_key = {column_key(column): cell for column, cell in cells.items()}
    # An annotation that refers to another one has its time; a chain has as many links as there are annotations at most.
    aligned: _Annotation | None = annotation
    for _ in by_name:
        if aligned is None or aligned.slots is not None:
            break
        aligned = by_name.get(aligned.parent)
    if aligned is None or aligned.slots is None:
        raise SettingsError(f"{path}: {place}: it refers to an annotation that is not there", _REMEDY)
    unknown = [slot for slot in aligned.slots if slot not in document.slots]
    if unknown:
        raise SettingsError(f"{path}: {place}: it refers to time slot {unknown[0]}, which is not there", _REMEDY)
    start_ms, end_ms = (document.slots[slot] for slot in aligned.slots)
    if start_ms is None or end_ms is None:
        return SourceRow(place, by_key, media=media, left_out=NO_TIME)
    return SourceRow(place, by_key, times=(start_ms / 1000.0, end_ms / 1000.0), media=media)
