"""What a verification found: a tree of files, histories and sign-offs, each with its state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

VERIFY_VERSION = 1

State = Literal["intact", "altered", "missing", "not checked"]


@dataclass(frozen=True)
class Node:
    """Something that was checked, and what it leads to.

    Attributes:
        content: what it is: `scores`, `manifest`, `ratings`, `history`, `weights`, `recordings`, `sign-off`, ...
        name: of the file, without its folder; of a sign-off the person and the role.
        state: `intact`: its bytes have the digests that the files which name it state. `altered`: they have others, or
            its own content contradicts itself. `missing`: it is not there. `not checked`: there was nothing to check it
            with, or it was not asked for.
        detail: what that rests on, or what is wrong, one line.
        links: what it was made from, and what says so.
    """

    content: str
    name: str
    state: State
    detail: str = ""
    links: tuple[Node, ...] = ()

    def walk(self) -> Iterator[Node]:
        """This node and all below it."""
        yield self
        for link in self.links:
            yield from link.walk()


@dataclass(frozen=True)
class Verification:
    """The result of `avpenet verify`. `schemas/verify.schema.json` in the package is its JSON Schema.

    Attributes:
        verify_version: version of this format.
        intact: nothing is altered or missing.
        counts: number of things by state.
        files: the files that were named, in their order.
    """

    verify_version: int
    intact: bool
    counts: dict[str, int]
    files: tuple[Node, ...]
