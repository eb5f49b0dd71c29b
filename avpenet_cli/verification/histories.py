"""What a history says of its output: its chain, the document that states its head, and its sign-offs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from avpenet_cli.phrasing import plural
from avpenet_cli.runs.history import HistoryHead, HistoryLine, SignOff
from avpenet_cli.runs.history_chain import Chain
from avpenet_cli.verification.nodes import Node, State

DigestOf = Callable[[str], str]
"""The digest of a file beside the history by its name; empty where there is none."""


def stated_head(document: dict[str, Any]) -> HistoryHead | None:
    """The last line of the history before the document was written, as it states it; None where it states none."""
    for place in (document, document.get("provenance")):
        head = place.get("history") if isinstance(place, dict) else None
        if isinstance(head, dict) and isinstance(head.get("line"), int) and head["line"] >= 0:
            return HistoryHead(head["line"], str(head.get("sha256", "")))
    return None


def head_problem(chain: Chain, head: HistoryHead, document: str) -> str:
    """What contradicts that this line stood in the history when `document` was written; empty where nothing does."""
    if not head.line:
        return ""
    if len(chain.heads) <= head.line:
        return f"{document} was written after line {head.line}; lines were removed from the end"
    if chain.heads[head.line - 1] != head:
        return f"line {head.line} is not the one that {document} states"
    return ""


def check_history(chain: Chain, problem: str, digest_of: DigestOf) -> Node:
    """A history as one node, its sign-offs below it.

    Args:
        problem: what a document says against it; empty if nothing.
        digest_of: of files beside it.
    """
    if not chain.exists:
        return Node("history", chain.path.name, "missing", problem or "there is none")
    problems = [*chain.problems, *([problem] if problem else [])]
    count = plural(len(chain.heads), "line")
    detail = "; ".join([*(problems or [count]), *chain.notes])
    return Node(
        "history", chain.path.name, "altered" if problems else "intact", detail, tuple(_sign_offs(chain, digest_of))
    )


def _sign_offs(chain: Chain, digest_of: DigestOf) -> Iterator[Node]:
    """Each sign-off: of the present bytes, replaced by a later one of them, or of bytes that are no longer there."""
    signed = [(line, line.sign_off) for line in chain.lines if line.sign_off is not None]
    holding = {line.line for line, sign_off in signed if _holds(sign_off, digest_of)}
    for line, sign_off in signed:
        state: State = "intact"
        detail = f"line {line.line}, {line.time}, by account {line.operator}"
        if line.line not in holding:
            later = max(holding, default=0)
            replaced = _wrote_after(chain, line)
            if later > line.line and replaced:
                detail += f": of an earlier version; line {replaced} replaced it, line {later} signs the present one"
            else:
                state = "altered"
                why = f"line {replaced} replaced it" if replaced else "no run replaced it"
                detail += f": the signed bytes are no longer there; {why}"
        yield Node("sign-off", f"{sign_off.name}, {sign_off.role}", state, detail)


def _holds(sign_off: SignOff, digest_of: DigestOf) -> bool:
    return all(digest_of(file.file) == file.sha256 for file in sign_off.files)


def _wrote_after(chain: Chain, line: HistoryLine) -> int:
    """The first later line whose run wrote a file that was signed; 0 if none did."""
    names = {file.file for file in line.sign_off.files} if line.sign_off else set()
    later = (other for other in chain.lines if other.line > line.line and names & {file.file for file in other.written})
    return next((other.line for other in later), 0)
