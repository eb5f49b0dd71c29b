"""Training learns, keeps to its two stages, resumes after a kill, and names the batch that broke it."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import lightning
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch.utils.data import DataLoader

from avpenet_cli.bundled import weights_directory
from avpenet_cli.dataset.index import INDEX_FILE
from avpenet_cli.dataset.record import STORE_FILE
from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.errors import AvpenetError, Interrupted, OutputError, SettingsError, WeightsError
from avpenet_cli.model.architecture import Architecture
from avpenet_cli.model.avpenet import AVPENet
from avpenet_cli.runs.callbacks import RunCallbacks
from avpenet_cli.training.curves import CURVES_FILE, FIGURE_FILE, EpochRow
from avpenet_cli.training.data import EpochSampler, SampleKey, SegmentDataset, collate
from avpenet_cli.training.embeddings import EMBEDDINGS_FOLDER, load_or_compute_embeddings
from avpenet_cli.training.fit import fit
from avpenet_cli.training.initial import initial_network, locate_initial_file
from avpenet_cli.training.lightning_module import PainLightningModule, learning_rates, smooth_targets
from avpenet_cli.training.run_directory import (
    CHECKPOINT_FILE,
    RUN_FILE,
    RunIdentity,
    prepare_run_directory,
    usable_rows,
)
from avpenet_cli.training.settings import AudioAugmentation, FaceAugmentation, StageSettings, TrainSettings
from tests.conftest import REPOSITORY
from tests.support.training_stores import make_store

PLAIN = TrainSettings(
    stage_1=StageSettings(1, 0.0, 1e-3),
    stage_2=StageSettings(2, 1e-4, 1e-3),
    batch_size=2,
    accumulate=2,
    device="cpu",
)


class Stopping(RunCallbacks):
    """Ends the run at the first opportunity."""

    def should_stop(self) -> bool:
        return True


class Epochs(RunCallbacks):
    """Collects the epochs that are reported."""

    def __init__(self) -> None:
        self.epochs: list[object] = []

    def info(self, message: str, **fields: object) -> None:
        self.epochs.append(fields["epoch"])


class Printing(RunCallbacks):
    """Prints epochs and batches as they are finished."""

    def info(self, message: str, **fields: object) -> None:
        print("epoch", fields["epoch"], flush=True)

    def progress(self, done: float, total: float, lane: int = 0) -> None:
        print("batch", done, total, flush=True)


def claim(folder: Path, store: SegmentStore, settings: TrainSettings, resume: bool = False) -> bool:
    return prepare_run_directory(folder, RunIdentity.of(store, settings, ()), resume)


@pytest.fixture(scope="module")
def store_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("learnable"), subjects=8, segments=1, faces=2)


@pytest.fixture(scope="module")
def store(store_path: Path) -> SegmentStore:
    return SegmentStore.open(store_path)


NOTHING_CHANGED = dataclasses.replace(
    PLAIN,
    batch_size=4,
    accumulate=1,
    mixup_alpha=0.0,
    label_smoothing=0.0,
    audio=AudioAugmentation(probability=0.0),
    face=FaceAugmentation(probability=0.0),
)


@pytest.mark.slow
def test_training_fits_four_segments(tmp_path: Path) -> None:
    """The loss falls far below that of a constant score."""
    store = SegmentStore.open(make_store(tmp_path, segments=1, faces=1, pains=(0.5, 9.5, 9.5, 0.5)))
    settings = dataclasses.replace(
        NOTHING_CHANGED, stage_1=StageSettings(0, 0.0, 1e-3), stage_2=StageSettings(12, 1e-4, 3e-4)
    )
    rows = usable_rows(store, None)
    truth = store.index["reference"].to_numpy()[rows["train"]]
    losses: list[float] = []

    class Recording(PainLightningModule):
        def on_train_epoch_end(self) -> None:
            losses.append(float(self.train_sums[2] / self.train_sums[0]))

    loader = DataLoader(
        SegmentDataset(store, settings, True, 1),
        batch_size=4,
        sampler=EpochSampler(rows["train"], settings.seed),
        collate_fn=collate,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(
            accelerator="cpu",
            max_epochs=12,
            gradient_clip_val=1.0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(Recording(initial_network(settings, ()), settings, store), loader)
    assert len(losses) == 12
    assert np.mean(losses[-3:]) < 0.5 * np.var(truth), (losses, truth)


@pytest.mark.slow
def test_the_frozen_stage_leaves_the_encoders_unchanged(store: SegmentStore, tmp_path: Path) -> None:
    settings = dataclasses.replace(NOTHING_CHANGED, stage_2=StageSettings(0, 0.0, 1e-3))
    assert not claim(tmp_path / "run", store, settings)
    trained = fit(store, usable_rows(store, None), tmp_path / "run", settings)
    before = initial_network(settings, ()).state_dict()
    changed = {name for name, value in trained.state.items() if not torch.equal(value, before[name])}
    assert changed
    assert not [name for name in changed if "_encoder." in name]
    assert any(name.startswith("head.") for name in changed)
    assert (tmp_path / "run" / FIGURE_FILE).read_bytes().startswith(b"\x89PNG")
    assert [path.stat().st_mode & 0o77 for path in (tmp_path / "run").iterdir()] == [0] * 5

    # From cached embeddings it learns the same, except for their rounding to half precision.
    cached = dataclasses.replace(settings, cache_embeddings=True)
    claim(tmp_path / "cached", store, cached)
    again = fit(store, usable_rows(store, None), tmp_path / "cached", cached)
    np.testing.assert_allclose(_curves(tmp_path / "cached")[1], _curves(tmp_path / "run")[1], rtol=2e-3, atol=0.02)
    kept = tmp_path / "cached" / EMBEDDINGS_FOLDER
    assert kept.stat().st_mode & 0o77 == 0
    assert [
        name for name, value in again.state.items() if "_encoder." in name and not torch.equal(value, before[name])
    ] == []


def test_embeddings_are_kept_as_computed_shared_between_networks_and_completed_after_a_kill(tmp_path: Path) -> None:
    store = SegmentStore.open(make_store(tmp_path, subjects=4, segments=2, faces=2))
    settings = dataclasses.replace(PLAIN, cache_embeddings=True)
    network = initial_network(settings, ()).eval()
    folder = tmp_path / "embeddings"
    made, read = (load_or_compute_embeddings(folder, store, network, settings) for _ in range(2))
    segment = store.segment(int(made.rows[0]), ())
    with torch.inference_mode():
        (audio,) = network.encode_audio(torch.from_numpy(segment.spectrogram)[None, None]).numpy()
    np.testing.assert_allclose(made.audio[0], audio, rtol=2e-3, atol=2e-3)
    for name in ("rows", "audio", "faces", "places", "starts"):
        np.testing.assert_array_equal(getattr(made, name), getattr(read, name))
    assert made.starts.tolist() == [0, *np.cumsum([2] * (len(made.starts) - 1))]
    assert made.places[:2].tolist() == [0, 29]
    with pytest.raises(KeyError):
        made.item(10_000, 0.0)

    files = {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}
    single = dataclasses.replace(settings, architecture=Architecture(fusion="single"))
    load_or_compute_embeddings(folder, store, initial_network(single, ()).eval(), single)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")} == files
    truncated = next(path for path in files if path.parent.name.startswith("face"))
    truncated.write_bytes(truncated.read_bytes()[:1000])
    with pytest.raises(Interrupted, match="while encoding"):
        load_or_compute_embeddings(folder, store, network, settings, Stopping())
    again = load_or_compute_embeddings(folder, store, network, settings)
    np.testing.assert_array_equal(again.faces, made.faces)

    # A part of the rows is read from the whole, and the rest is added to a part.
    some = made.rows[[1, 4, 5]]
    few = load_or_compute_embeddings(folder, store, network, settings, Stopping(), rows=some)
    np.testing.assert_array_equal(few.faces, made.faces[[2, 3, 8, 9, 10, 11]])
    np.testing.assert_array_equal(few.audio, made.audio[[1, 4, 5]])
    apart = tmp_path / "apart"
    load_or_compute_embeddings(apart, store, network, settings, rows=some)
    whole = load_or_compute_embeddings(apart, store, network, settings)
    np.testing.assert_allclose(whole.faces.astype(float), made.faces.astype(float), atol=2e-3)
    np.testing.assert_array_equal(whole.places, made.places)


_RUN = """
import sys
from pathlib import Path
from avpenet_cli.training.run_directory import usable_rows
from avpenet_cli.training.fit import fit
from avpenet_cli.dataset.store import SegmentStore
from tests.training.test_fit import PLAIN, Printing, claim
store, folder = SegmentStore.open(Path(sys.argv[1])), Path(sys.argv[2])
claim(folder, store, PLAIN)
fit(store, usable_rows(store, None), folder, PLAIN, callbacks=Printing())
"""


def _curves(folder: Path) -> tuple[list[str], np.ndarray]:
    names, *rows = csv.reader((folder / CURVES_FILE).read_text().splitlines())
    return names, np.array(rows, float)


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_curve(store: SegmentStore, tmp_path: Path) -> None:
    broken, unbroken = tmp_path / "broken", tmp_path / "unbroken"
    with subprocess.Popen(
        [sys.executable, "-c", _RUN, store.path, broken], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        assert any(line == "epoch 2\n" for line in lines)
        assert next(lines) == "batch 1 2\n"  # half of the third epoch, which trains the encoders on
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert len(_curves(broken)[1]) == 2
    rows, callbacks = usable_rows(store, None), Epochs()
    (broken / "notes.txt").write_text("of the one who trains")
    assert claim(broken, store, PLAIN, resume=True)
    checkpoint = torch.load(broken / CHECKPOINT_FILE, weights_only=False)
    # Under this key the epochs of a run stand in every checkpoint, those of earlier versions included.
    assert len(checkpoint["callbacks"]["Bookkeeping"]["rows"]) == 2
    bare = shutil.copytree(broken, tmp_path / "bare")
    torch.save(checkpoint | {"callbacks": {}}, bare / CHECKPOINT_FILE)
    with pytest.raises(OutputError, match="holds no record of its earlier epochs"):
        fit(store, rows, bare, PLAIN, (), True)
    assert list(bare.glob("best-*.safetensors"))
    resumed = fit(store, rows, broken, PLAIN, (), True, callbacks)
    assert callbacks.epochs == [3]
    assert not claim(unbroken, store, PLAIN)
    whole = fit(store, rows, unbroken, PLAIN)
    names, curves = _curves(unbroken)
    assert tuple(names) == EpochRow._fields
    assert curves[:, :2].tolist() == [[1, 1], [2, 2], [3, 2]]
    np.testing.assert_allclose(_curves(broken)[1], curves, rtol=0, atol=1e-6)
    assert resumed.best is not None
    assert whole.best is not None
    assert resumed.best.epoch == whole.best.epoch
    for name, value in whole.state.items():
        torch.testing.assert_close(resumed.state[name], value, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_a_run_can_be_stopped_and_another_is_not_mistaken_for_it(store: SegmentStore, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    claim(folder, store, PLAIN)
    with pytest.raises(Interrupted, match="interrupted after 0 of 3 epochs; run the same command again with --resume"):
        fit(store, usable_rows(store, None), folder, PLAIN, callbacks=Stopping())
    with pytest.raises(OutputError, match=r"run\.json already exists; give --resume"):
        claim(folder, store, PLAIN)
    other = dataclasses.replace(PLAIN, weight_decay=0.02)
    with pytest.raises(OutputError, match=r"weight_decay was 0\.01, now 0\.02"):
        claim(folder, store, other, resume=True)
    assert not claim(folder, store, dataclasses.replace(PLAIN, workers=1), resume=True)
    (folder / CHECKPOINT_FILE).touch()
    assert claim(folder, store, PLAIN, resume=True)


@pytest.mark.slow
def test_a_damaged_checkpoint_is_said_in_one_line(store: SegmentStore, tmp_path: Path) -> None:
    folder, rows = tmp_path / "run", usable_rows(store, None)
    first, second = StageSettings(1, 0.0, 1e-3), StageSettings(0, 1e-4, 1e-3)
    settings = TrainSettings(
        network="early-fusion", stage_1=first, stage_2=second, batch_size=2, accumulate=1, device="cpu"
    )
    claim(folder, store, settings)
    fit(store, rows, folder, settings)
    path = folder / CHECKPOINT_FILE
    content, whole = path.read_bytes(), torch.load(path, weights_only=True)
    epochs = [{"Bookkeeping": {"rows": rows}} for rows in ([[1]], [["one", *range(10)]], 1)]
    wrong = ({}, whole | {"optimizer_states": [1]}, *(whole | {"callbacks": callback} for callback in epochs))
    for damaged in (content[:-100], b"", *wrong):
        if isinstance(damaged, bytes):
            path.write_bytes(damaged)
        else:
            torch.save(damaged, path)
        with pytest.raises(OutputError, match=r"last\.ckpt cannot be resumed from: ") as refused:
            fit(store, rows, folder, settings, (), True)
        assert "\n" not in str(refused.value)
    path.write_bytes(content)
    assert [row.epoch for row in fit(store, rows, folder, settings, (), True).rows] == [1]


def test_a_run_started_under_the_setting_names_of_version_1_can_be_resumed(store: SegmentStore, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    claim(folder, store, PLAIN)
    content = json.loads((folder / RUN_FILE).read_text())
    settings = {name.replace("audio.", "sound."): value for name, value in content["settings"].items()}
    assert settings != content["settings"]
    (folder / RUN_FILE).write_text(json.dumps(content | {"run_version": 1, "settings": settings}))
    (folder / "account.json").write_text("{}")
    (folder / CHECKPOINT_FILE).touch()
    assert claim(folder, store, PLAIN, resume=True)
    quieter = dataclasses.replace(PLAIN, audio=AudioAugmentation(probability=0.25))
    with pytest.raises(OutputError, match=r"audio\.probability was 0\.5, now 0\.25"):
        claim(folder, store, quieter, resume=True)


def test_a_folder_with_other_files_is_no_run_directory(store: SegmentStore, tmp_path: Path) -> None:
    for number, name in enumerate(("thesis.doc", CHECKPOINT_FILE)):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / name).touch()
        with pytest.raises(OutputError, match=f"holds other files, such as {name}"):
            claim(folder, store, PLAIN, resume=True)


@pytest.mark.slow
def test_a_loss_that_is_not_finite_names_its_segments(store: SegmentStore, tmp_path: Path) -> None:
    class Poisoned(SegmentStore):
        """A real store with an infinite rating."""

        def segment(self, number: int, frame_indices: object = None) -> object:  # type: ignore[override]
            return dataclasses.replace(super().segment(number), reference=np.inf)

    poisoned = Poisoned(store.path, store.record, store.index)
    rows = usable_rows(store, None)
    claim(tmp_path / "run", poisoned, PLAIN)
    with pytest.raises(AvpenetError, match=r"the loss is not finite .* in epoch 1, in the batch of r\d\.mp4 segment"):
        fit(poisoned, rows, tmp_path / "run", PLAIN)


def test_a_leak_between_splits_is_refused(store: SegmentStore) -> None:
    splits, subjects = store.index["split"].tolist(), store.index["subject"].tolist()
    subjects[splits.index("test")] = subjects[splits.index("train")]
    leaking = store.index.assign(subject=subjects)
    with pytest.raises(SettingsError, match=r"subject s\d is in"):
        usable_rows(SegmentStore(store.path, store.record, leaking), None)
    nobody = store.index.assign(split="train")
    with pytest.raises(SettingsError, match="no rated segment for early stopping"):
        usable_rows(SegmentStore(store.path, store.record, nobody), None)


def test_learning_rates_follow_the_papers_protocol() -> None:
    defaults = TrainSettings()
    assert list(learning_rates(defaults, 0)) == pytest.approx([0.0, 1e-3])
    assert list(learning_rates(defaults, 15)) == pytest.approx([0.0, (1e-3 + 1e-6) / 2])
    assert learning_rates(defaults, 29)[1] < 5e-6
    assert list(learning_rates(defaults, 30)) == pytest.approx([1e-5, 1e-4])
    assert learning_rates(defaults, 99)[1] == pytest.approx(1e-6, rel=0.1)
    assert defaults.batch_size * defaults.accumulate == 128
    assert smooth_targets(torch.tensor([0.0, 5.0, 10.0]), 0.1).tolist() == pytest.approx([0.5, 5.0, 9.5])


@pytest.mark.slow
def test_a_batch_gives_the_same_scores_as_single_segments(store: SegmentStore) -> None:
    """Concatenated faces, padding and masks do not change scores."""
    for architecture in (Architecture(), Architecture(fusion="single", pooling="image")):
        settings = dataclasses.replace(PLAIN, architecture=architecture)
        module = PainLightningModule(initial_network(settings, ()), settings, store).eval()
        items = [SegmentDataset(store, settings, False, frames)[SampleKey(0, frames)] for frames in (1, 2)]
        with torch.no_grad():
            together = module.predict(collate(items))
            alone = torch.cat([module.predict(collate([item])) for item in items])
            mel, faces = torch.from_numpy(items[1].mel), torch.from_numpy(items[1].faces)
            pixels = (faces.float() / 255 - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor(
                [0.229, 0.224, 0.225]
            ).view(3, 1, 1)
            direct = module.network(mel[None], pixels[None])
        torch.testing.assert_close(together, alone, atol=1e-4, rtol=0)
        torch.testing.assert_close(together[1:], direct, atol=1e-4, rtol=0)


def test_a_dropped_modality_is_as_a_missing_one(store: SegmentStore) -> None:
    architecture = Architecture(may_be_missing=("audio",))
    settings = dataclasses.replace(PLAIN, architecture=architecture, modality_dropout=1.0)
    module = PainLightningModule(initial_network(settings, ()), settings, store).eval()
    batch = collate([SegmentDataset(store, settings, False, 2)[SampleKey(0, row)] for row in (0, 1)])
    dropped = module._drop_modalities(2, np.random.default_rng(0))
    assert dropped is not None
    assert dropped["audio"].all()
    assert not dropped["face"].any()
    with torch.no_grad():
        without_audio = module.network.score(*module._tokens(batch, None, dropped, True))
        faces = (batch.faces.float() / 255 - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor(
            [0.229, 0.224, 0.225]
        ).view(3, 1, 1)
        tokens = module.network.encode_faces(faces).unflatten(0, (2, 2))
        torch.testing.assert_close(without_audio, module.network.score(None, tokens), atol=1e-5, rtol=0)


@pytest.mark.slow
def test_torchvision_state_dicts_fill_the_encoders(tmp_path: Path) -> None:
    from torchvision.models import resnet34, resnet50

    files = []
    for name, make in (("34", resnet34), ("50", resnet50)):
        torch.save(make().state_dict(), tmp_path / f"{name}.pth")
        files.append(tmp_path / f"{name}.pth")
    network = initial_network(PLAIN, files)
    assert isinstance(network, AVPENet)
    audio, faces = (torch.load(file, weights_only=True) for file in files)
    torch.testing.assert_close(network.audio_encoder.conv1.weight, audio["conv1.weight"].sum(1, keepdim=True))
    torch.testing.assert_close(
        network.audio_encoder.state_dict()["layer4.2.conv2.weight"], audio["layer4.2.conv2.weight"]
    )
    torch.testing.assert_close(
        network.visual_encoder.state_dict()["layer3.5.conv3.weight"], faces["layer3.5.conv3.weight"]
    )
    audio["layer4.2.conv2.weight"] = audio["layer4.2.conv2.weight"][:3]
    torch.save(audio, tmp_path / "odd.pth")
    with pytest.raises(WeightsError, match=r"not a state dict of torchvision's ResNet-34: layer4\.2\.conv2\.weight"):
        initial_network(PLAIN, [tmp_path / "odd.pth"])


def test_a_start_is_named_by_its_weights_or_by_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("resnet34").write_bytes(b"")
    assert locate_initial_file("avpenet-phantom") == weights_directory() / "avpenet-phantom.safetensors"
    assert locate_initial_file("resnet34") == Path("resnet34")
    assert locate_initial_file("mine.safetensors") == Path("mine.safetensors")
    with pytest.raises(WeightsError, match="no weights are called 'mine'"):
        locate_initial_file("mine")
    with pytest.raises(WeightsError, match="untrained have no file"):
        locate_initial_file("untrained")


def test_an_altered_index_is_refused(store_path: Path, tmp_path: Path) -> None:
    import shutil

    copied = Path(shutil.copytree(store_path, tmp_path / "copy"))
    table = pq.read_table(copied / INDEX_FILE)
    twice = pa.array(["s0"] * len(table))
    pq.write_table(table.set_column(table.schema.get_field_index("subject"), "subject", twice), copied / INDEX_FILE)
    with pytest.raises(SettingsError, match=r"does not match store\.json"):
        SegmentStore.open(copied)
    content = json.loads((copied / STORE_FILE).read_text())
    content["index"]["sha256"] = hashlib.sha256((copied / INDEX_FILE).read_bytes()).hexdigest()
    (copied / STORE_FILE).write_text(json.dumps(content))
    with pytest.raises(SettingsError, match="subject s0 is in"):
        usable_rows(SegmentStore.open(copied), None)
