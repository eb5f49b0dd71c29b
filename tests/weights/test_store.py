"""Storing, finding, verifying and installing weights: no change goes unnoticed, and nothing is loaded in part."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from avpenet_cli import weights
from avpenet_cli.errors import EnvironmentUnavailableError, WeightsError
from avpenet_cli.model.architecture import Architecture
from tests.support.weight_descriptions import make_description

State = dict[str, torch.Tensor]


def research_description(name: str) -> weights.WeightsDescription:
    architecture = Architecture(fusion="single")
    return make_description(name, status="research", architecture=architecture, cut_points=(2.5, 6.5), notice="")


@pytest.fixture(scope="module")
def state() -> State:
    return dict(weights.load_network(weights.find("untrained")).state_dict())


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, state: State) -> Iterator[Path]:
    """An intact pair that no test alters; removed afterwards, since it takes 200 MB."""
    folder = tmp_path_factory.mktemp("pair")
    yield weights.save(state, research_description("intact"), folder / "intact.safetensors").path or folder
    shutil.rmtree(folder)


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.fixture
def copy(pair: Path, scratch: Path) -> Path:
    shutil.copy(pair.with_suffix(".json"), scratch)
    return Path(shutil.copy(pair, scratch))


@pytest.fixture
def store(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(scratch / "store"))
    monkeypatch.setenv("XDG_DATA_HOME", str(scratch / "data"))
    return scratch / "store"


def test_saved_weights_come_back_equal_with_their_description(pair: Path, state: State) -> None:
    entry = weights.find(pair)
    network = weights.load_network(entry)
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    assert not network.training
    assert entry.description.cut_points == (2.5, 6.5)
    assert entry.description.tensors_sha256 == hashlib.sha256(pair.read_bytes()).hexdigest()
    assert json.loads(pair.with_suffix(".json").read_text())["digest"] == entry.digest
    assert {path.stat().st_mode & 0o777 for path in pair.parent.iterdir()} == {0o600}


def test_one_altered_byte_of_a_tensor_is_noticed(copy: Path) -> None:
    with copy.open("r+b") as file:
        file.seek(-1000, os.SEEK_END)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    entry = weights.find(copy)
    for check in (weights.verify, weights.load_network):
        with pytest.raises(WeightsError, match=r"intact\.safetensors was altered"):
            check(entry)


def test_loaded_network_does_not_change_with_its_file(copy: Path, state: State) -> None:
    """What was verified is what was loaded: a mapped file would let later changes through."""
    network = weights.load_network(weights.find(copy))
    with copy.open("r+b") as file:
        file.seek(-4_000_000, os.SEEK_END)
        file.write(bytes(4_000_000))
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("bytes_left", [0, 5, 100_000])
def test_truncated_tensors_are_noticed(pair: Path, scratch: Path, bytes_left: int) -> None:
    shutil.copy(pair.with_suffix(".json"), scratch)
    with pair.open("rb") as whole:
        (scratch / pair.name).write_bytes(whole.read(bytes_left))
    with pytest.raises(WeightsError, match="incomplete"):
        weights.load_network(weights.find(scratch / pair.name))


def _relabel(fields: dict[str, object]) -> None:
    fields["cut_points"] = [1.0, 9.0]


def _quieten(fields: dict[str, object]) -> None:
    fields["status"] = "validated"


def _strip(fields: dict[str, object]) -> None:
    del fields["notice"]


def _unsign(fields: dict[str, object]) -> None:
    del fields["digest"]


@pytest.mark.parametrize("alter", [_relabel, _quieten, _strip, _unsign])
def test_altered_description_is_noticed(pair: Path, scratch: Path, alter: Callable[[dict[str, object]], None]) -> None:
    fields = json.loads(pair.with_suffix(".json").read_text())
    alter(fields)
    (scratch / "intact.json").write_text(json.dumps(fields))
    (scratch / "intact.safetensors").symlink_to(pair)
    with pytest.raises(WeightsError, match=r"intact\.json was altered"):
        weights.find(scratch / "intact.safetensors")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe{", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[1]", "is not a weights description"),
        (b'{"format_version": 7}', "format version 7"),
    ],
)
def test_file_that_is_no_description_is_refused(pair: Path, scratch: Path, content: bytes, message: str) -> None:
    (scratch / "intact.json").write_bytes(content)
    (scratch / "intact.safetensors").symlink_to(pair)
    with pytest.raises(WeightsError, match=message):
        weights.find(scratch / "intact.safetensors")


def test_missing_description_and_missing_tensors_have_different_errors(pair: Path, scratch: Path) -> None:
    shutil.copy(pair.with_suffix(".json"), scratch)
    with pytest.raises(WeightsError, match=r"the tensors .* does not exist"):
        weights.find(scratch / "intact.json")
    (scratch / "lonely.safetensors").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"the description .* does not exist"):
        weights.find(scratch / "lonely.safetensors")


def _handmade(folder: Path, tensors: State, description: weights.WeightsDescription) -> Path:
    """A pair with correct digests and arbitrary tensors, as a faulty program would write it."""
    path = folder / f"{description.name}.safetensors"
    save_file(tensors, path)
    complete = dataclasses.replace(description, tensors_sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    path.with_suffix(".json").write_text(json.dumps(weights.describe(weights.WeightsEntry(complete, path))))
    return path


def _without_one(state: State) -> State:
    return {name: tensor for name, tensor in state.items() if name != "fusion.p_a"}


def _with_another(state: State) -> State:
    return state | {"fusion.p_b": torch.zeros(3)}


def _of_other_shape(state: State) -> State:
    return state | {"head.fc3.weight": torch.zeros(128, 1)}


def _of_other_type(state: State) -> State:
    return state | {"fusion.p_a": torch.zeros(512, dtype=torch.float16)}


def _not_numbers(state: State) -> State:
    return state | {"fusion.p_a": torch.full((512,), torch.nan)}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_without_one, "lacks tensor fusion.p_a"),
        (_with_another, "unknown tensor fusion.p_b"),
        (_of_other_shape, r"head.fc3.weight is F32 \[128, 1\], the network's is F32 \[1, 128\]"),
        (_of_other_type, "fusion.p_a is F16"),
        (_not_numbers, "fusion.p_a has values that are not finite"),
    ],
)
def test_tensors_that_do_not_fit_the_network_are_neither_loaded_nor_saved(
    spoil: Callable[[State], State], message: str, state: State, scratch: Path
) -> None:
    description = dataclasses.replace(research_description("spoilt"), n_parameters=51_247_459)
    entry = weights.find(_handmade(scratch, spoil(state), description))
    with pytest.raises(WeightsError, match=message):
        weights.load_network(entry)
    with pytest.raises(WeightsError, match=message):
        weights.save(spoil(state), research_description("again"), scratch / "again.safetensors")
    assert not (scratch / "again.safetensors").exists()


def test_link_to_the_tensors_alone_finds_the_description_beside_the_target(pair: Path, scratch: Path) -> None:
    (scratch / "intact.safetensors").symlink_to(pair)
    weights.verify(weights.find(scratch / "intact.safetensors"))


@pytest.mark.parametrize("kind", ["folder", "link to itself", "fifo", "broken link"])
def test_path_that_is_no_readable_file_gives_a_clear_error(kind: str, scratch: Path) -> None:
    path = scratch / "odd.safetensors"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(path if kind == "link to itself" else scratch / "gone")
    with pytest.raises(WeightsError, match=r"odd\.safetensors"):
        weights.find(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_without_read_permission_gives_a_clear_error(copy: Path) -> None:
    copy.chmod(0)
    with pytest.raises(WeightsError, match="cannot be read"):
        weights.find(copy)


def test_renamed_pair_is_refused(pair: Path, scratch: Path) -> None:
    shutil.copy(pair.with_suffix(".json"), scratch / "other.json")
    (scratch / "other.safetensors").symlink_to(pair)
    with pytest.raises(WeightsError, match="called 'intact'"):
        weights.find(scratch / "other.safetensors")


def test_installing_twice_changes_nothing_and_other_weights_of_the_name_are_refused(
    pair: Path, store: Path, scratch: Path, state: State
) -> None:
    first = weights.install(pair)
    assert first.path == store / "intact.safetensors"
    before = first.path.stat()
    assert weights.install(pair).digest == first.digest
    assert first.path.stat().st_mtime_ns == before.st_mtime_ns
    assert before.st_mode & 0o777 == 0o600
    assert weights.find("intact").digest == first.digest
    assert sorted(path.name for path in store.iterdir()) == ["intact.json", "intact.safetensors"]

    (scratch / "new").mkdir()
    relabelled = dataclasses.replace(research_description("intact"), licence="CC0-1.0")
    other = weights.save(state, relabelled, scratch / "new" / "intact.safetensors")
    assert other.path is not None
    with pytest.raises(WeightsError, match="other weights of that name"):
        weights.install(other.path)
    assert weights.find("intact").digest == first.digest
    assert weights.install(other.path, overwrite=True).digest == other.digest
    weights.verify(weights.find("intact"))


def test_json_file_without_weights_is_replaced_on_request_only(state: State, scratch: Path) -> None:
    """For example a site's baseline `site.json`, where weights are to be called `site`."""
    (scratch / "site.json").write_text("scores")
    with pytest.raises(WeightsError, match="belongs to no weights"):
        weights.save(state, research_description("site"), scratch / "site.safetensors")
    assert (scratch / "site.json").read_text() == "scores"
    assert not (scratch / "site.safetensors").exists()
    weights.verify(weights.save(state, research_description("site"), scratch / "site.safetensors", overwrite=True))


