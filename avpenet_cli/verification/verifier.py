"""Follows an output back to its inputs and computes every digest on the way again."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from avpenet_cli.errors import OutputError, SettingsError, WeightsError, reason
from avpenet_cli.runs.history import HistoryHead, HistoryLine, history_path
from avpenet_cli.runs.history_chain import Chain, chain_at
from avpenet_cli.shards.shard import shards_folder
from avpenet_cli.study.score_tables import digest_of_table
from avpenet_cli.verification.documents import content_problem, is_self_certified
from avpenet_cli.verification.histories import check_history, head_problem, stated_head
from avpenet_cli.verification.links import Link, links_in, read_document
from avpenet_cli.verification.nodes import Node, State
from avpenet_cli.verification.recordings import RecordingFolder, check_recording, check_recordings
from avpenet_cli.weights import WeightsEntry, find
from avpenet_cli.weights.finding import WeightsNotFound, entry_at

_HISTORY_SUFFIX = ".history.jsonl"
_TABLES = (".csv", ".parquet", ".jsonl")
_WEIGHTS = ".safetensors"


@dataclass(frozen=True)
class _Evidence:
    """What lies beside a file and speaks of it.

    Attributes:
        chain: the history that names it, or that lies beside it; None without one.
        document: its own content if it is a document, else the document of the same output.
        document_path: where that is; None without one.
    """

    chain: Chain | None
    document: dict[str, Any] | None
    document_path: Path | None


class Verifier:
    """Checks files; each file's digest is computed once, and each file's links are followed once.

    Args:
        folders: where inputs are looked for besides the folder of the file that names them.
        recordings: where recordings are; None: they are not checked.
    """

    def __init__(self, folders: Sequence[Path], recordings: RecordingFolder | None = None) -> None:
        self._folders, self._recordings = tuple(dict.fromkeys(folders)), recordings
        self._digests: dict[Path, str] = {}
        self._scores_digests: dict[Path, str] = {}
        self._chains: dict[Path, Chain] = {}
        self._begun: set[Path] = set()
        self._done: dict[Path, Node] = {}
        self._shown_histories: set[Path] = set()

    def verify(self, path: Path) -> Node:
        """A file that was named, and everything it leads to.

        Raises:
            SettingsError: there is no such file.
            OutputError: it cannot be read.
        """
        if path.is_dir():
            raise SettingsError(f"{path} is a folder", f"name files in it, such as {_named_in(path)}")
        if not path.is_file():
            raise SettingsError(f"{path}: no such file", "name a report, a table, a page or a document of avpenet")
        if path.name.endswith(_HISTORY_SUFFIX):
            output = path.with_name(path.name.removesuffix(_HISTORY_SUFFIX))
            if output.is_file():
                return self._file(output)
            chain = self._chain(path)
            gone = Node("file", output.name, "missing", "its history is there, the file is not")
            return replace(check_history(chain, "", _Beside(self, path.parent)), links=(gone,))
        return self._file(path)

    def digest(self, path: Path) -> str:
        """SHA-256 of a file, hexadecimal.

        Raises:
            OutputError: it cannot be read.
        """
        key = path.resolve()
        if key not in self._digests:
            try:
                with path.open("rb") as file:
                    self._digests[key] = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise OutputError(f"{path} cannot be read: {reason(error)}", "check its permissions") from None
        return self._digests[key]

    def _file(self, path: Path, link: Link | None = None, stated_in: str = "") -> Node:
        """A file and its links.

        Args:
            link: that led here; None for a file that was named.
            stated_in: the file that states the link.
        """
        key = path.resolve()
        if key in self._done:
            node = self._done[key]
            detail = node.detail if node.state != "intact" or not node.links else "its links stand above"
            return self._as_linked(replace(node, links=(), detail=detail), path, link, stated_in)
        self._begun.add(key)
        evidence = self._evidence(path)
        state, detail = self._judge(path, evidence, is_linked=link is not None)
        node = Node(_content_of(path, link), path.name, state, detail, tuple(self._links(path, evidence)))
        self._done[key] = node
        return self._as_linked(node, path, link, stated_in)

    def _evidence(self, path: Path) -> _Evidence:
        document_path: Path | None = None
        if path.suffix == ".json":
            document_path = path
        elif path.suffix == ".html" and path.with_suffix(".json").is_file():
            document_path = path.with_suffix(".json")
        elif path.suffix in _TABLES:
            table = (read_document(_manifest_path(path)) or {}).get("table")
            if isinstance(table, dict) and table.get("file") == path.name:
                document_path = _manifest_path(path)
        document = read_document(document_path) if document_path else None
        return _Evidence(self._chain_of(path), document, document_path)

    def _chain_of(self, path: Path) -> Chain | None:
        """The history that names a file; else the one that lies beside it and should."""
        own = history_path(path)
        if path.name in self._chain(own).latest():
            return self._chain(own)
        for other in sorted(path.parent.glob(f"*{_HISTORY_SUFFIX}")):
            # Those of other people in a folder that is shared may not be readable.
            with contextlib.suppress(OutputError):
                if path.name in self._chain(other).latest():
                    return self._chain(other)
        return self._chain(own) if self._chain(own).exists else None

    def _chain(self, path: Path) -> Chain:
        if path not in self._chains:
            self._chains[path] = chain_at(path)
        return self._chains[path]

    def _judge(self, path: Path, evidence: _Evidence, *, is_linked: bool) -> tuple[State, str]:
        """Whether a file's bytes are those that its history, its manifest and its own content state."""
        digest, chain, document = self.digest(path), evidence.chain, evidence.document
        basis = []
        if path.suffix == _WEIGHTS:
            weights = self._weights_file(path)
            if weights.state != "intact":
                return weights.state, weights.detail
            basis.append(weights.detail)
        if chain is not None:
            written = chain.latest().get(path.name)
            if written is None:
                return "altered", f"no line of {chain.path.name} names it"
            file, line = written
            if file.sha256 != digest:
                earlier = [other.line for other in chain.lines if (path.name, digest) in _written(other)]
                if earlier:
                    return "altered", f"line {earlier[-1]} wrote these bytes, but line {line} wrote others later"
                return "altered", f"no line of {chain.path.name} has its digest; line {line} wrote it last"
            basis.append(f"as line {line} of {chain.path.name} states it")
        if path.suffix in _TABLES and document is not None and evidence.document_path is not None:
            if document["table"].get("sha256") != digest:
                return "altered", f"{evidence.document_path.name} has another digest of it"
            basis.append(f"as {evidence.document_path.name} states it")
        if evidence.document_path == path and document is not None:
            if problem := content_problem(path, document):
                return "altered", problem
            if is_self_certified(document):
                basis.append("as the digest in it states")
        if not basis and not is_linked:
            return "missing", "neither a history nor a manifest beside it certifies it"
        return "intact", ", ".join(basis)

    def _links(self, path: Path, evidence: _Evidence) -> Iterator[Node]:
        chain, document, document_path = evidence.chain, evidence.document, evidence.document_path
        head = stated_head(document) if document else None
        shown = chain or (Chain(_expected_history(path, document), exists=False) if head else None)
        is_first = shown is not None and shown.path not in self._shown_histories
        if shown is not None and is_first:
            self._shown_histories.add(shown.path)
            problem = _problem_with_head(shown, head, document_path or path)
            yield check_history(shown, problem, _Beside(self, path.parent))
        stated: list[Link] = []
        if document_path is not None and document_path != path:
            yield from self._followed(document_path)
            stated = links_in(document or {})
        elif document is not None:
            stated = links_in(document)
            for link in stated:
                yield from self._link(path, link)
            yield from self._of_manifest(path, document)
        if chain is None or not is_first or path.name not in chain.latest():
            return
        number = chain.latest()[path.name][1]
        line = next(line for line in chain.lines if line.line == number)
        others = {path.name, document_path.name if document_path else path.name}
        together = [Link("file", file.file, file.sha256) for file in line.written if file.file not in others]
        read = [Link(file.content, file.file, file.sha256, file.scores_digest) for file in line.read]
        seen = {(link.name, link.sha256) for link in stated}
        for link in read:
            if (link.name, link.sha256) not in seen:
                yield from self._link(path, link, chain.path.name)
        for link in together:
            if (link.name, link.sha256) not in seen:
                yield from self._link(path, link, chain.path.name, anywhere=False)

    def _as_linked(self, node: Node, path: Path, link: Link | None, stated_in: str) -> Node:
        """The node as its link sees it: altered where it has another digest, unless it was rewritten with its scores.

        Args:
            path: of the node's file.
            stated_in: the file that states the link.
        """
        if link is None or link.sha256 in ("", self.digest(path)):
            return node
        if node.state == "intact" and (line := self._rewritten_by(path, link)):
            scores = "scores" if path.suffix in _TABLES else "scores of its table"
            detail = f"the {scores} that {stated_in} states; line {line} rewrote the rest"
            return replace(node, content=link.content, detail=f"{node.detail}; {detail}" if node.detail else detail)
        detail = f"{stated_in} has another digest of it"
        if node.state == "altered":
            detail = f"{node.detail}; {detail}"
        return replace(node, content=link.content, state="altered", detail=detail)

    def _rewritten_by(self, path: Path, link: Link) -> int:
        """The line by which a later run rewrote a score table, or its manifest, with the same scores; 0 if none did.

        So `score` does with `--calibration`, `--baseline` or `--recorded-at` on a finished table. It counts only if the
        history has both what the link states and what is there now, and if the scores have the digest that the link
        states: the history alone could have been written again.
        """
        chain = self._chain_of(path)
        if chain is None or not link.scores_digest:
            return 0
        wrote = [line.line for line in chain.lines if (path.name, link.sha256) in _written(line)]
        latest = chain.latest().get(path.name)
        if not wrote or latest is None or latest[0].sha256 != self.digest(path):
            return 0
        return latest[1] if self._scores_digest(path) == link.scores_digest else 0

    def _scores_digest(self, path: Path) -> str:
        """The digest over the scores of a table, or of the table of a manifest; empty where it cannot be read."""
        if path.suffix not in _TABLES:
            table = (read_document(path) or {}).get("table")
            if isinstance(table, dict) and isinstance(table.get("file"), str):
                path = path.with_name(Path(table["file"]).name)
        if path not in self._scores_digests:
            self._scores_digests[path] = digest_of_table(path)
        return self._scores_digests[path]

    def _followed(self, path: Path) -> Iterator[Node]:
        if path.resolve() not in self._begun or path.resolve() in self._done:
            yield self._file(path, Link("manifest" if path.name.endswith(".run.json") else "document", path.name, ""))

    def _link(self, source: Path, link: Link, stated_in: str = "", *, anywhere: bool = True) -> Iterator[Node]:
        """The file that a link names, wherever it lies; nothing for one whose links are being followed already.

        Args:
            anywhere: False: only beside `source`, where the same run wrote both.
        """
        if not link.name:
            yield Node(link.content, "(name not recorded)", "not checked", f"SHA-256 {link.sha256}")
            return
        if link.content == "recording":
            yield check_recording(link.name, link.sha256, self._recordings, self.digest)
            return
        if link.content == "shard":
            yield self._shard(source, link)
            return
        folders = dict.fromkeys((source.parent, *(self._folders if anywhere else ())))
        found = [place for place in (folder / link.name for folder in folders) if _is_file(place)]
        if not found:
            where = "in the folders that were searched (see --inputs)" if anywhere else f"beside {source.name}"
            yield Node(link.content, link.name, "missing", f"not {where}")
            return
        target = next((place for place in found if self.digest(place) == link.sha256), found[0])
        key = target.resolve()
        stated_in = stated_in or source.name
        if key not in self._begun or key in self._done:
            node = self._file(target, link, stated_in)
            if target.parent != source.parent and found[0].parent == source.parent:
                here = f"the one in {target.parent}; the one beside {source.name} has another digest"
                node = replace(node, detail=f"{node.detail}; {here}" if node.detail else here)
            yield node
        elif self.digest(target) != link.sha256 and source != _manifest_path(target):
            state, detail = self._judge(target, self._evidence(target), is_linked=True)
            yield self._as_linked(Node(link.content, link.name, state, detail), target, link, stated_in)

    def _shard(self, source: Path, link: Link) -> Node:
        """The manifest of a shard that a merge read; the merged table does not need it any more."""
        path = shards_folder(source) / link.name
        if not _is_file(path):
            return Node(link.content, link.name, "not checked", f"not in {path.parent.name}: removed since the merge")
        if self.digest(path) == link.sha256:
            return Node(link.content, link.name, "intact")
        chain = self._chain_of(path)
        latest = chain.latest().get(path.name) if chain else None
        wrote = any((path.name, link.sha256) in _written(line) for line in chain.lines) if chain else False
        if wrote and latest is not None and latest[0].sha256 == self.digest(path):
            return Node(link.content, link.name, "intact", "the shard has run again since the merge: merge it again")
        return Node(link.content, link.name, "altered", "it has another digest than the merge states")

    def _of_manifest(self, path: Path, document: dict[str, Any]) -> Iterator[Node]:
        """The weights and the recordings of a document that states them."""
        weights = document.get("weights")
        # Elsewhere they are those of the inputs' manifests.
        if isinstance(weights, dict) and (path.name.endswith(".run.json") or "evaluation_version" in document):
            name, digest = weights.get("name"), weights.get("digest")
            if isinstance(name, str) and isinstance(digest, str):
                yield self._weights(path, name, digest)
        entries = document.get("recordings")
        if isinstance(entries, list) and path.name.endswith(".run.json"):
            node = check_recordings(entries, self._recordings, self.digest)
            if node is not None:
                yield node

    def _weights(self, source: Path, name: str, digest: str) -> Node:
        """Weights in a folder that is searched for inputs, or on the search path of weights."""
        node = Node("weights", name, "missing", "not installed here, and not in the folders that were searched")
        folders = dict.fromkeys((source.parent, *self._folders))
        for candidate in [*(folder / f"{name}{_WEIGHTS}" for folder in folders), None]:
            if candidate is not None and not candidate.is_file():
                continue
            try:
                entry = find(name) if candidate is None else entry_at(candidate)
            except WeightsNotFound:
                continue
            except WeightsError as error:
                node = Node("weights", name, "altered", error.message)
                continue
            if entry.digest == digest:
                return self._checked_weights(entry)
            node = Node("weights", name, "missing", f"those of that name here have the digest {entry.digest[:12]}")
        return node

    def _weights_file(self, path: Path) -> Node:
        try:
            return self._checked_weights(entry_at(path))
        except WeightsError as error:
            state: State = "altered" if path.with_suffix(".json").is_file() else "missing"
            return Node("weights", path.stem, state, error.message)

    def _checked_weights(self, entry: WeightsEntry) -> Node:
        if entry.path is not None and self.digest(entry.path) != entry.description.tensors_sha256:
            problem = "the tensors have another digest than their description states"
            return Node("weights", entry.name, "altered", problem)
        return Node("weights", entry.name, "intact", f"digest {entry.digest[:12]}")


