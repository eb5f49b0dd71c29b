"""From a drawn sheet to a small `<svg>` element that can share a page with others."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET

import matplotlib.figure

SVG = "http://www.w3.org/2000/svg"
_HREF = "{http://www.w3.org/1999/xlink}href"
# Fonts for readers without DejaVu: Verdana has the same widths, the others are narrower, so nothing overlaps.
FONTS = "'DejaVu Sans',Verdana,'Segoe UI',Roboto,Arial,sans-serif"

_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_URL = re.compile(r"url\(#([^)]+)\)")
_GEOMETRY = ("d", "x", "y", "transform", "points")


def inline_svg(canvas: matplotlib.figure.Figure, *, name: str, title: str, alternative: str, width_px: int) -> str:
    """The sheet as an `<svg>` element for HTML: every id starts with `name`, the same sheet gives the same text.

    Args:
        canvas: the drawn sheet.
        name: start of all ids.
        title: for `<title>`.
        alternative: for `<desc>`.
        width_px: maximum width, CSS pixels, so that all figures of a page have the same font size.
    """
    file = io.BytesIO()
    canvas.savefig(file, format="svg", facecolor="none", metadata={"Date": None, "Creator": None})
    root = ET.fromstring(file.getvalue())
    _drop_metadata(root)
    _rename_ids(root, name)
    for element in root.iter():
        _slim(element)
    for group in root.iter("g"):
        _hoist_style(group)
    view_box = root.get("viewBox", "")
    root.attrib.clear()
    root.attrib.update(
        {
            "xmlns": SVG,
            "viewBox": view_box,
            "width": "100%",
            "role": "img",
            "aria-labelledby": f"{name}-title {name}-desc",
            "style": f"display:block;max-width:{width_px}px;height:auto;font-family:{FONTS};"
            "stroke-linejoin:round;stroke-linecap:butt",
        }
    )
    for tag, text in (("desc", alternative), ("title", title)):
        words = ET.Element(tag, {"id": f"{name}-{tag}"})
        words.text = text
        root.insert(0, words)
    return ET.tostring(root, encoding="unicode")


def _drop_metadata(root: ET.Element) -> None:
    # Its style rule would apply to the whole page.
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in {f"{{{SVG}}}metadata", f"{{{SVG}}}style"}:
                parent.remove(child)


def _rename_ids(root: ET.Element, name: str) -> None:
    used: dict[str, str] = {}
    for element in root.iter():
        for key, value in list(element.attrib.items()):
            if key == _HREF and not value.startswith("#"):
                # The data of an image stay as they are.
                del element.attrib[key]
                element.set("href", value)
                continue
            targets = [value.removeprefix("#")] if key == _HREF else _URL.findall(value)
            for target in targets:
                used.setdefault(target, f"{name}-{len(used)}")
            if key == _HREF:
                del element.attrib[key]
                element.set("href", f"#{used[targets[0]]}")
            elif targets:
                element.set(key, _URL.sub(lambda match: f"url(#{used[match[1]]})", value))
    for element in root.iter():
        identity = element.attrib.pop("id", None)
        if identity in used:
            element.set("id", used[identity])


def _slim(element: ET.Element) -> None:
    """Shorten without a visible change: two decimals of a point are about 1/100 of a pixel."""
    element.tag = element.tag.removeprefix(f"{{{SVG}}}")
    if element.tag not in {"text", "tspan"} and not (element.text or "").strip():
        element.text = None
    if not (element.tail or "").strip():
        element.tail = None
    for key in _GEOMETRY:
        if key in element.attrib:
            element.set(key, _NUMBER.sub(_two_decimals, element.attrib[key]))
    if "d" in element.attrib:
        element.set("d", re.sub(r"\s*([A-Za-z])\s*", r"\1", element.attrib["d"]).strip())
    if re.match(r"rotate\(-?0 ", element.get("transform", "")):
        del element.attrib["transform"]
    if "style" in element.attrib:
        style = re.sub(r"font-family:[^;]*;?\s*", "", element.attrib["style"])
        element.set("style", style.replace(": ", ":").replace("; ", ";").rstrip("; "))


def _two_decimals(match: re.Match[str]) -> str:
    return f"{round(float(match[0]), 2) + 0.0:.2f}".rstrip("0").rstrip(".")


def _hoist_style(group: ET.Element) -> None:
    """Write a style that all marks of a group share only once."""
    styles = {child.get("style", "") for child in group}
    if len(group) < 2 or len(styles) != 1 or group.get("style") or any(child.tag != "use" for child in group):
        return
    style = styles.pop()
    # Opacity is not inherited: on the group, overlapping marks would look like a single mark.
    if not style or re.search(r"(^|;)opacity:", style):
        return
    group.set("style", style)
    for child in group:
        del child.attrib["style"]
