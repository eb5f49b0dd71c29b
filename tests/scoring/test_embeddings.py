"""`avpenet score --embeddings`: what the head makes scores of, kept through interruptions, and scores unchanged.

That a run with workers, on threads, killed twenty times or under pseudonyms writes the same file is tested with those:
`tests/cli/test_workers.py`, `test_kills.py`, `test_pseudonyms.py` and `tests/scoring/test_thread_lanes.py`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from avpenet_cli.errors import Interrupted, OutputError, OutputLockedError, SettingsError
from avpenet_cli.inputs import Recording, collect
from avpenet_cli.model.correction_settings import OwnBaselineSettings
from avpenet_cli.model.network import FeatureNetwork
from avpenet_cli.model.registry import NETWORKS, build
from avpenet_cli.model.systems.settings import LateFusionSettings
from avpenet_cli.records import Balance, Quality, RecordingOutcome, SegmentScore, Status
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.runs.lock import output_lock
from avpenet_cli.scoring.embeddings import EmbeddingStore, check_embeddings_path, write_embeddings
from avpenet_cli.scoring.network import Network, SegmentTokens
from avpenet_cli.scoring.request import ScoreRequest
from avpenet_cli.scoring.run import ScoredRecording, score_recordings
from avpenet_cli.scoring.scorer import Scorer
from avpenet_cli.scoring.shared_network import SharedNetwork
from avpenet_cli.settings import RunSettings
from avpenet_cli.weights import UNTRAINED, find
from tests.conftest import ClipMaker
from tests.support.corrected_networks import corrected_network
from tests.support.killed_writers import kill_in_transaction

RUN = RunSettings(device="cpu", mc_samples=2)


class StoppingAfter(RunCallbacks):
    """Asks the run to stop once so many recordings are finished."""

    def __init__(self, finished: int) -> None:
        self._left = finished

    def item_done(self, lane: int | None = None) -> None:
        self._left -= 1

    def should_stop(self) -> bool:
        return self._left <= 0


class Lines(RunCallbacks):
    """Keeps the warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warning(self, message: str, **fields: object) -> None:
        self.warnings.append(message)


