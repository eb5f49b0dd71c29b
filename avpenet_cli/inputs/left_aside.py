"""What was found and is not scored, counted by reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from avpenet_cli.inputs.suffixes import without_names
from avpenet_cli.phrasing import plural


class Aside(StrEnum):
    """Why something that was found is not scored. The docstring below a member is its line in the documentation."""

    OTHER_SUFFIX = "other_suffix"
    """A file in a folder whose suffix is not that of a recording; name it explicitly to score it."""
    HIDDEN = "hidden"
    """A file or folder whose name begins with a dot."""
    SUBFOLDER = "subfolder"
    """A folder in a folder, without `--recursive`."""
    BROKEN_LINK = "broken_link"
    """A link in a folder that leads nowhere, perhaps to a folder that is not mounted."""
    REPEATED = "repeated"
    """Another route to a recording or folder that is there already: named twice, or reached by a link."""


_WORDS = {
    Aside.OTHER_SUFFIX: "file with another suffix",
    Aside.HIDDEN: "hidden file or folder",
    Aside.SUBFOLDER: "subfolder (--recursive includes them)",
    Aside.BROKEN_LINK: "broken link",
    Aside.REPEATED: "repeated recording or folder",
}
_PLURALS = {
    Aside.OTHER_SUFFIX: "files with other suffixes",
    Aside.HIDDEN: "hidden files or folders",
    Aside.SUBFOLDER: "subfolders (--recursive includes them)",
    Aside.REPEATED: "repeated recordings or folders",
}
_NAMED_SUFFIXES = 8


@dataclass(frozen=True)
class LeftAside:
    """Numbers of files and folders that were found and are not scored.

    Attributes:
        by_reason: by the values of `Aside`; none is 0.
        by_suffix: files with another suffix, by that suffix, the most frequent first.
    """

    by_reason: dict[str, int] = field(default_factory=dict)
    by_suffix: dict[str, int] = field(default_factory=dict)

    @classmethod
    def counted(cls, reasons: Counter[Aside], suffixes: Counter[str], *, private: bool) -> LeftAside:
        """From counters, in a fixed order.

        Args:
            private: leave out suffixes that may be part of a person's name.
        """
        if private:
            suffixes = without_names(suffixes)
        by_suffix = dict(sorted(suffixes.items(), key=lambda item: (-item[1], item[0])))
        return cls({reason.value: reasons[reason] for reason in Aside if reasons[reason]}, by_suffix)

    @property
    def repeated(self) -> int:
        """Number of further routes to what is scored already."""
        return self.by_reason.get(Aside.REPEATED, 0)

    def describe(self) -> str:
        """The counts in words: `2 files with other suffixes (.txt 2), 1 broken link`; empty where there are none."""
        return ", ".join(
            _in_words(Aside(reason), number) + (_suffixes(self.by_suffix) if reason == Aside.OTHER_SUFFIX else "")
            for reason, number in self.by_reason.items()
        )


def _in_words(reason: Aside, number: int) -> str:
    if number != 1 and reason in _PLURALS:
        return f"{number} {_PLURALS[reason]}"
    return plural(number, _WORDS[reason])


def _suffixes(by_suffix: Mapping[str, int]) -> str:
    named = [f"{suffix} {number}" for suffix, number in list(by_suffix.items())[:_NAMED_SUFFIXES]]
    more = len(by_suffix) - _NAMED_SUFFIXES
    return f" ({', '.join(named)}{f' and {more} more suffixes' if more > 0 else ''})"