def test_altered_weights_are_not_installed(copy: Path, store: Path) -> None:
    with copy.open("ab") as file:
        file.write(b"x")
    with pytest.raises(WeightsError, match="altered"):
        weights.install(copy)
    assert not store.exists() or not any(store.iterdir())


def test_store_that_cannot_be_written_is_named_in_the_error(pair: Path, store: Path) -> None:
    store.write_text("a file where the folder should be")
    with pytest.raises(EnvironmentUnavailableError, match="cannot write weights to"):
        weights.install(pair)


def test_listing_has_intact_and_unusable_weights(pair: Path, store: Path) -> None:
    store.mkdir()
    (store / "intact.safetensors").symlink_to(pair)
    (store / "broken.safetensors").write_bytes(b"garbage")
    (store / "notes.txt").write_text("not weights")
    listed = weights.list_entries()
    assert isinstance(listed[0], weights.WeightsEntry)
    assert listed[0].name == "untrained"
    assert {entry.name for entry in listed if isinstance(entry, weights.WeightsEntry)} >= {"untrained", "intact"}
    assert [entry.path.stem for entry in listed if isinstance(entry, weights.UnusableWeights)] == ["broken"]


def test_error_for_an_unknown_name_lists_the_search_path(store: Path) -> None:
    with pytest.raises(WeightsError, match=f"'nowhere'.*{store}"):
        weights.find("nowhere")


def test_missing_home_prevents_installing_only(pair: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (weights.FOLDER_VARIABLE, "XDG_DATA_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)

    def no_such_user() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_such_user)
    assert weights.find("untrained").name == "untrained"
    assert weights.list_entries()
    with pytest.raises(EnvironmentUnavailableError, match="HOME is not set"):
        weights.install(pair)


def test_name_of_the_built_in_weights_is_reserved(state: State, scratch: Path) -> None:
    with pytest.raises(WeightsError, match="built-in"):
        weights.save(state, research_description("untrained"), scratch / "untrained.safetensors")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("cut_points", (6.0, 3.0), "cut_points must increase"),
        ("status", "demonstration", "need a notice"),
        ("name", "../escape", "name"),
        ("architecture", Architecture(may_be_missing=("face",)), "may_be_missing"),
    ],
)
def test_descriptions_that_contradict_themselves_are_refused(field: str, value: object, message: str) -> None:
    changes = {field: value} | ({"modalities": ("face",)} if field == "architecture" else {})
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(research_description("intact"), **changes)  # type: ignore[arg-type]