@pytest.fixture(scope="module")
def archive(clips: ClipMaker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    shutil.copy(clips.brief(), folder / "a.mp4")
    shutil.copy(clips.brief("moan", 1.8), folder / "b.mp4")
    (folder / "c.mp4").write_bytes(b"no recording")
    return folder


def requested(archive: Path, out: Path, *, embeddings: bool = True, **options: Any) -> ScoreRequest:
    file = out.with_name("embeddings.parquet") if embeddings else None
    inputs = collect([str(archive)], None, False, None)
    return ScoreRequest(inputs, out, find(UNTRAINED), RUN, embeddings=file, **options)


def scored(request: ScoreRequest, callbacks: RunCallbacks = NO_CALLBACKS) -> list[ScoredRecording]:
    return list(score_recordings(request, callbacks))


@pytest.fixture(scope="module")
def finished(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> ScoreRequest:
    """A run with embeddings."""
    request = requested(archive, tmp_path_factory.mktemp("finished") / "scores.csv")
    scored(request)
    return request


def file_of(request: ScoreRequest) -> Path:
    assert request.embeddings is not None
    return request.embeddings


def test_head_makes_the_tables_scores_of_the_embeddings(finished: ScoreRequest) -> None:
    table = pq.read_table(file_of(finished))
    assert table.schema.field("embedding").type == pa.list_(pa.float32())
    assert table.schema.metadata[b"avpenet.weights"].startswith(b"untrained@")
    assert table.drop_columns("embedding").to_pylist() == [
        {"recording": name, "segment": 0, "start_s": 0.0} for name in ("a.mp4", "b.mp4")
    ]
    embeddings = torch.tensor(np.stack(table["embedding"].to_pylist()), dtype=torch.float32)
    model = Network(finished.weights, RUN).model
    assert isinstance(model.head, torch.nn.Module)
    with torch.inference_mode():
        expected = model.head(embeddings).tolist()
    rows = [line.split(",") for line in finished.out.read_text().splitlines()]
    column = rows[0].index("score")
    assert [float(row[column]) for row in rows[1:]] == pytest.approx(expected, abs=6e-4)


def test_file_is_private_and_in_the_manifest(finished: ScoreRequest) -> None:
    path = file_of(finished)
    for written in (path, path.with_name("embeddings.parquet.journal")):
        assert written.stat().st_mode & 0o777 == 0o600
    entry = json.loads(finished.out.with_suffix(".run.json").read_text())["summaries"][-1]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (entry["file"], entry["sha256"], entry["rows"]) == (path.name, digest, 2)


def test_table_is_the_same_with_and_without_and_later_embeddings_are_those_of_a_first_run(
    archive: Path, finished: ScoreRequest, tmp_path: Path
) -> None:
    out = tmp_path / "scores.csv"
    scored(requested(archive, out, embeddings=False))
    assert out.read_bytes() == finished.out.read_bytes()
    (tmp_path / ".embeddings.parquet.killed.tmp").write_bytes(b"left by a killed run")
    again = requested(archive, out)
    assert [result.reused for result in scored(again)] == [False, False, False]
    assert out.read_bytes() == finished.out.read_bytes()
    assert file_of(again).read_bytes() == file_of(finished).read_bytes()
    assert [result.reused for result in scored(again)] == [True, True, False]
    assert not list(tmp_path.glob(".*"))
    file_of(again).write_bytes(b"damaged since")
    scored(again)
    assert file_of(again).read_bytes() == file_of(finished).read_bytes()
    lines = Lines()
    scored(requested(archive, out, embeddings=False), lines)
    assert "embeddings.parquet is of an earlier run: give --embeddings to renew it, or remove it" in lines.warnings


def test_interrupted_run_writes_no_file_and_keeps_what_is_finished(
    archive: Path, finished: ScoreRequest, tmp_path: Path
) -> None:
    request = requested(archive, tmp_path / "scores.csv")
    with pytest.raises(Interrupted):
        scored(request, StoppingAfter(1))
    assert not file_of(request).exists()
    assert [result.reused for result in scored(request)] == [True, False, False]
    assert file_of(request).read_bytes() == file_of(finished).read_bytes()


def test_threads_of_a_gpu_give_the_same_scores_with_embeddings_and_those_of_one_process() -> None:
    """On a CPU here; `tests/scoring/test_thread_lanes.py` compares files."""
    rng = np.random.default_rng(0)
    audio, faces = rng.normal(0, 2, (10, 512)).astype(np.float32), rng.normal(0, 0.2, (7, 512)).astype(np.float32)
    segments = [SegmentTokens(audio, faces, 0), SegmentTokens(audio[::-1].copy(), faces[:3], 30)]
    plain = Network(find(UNTRAINED), RUN, with_embeddings=True).score_many(segments)
    results = []
    for wanted in (False, True):
        with closing(SharedNetwork(find(UNTRAINED), RUN, with_embeddings=wanted)) as network:
            results.append(network.score_many(segments))
    without, given = results
    assert [result.score for result in given] == [result.score for result in without]
    assert [result.embedding for result in without] == [None, None]
    for result, expected in zip(given, plain, strict=True):
        assert result.embedding is not None
        assert expected.embedding is not None
        assert result.embedding.shape == expected.embedding.shape == (512,)
        np.testing.assert_allclose(result.embedding, expected.embedding, atol=1e-4)
        np.testing.assert_array_equal(result.samples, expected.samples)


def test_networks_on_features_give_their_features(clips: ClipMaker) -> None:
    network = Network(find(UNTRAINED), RunSettings(device="cpu"), with_embeddings=True)
    network.model = corrected_network(OwnBaselineSettings())
    outcome, embeddings = Scorer(network, RunSettings(device="cpu")).score_and_embed(clips.brief())
    assert embeddings is not None
    assert embeddings.shape == (1, 515)
    assert outcome.segments[0].score == pytest.approx(embeddings[0, 512], abs=6e-4)  # of the base, uncorrected


def test_every_network_but_late_fusion_has_embeddings() -> None:
    without = set()
    for name, entry in NETWORKS.items():
        with torch.device("meta"):
            network = build(name, entry.settings_class()())
        if not (isinstance(network, FeatureNetwork) or isinstance(getattr(network, "head", None), torch.nn.Module)):
            without.add(name)
            size = sum(parameter.numel() for parameter in network.parameters())
    assert without == {"late-fusion"}
    plain = find(UNTRAINED)
    description = dataclasses.replace(
        plain.description, network="late-fusion", architecture=LateFusionSettings(), n_parameters=size
    )
    with pytest.raises(SettingsError, match="the network late-fusion has no representation of a segment before one"):
        Network(dataclasses.replace(plain, description=description), RUN, with_embeddings=True)


def outcome(scores: list[float | None]) -> RecordingOutcome:
    segments = [
        SegmentScore(
            number,
            3.0 * number,
            3.0 * number + 3,
            Status.UNSCORABLE if score is None else Status.SCORED,
            Quality(),
            score,
        )
        for number, score in enumerate(scores)
    ]
    return RecordingOutcome(Status.SCORED, tuple(segments), Balance(9.0, 9.0))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddingStore]:
    with closing(EmbeddingStore(tmp_path / "e.parquet", tmp_path / "scores.csv", {"stride_s": 3.0})) as opened:
        yield opened


def test_embeddings_of_other_scores_than_the_journals_do_not_count(store: EmbeddingStore, tmp_path: Path) -> None:
    """As after a kill between the two journals, or where a run without embeddings scored a changed file."""
    recording = Recording(tmp_path / "a.mp4", "a.mp4", "a")
    before, after = outcome([1.0, None]), outcome([1.5, None])
    assert not store.holds(recording, before)
    store.note(recording, before, np.ones((1, 4), np.float32))
    assert store.holds(recording, before)
    assert not store.holds(recording, after)
    store.note(recording, after, np.full((1, 4), 2, np.float32))
    assert [part.tolist() for part in store.parts(recording)] == [[[2.0] * 4]]
    with pytest.raises(OutputError, match="embeddings of b are incomplete"):
        write_embeddings(tmp_path / "e.parquet", store, [(Recording(tmp_path, "b", "b"), before)], "w")
    assert not (tmp_path / "e.parquet").exists()
    store.prune([])
    assert not store.held()


def test_long_recordings_pass_in_parts(store: EmbeddingStore, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    recordings = [Recording(tmp_path / name, name, name) for name in ("long", "none", "short")]
    outcomes = [outcome([1.0, None, 2.0] * 1500), outcome([None]), outcome([3.0])]
    vectors = [rng.normal(size=(count, 5)).astype(np.float32) for count in (3000, 0, 1)]
    for given in zip(recordings, outcomes, vectors, strict=True):
        store.note(*given)
    entry = write_embeddings(tmp_path / "e.parquet", store, zip(recordings, outcomes, strict=True), "w")
    table = pq.read_table(tmp_path / "e.parquet")
    assert entry.rows == len(table) == 3001
    assert table["recording"].to_pylist() == ["long"] * 3000 + ["short"]
    assert table["segment"].to_pylist()[:4] == [0, 2, 3, 5]
    np.testing.assert_array_equal(np.stack(table["embedding"].to_pylist()), np.concatenate(vectors))


def test_other_settings_are_refused(store: EmbeddingStore, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"stride_s was 3.0, now 1.0"):
        EmbeddingStore(tmp_path / "e.parquet", tmp_path / "scores.csv", {"stride_s": 1.0})


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("e.csv", SettingsError, "not a Parquet file"),
        ("elsewhere/e.parquet", SettingsError, "not in the folder of scores.parquet"),
        ("scores.parquet", SettingsError, "a file of scores has that name"),
        ("ratings.parquet", OutputError, "avpenet score did not write it"),
        ("other.parquet", OutputError, "other.parquet.journal is of another run, or damaged"),
        ("damaged.parquet", OutputError, "damaged.parquet.journal is of another run, or damaged"),
    ],
)
def test_foreign_files_are_refused(tmp_path: Path, name: str, error: type[Exception], message: str) -> None:
    pq.write_table(pa.table({"recording": ["a"], "value": [1.0]}), tmp_path / "ratings.parquet")
    (tmp_path / "elsewhere").mkdir()
    EmbeddingStore(tmp_path / "other.parquet", tmp_path / "other.csv", {}).close()
    (tmp_path / "damaged.parquet.journal").write_bytes(b"no database" * 100)
    for replacing in (False, True):
        with pytest.raises(error, match=message):
            check_embeddings_path(tmp_path / name, tmp_path / "scores.parquet", replacing=replacing)