@dataclass(frozen=True)
class _Beside:
    """The digest of a file in a folder by its name; empty where there is none."""

    verifier: Verifier
    folder: Path

    def __call__(self, name: str) -> str:
        path = self.folder / name
        return self.verifier.digest(path) if path.is_file() else ""


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        # The name is too long for a file, or the folder may not be entered.
        return False


def _named_in(folder: Path) -> str:
    """A file in a folder that a history lies beside, for a message."""
    outputs = sorted(path.name.removesuffix(_HISTORY_SUFFIX) for path in folder.glob(f"*{_HISTORY_SUFFIX}"))
    return outputs[0] if outputs else "report.html"


def _expected_history(path: Path, document: dict[str, Any] | None) -> Path:
    """Where the history of a document would be: beside the table or the page that it belongs to, else beside itself."""
    table = (document or {}).get("table") if path.name.endswith(".run.json") else None
    if isinstance(table, dict) and isinstance(table.get("file"), str):
        return history_path(path.with_name(Path(table["file"]).name))
    page = path.with_suffix(".html")
    return history_path(page if page.is_file() else path)


def _manifest_path(table: Path) -> Path:
    # As `runs.manifest.manifest_path`, which would import what a manifest is made of.
    return table.with_suffix(".run.json")


def _problem_with_head(chain: Chain, head: HistoryHead | None, document: Path) -> str:
    if head is None:
        return ""
    return head_problem(chain, head, document.name) if chain.exists else f"{document.name} states that there is one"


def _written(line: HistoryLine) -> set[tuple[str, str]]:
    return {(file.file, file.sha256) for file in line.written}


def _content_of(path: Path, link: Link | None) -> str:
    if link is not None:
        return link.content
    if path.name.endswith(".run.json"):
        return "manifest"
    kinds = {".html": "page", ".json": "document", _WEIGHTS: "weights"} | dict.fromkeys(_TABLES, "table")
    return kinds.get(path.suffix, "file")
