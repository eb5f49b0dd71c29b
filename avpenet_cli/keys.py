"""Names of people and recordings: when two spellings are the same name, and how a difference is shown.

Spreadsheets, file systems and people write the same name with other white space, in another Unicode form (macOS stores
`é` as two characters) or in another letter case. Statistics and splits need each patient once.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from avpenet_cli.errors import SettingsError
from avpenet_cli.phrasing import plural

# Letters and symbols that are drawn as nothing: Hangul fillers and the empty Braille pattern.
_BLANK_CHARACTERS = dict.fromkeys((0x115F, 0x1160, 0x3164, 0xFFA0, 0x2800), " ")
# Joiners and variation selectors, which are drawn as nothing but count as marks.
_INVISIBLE_MARKS = frozenset(
    map(chr, (0x034F, *range(0x180B, 0x180E), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)))
)
_LOOK_ALIKE = str.maketrans("авгеіјкмнорсѕтухαβεζηικμνορτυχı`´‘’ʼ", "abreijkmhopcstyxabezhikmnoptyxi'''''")
"""Lower-case Cyrillic and Greek letters to the Latin ones that they, or their capitals, look like; the dotless i of
Turkish; apostrophes, which word processors exchange."""
_DOTTED_I = "i\N{COMBINING DOT ABOVE}"
"""What the capital dotted I of Turkish is without letter case."""
_SHOWN_CHARACTERS = 72
_NAMED = 5
_CANNOT_DECIDE = "write the name in the same way everywhere, or rename one of them if they are two"


@dataclass(frozen=True)
class Spellings:
    """Names as they are written, and what each is read as.

    Attributes:
        names: from every spelling to the name: the most frequent spelling, the first of those, without white space
            around it.
        merged: names with several spellings, with these.
    """

    names: dict[str, str]
    merged: dict[str, tuple[str, ...]]

    def notice(self, where: str, noun: str) -> tuple[str, ...]:
        """What was merged, as at most one sentence.

        Args:
            where: file name.
            noun: what the names are of: `patient`.
        """
        if not self.merged:
            return ()
        groups = [
            f"{', '.join(map(shown, spellings))} are read as one {noun}: {shown(name)}"
            for name, spellings in list(self.merged.items())[:_NAMED]
        ]
        more = len(self.merged) - len(groups)
        return (f"{where}: {'; '.join(groups)}{f'; and {more} more' if more else ''}",)


def normalise_key(name: str) -> str:
    """What two spellings of the same name share: without white space at its ends, repeated white space and characters
    that are not drawn, in Unicode form NFC, without letter case. Empty for a name of nothing that is drawn."""
    return _caseless(tidy(name))


def tidy(name: str) -> str:
    """A name as it is displayed: as it was written, but for white space, characters that are not drawn and Unicode form
    (NFC)."""
    return unicodedata.normalize("NFC", _without_invisible(name))


def _caseless(text: str) -> str:
    folded = unicodedata.normalize("NFD", text).casefold()
    return unicodedata.normalize("NFC", folded)


def _without_invisible(text: str) -> str:
    if not text.isascii():
        text = text.translate(_BLANK_CHARACTERS)
    if not text.isprintable() or not text.isascii():
        text = "".join(character for character in text if character.isspace() or not _is_invisible(character))
    return " ".join(text.split())


def _is_invisible(character: str) -> bool:
    return character in _INVISIBLE_MARKS or unicodedata.category(character) in ("Cc", "Cf")


def shown(name: str) -> str:
    """A name for a message: as it is if nothing about it is invisible, otherwise in quotes with escapes."""
    composed = unicodedata.normalize("NFC", name) == name
    if len(name) > _SHOWN_CHARACTERS:
        # Spellings differ at their ends most often.
        half = _SHOWN_CHARACTERS // 2
        name = f"{name[:half]}…{name[-half:]}"

    def drawn(character: str) -> str:
        marks = unicodedata.category(character).startswith("M") and not composed
        hidden = marks or not character.isprintable() or _is_invisible(character) or ord(character) in _BLANK_CHARACTERS
        return character.encode("unicode_escape").decode() if hidden else character

    text = "".join(map(drawn, name))
    return text if text == name and name == tidy(name) and name else f"'{text}'"


def describe_difference(first: str, second: str) -> str:
    """In what two spellings of a name differ: `white space and letter case`."""
    without = {
        "white space or invisible characters": _caseless,
        "Unicode form": lambda text: _without_invisible(text).casefold(),
        "letter case": tidy,
    }
    kinds = [kind for kind, reduced in without.items() if reduced(first) != reduced(second)]
    return " and ".join(kinds) or "their spelling"


def merge_spellings(written: Iterable[str]) -> Spellings:
    """Bring together the spellings of each name.

    Args:
        written: the name in every row.
    """
    counts = Counter(written)
    groups: dict[str, list[str]] = {}
    for spelling in counts:
        groups.setdefault(normalise_key(spelling), []).append(spelling)
    names: dict[str, str] = {}
    merged: dict[str, tuple[str, ...]] = {}
    for spellings in groups.values():
        name = tidy(max(spellings, key=lambda spelling: counts[spelling]))
        names |= dict.fromkeys(spellings, name)
        if len(spellings) > 1:
            merged[name] = tuple(spellings)
    return Spellings(names, merged)


def find_look_alikes(names: Iterable[str]) -> tuple[str, str] | None:
    """Two names that look the same but have other characters: full-width digits, Cyrillic letters, other dashes.

    Turkish names in capitals are among them, since their letters i have a case mapping of their own. Whether two such
    names are the same cannot be told from them.
    """
    seen: dict[str, str] = {}
    for name in names:
        # An accent that stands alone would be taken apart into a blank and a mark.
        plain = unicodedata.normalize("NFKC", tidy(name).replace("\N{ACUTE ACCENT}", "'"))
        plain = _caseless(plain).replace(_DOTTED_I, "i").translate(_LOOK_ALIKE)
        plain = "".join("-" if unicodedata.category(character) == "Pd" else character for character in plain)
        other = seen.setdefault(plain.replace("\N{MINUS SIGN}", "-"), name)
        if normalise_key(other) != normalise_key(name):
            return other, name
    return None


def nearly_alike(names: Iterable[str], where: str, noun: str) -> tuple[str, ...]:
    """A sentence on names that differ only in leading zeros, in punctuation at an end, in which of white space, a dash,
    an underscore and a dot stands between their parts or before a number, or in the `.0` that spreadsheets append.

    They are kept apart: `P1` and `P01` may be two people.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        near = normalise_key(name)
        near = near.strip(" -_.,;:'\"") or near
        near = re.sub(r"(?<=\d)\.0+$", "", near)
        near = re.sub(r"(?<=[^\W\d_])[\s_.-]+(?=\d)", "", near)
        near = re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"[\s_.-]+", "-", near))
        groups.setdefault(near, []).append(name)
    alike = [spellings for spellings in groups.values() if len(spellings) > 1]
    if not alike:
        return ()
    listed = "; ".join(" and ".join(map(shown, spellings)) for spellings in alike[:_NAMED])
    more = f"; and {len(alike) - _NAMED} more" if len(alike) > _NAMED else ""
    return (f"{where}: counted as different {noun}s, although the names are nearly the same: {listed}{more}",)