def test_file_whose_journal_is_missing_is_only_replaced_when_asked_for(finished: ScoreRequest, tmp_path: Path) -> None:
    path = tmp_path / "embeddings.parquet"
    shutil.copy(file_of(finished), path)
    check_embeddings_path(path, tmp_path / "scores.csv", replacing=True)
    with pytest.raises(OutputError, match="but not its journal"):
        check_embeddings_path(path, tmp_path / "scores.csv")


def test_kill_just_as_the_store_is_made_leaves_one_to_resume(tmp_path: Path) -> None:
    path, out = tmp_path / "e.parquet", tmp_path / "scores.csv"
    (tmp_path / "e.parquet.journal").touch()
    check_embeddings_path(path, out)
    EmbeddingStore(path, out, {}).close()
    check_embeddings_path(path, out)
    with pytest.raises(OutputError, match="is of another run"):
        check_embeddings_path(path, tmp_path / "other.csv")


def test_kill_in_the_middle_of_a_transaction_leaves_a_store_to_resume(tmp_path: Path) -> None:
    path, out = tmp_path / "e.parquet", tmp_path / "scores.csv"
    recording = Recording(tmp_path / "a.mp4", "a.mp4", "a")
    with closing(EmbeddingStore(path, out, {})) as store:
        store.note(recording, outcome([1.0]), np.zeros((1, 2), np.float32))
    kill_in_transaction(tmp_path / "e.parquet.journal", "held")
    with output_lock(out), pytest.raises(OutputLockedError, match="is in the middle of it"):
        check_embeddings_path(path, out)
    check_embeddings_path(path, out)
    with closing(EmbeddingStore(path, out, {})) as store:
        assert store.held() == {recording.key}