def look_alike_error(where: str, noun: str, pair: tuple[str, str]) -> SettingsError:
    """The refusal of two names from `find_look_alikes`."""
    names, codes = (" and ".join(map(write, pair)) for write in (shown, ascii))
    return SettingsError(
        f"{where}: the {noun}s {names} look the same, but are written with different characters ({codes})",
        _CANNOT_DECIDE,
    )


@dataclass(frozen=True)
class Matches:
    """Names of one source as another one writes them.

    Attributes:
        names: from every name to its spelling in the other source; names that it does not have are unchanged.
        respelt: the names that are not in the other source to the letter, with their spelling there.
    """

    names: dict[str, str]
    respelt: dict[str, str]

    def notice(self, where: str, other: str) -> tuple[str, ...]:
        """What was matched in spite of its spelling, as at most one sentence.

        Args:
            where: file name of these names.
            other: where the other spellings are: `the scores`.
        """
        if not self.respelt:
            return ()
        pairs = list(self.respelt.items())
        kinds = dict.fromkeys(describe_difference(*pair) for pair in pairs)
        listed = ", ".join(f"{shown(name)} as {shown(known)}" for name, known in pairs[:_NAMED])
        more = f" and {len(pairs) - _NAMED} more" if len(pairs) > _NAMED else ""
        written = "is written" if len(pairs) == 1 else "are written"
        return (
            f"{where}: {plural(len(pairs), 'recording')} {written} differently in {other} "
            f"({', '.join(kinds)}) and matched: {listed}{more}",
        )


def match_names(names: Iterable[str], known: Iterable[str], where: str) -> Matches:
    """Match names of recordings by their keys; a name that is there to the letter is that one.

    Args:
        names: to be matched.
        known: distinct names of the recordings that exist.
        where: file name of `names`, for messages.

    Raises:
        SettingsError: several recordings could be meant.
    """
    exact = set(known)
    by_key: dict[str, list[str]] = {}
    for name in known:
        by_key.setdefault(normalise_key(name), []).append(name)
    matched: dict[str, str] = {}
    respelt: dict[str, str] = {}
    for name in dict.fromkeys(names):
        candidates = [name] if name in exact else by_key.get(normalise_key(name), [name])
        if len(candidates) > 1:
            first, second = candidates[:2]
            raise SettingsError(
                f"{where}: recording {shown(name)} may be {shown(first)} or {shown(second)}, which differ only in "
                f"{describe_difference(first, second)}",
                "write it to the letter as the recording is named",
            )
        matched[name] = candidates[0]
        if candidates[0] != name:
            respelt[name] = candidates[0]
    return Matches(matched, respelt)
