"""What systems see: the store itself, views of it, and variants prepared again from the recordings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.evaluation.conditions import Cover
from avpenet_cli.experiment.alteration import VariantSettings
from avpenet_cli.experiment.descriptions import ViewDescription
from avpenet_cli.experiment.noise import WHITE, NoiseFolder
from avpenet_cli.experiment.settings import ExperimentSettings
from avpenet_cli.experiment.variants import FoundRecordings, find_recordings, make_variant
from avpenet_cli.experiment.views import StoreView, ViewSettings
from avpenet_cli.model.architecture import Modality
from avpenet_cli.runs.callbacks import NO_CALLBACKS, RunCallbacks
from avpenet_cli.settings import digest_of, to_dict
from avpenet_cli.storage import make_private_folder

VARIANTS_FOLDER = "variants"
_NAME_DIGITS = 12
_COVER_TITLES: dict[Cover, str] = {
    "upper": "upper half covered",
    "lower": "lower half covered",
    "mask": "surgical mask",
    "random": "random 50 % covered",
}


@dataclass(frozen=True)
class Condition:
    """A change under which systems are evaluated.

    Attributes:
        description: for predictions and the page.
        view, variant: what it is; one of them.
    """

    description: ViewDescription
    view: ViewSettings | None = None
    variant: VariantSettings | None = None

    @property
    def modality(self) -> Modality:
        """What it changes; a network that does not take that is not evaluated under it."""
        return "audio" if self.description.family == "noise" else "face"


class Inputs:
    """Gives each system what it sees, and every condition of the evaluation.

    Args:
        store: the experiment's.
        out: folder of the experiment; variants are made in it.
        recordings: paths of the recordings that the store was made of; none where they are not at hand.
        noise: folder with recordings of noise.
        callbacks: told about the preparation of variants; may end it.
        device: of the face detection.

    Attributes:
        store: as given.
        noise: the recordings of noise; None without.

    Raises:
        SettingsError: recordings that have changed or are not there; a folder of noise that cannot be used.
    """

    def __init__(
        self,
        store: SegmentStore,
        out: Path,
        recordings: Sequence[str] = (),
        noise: Path | None = None,
        callbacks: RunCallbacks = NO_CALLBACKS,
        device: str = "auto",
    ) -> None:
        self.store, self._out, self._callbacks, self._device = store, out, callbacks, device
        self.noise = NoiseFolder.open(noise) if noise is not None else None
        self._recordings: FoundRecordings | None = find_recordings(store, recordings, callbacks) if recordings else None
        self._variants: dict[str, SegmentStore] = {}

    @property
    def has_recordings(self) -> bool:
        """Whether variants can be made."""
        return self._recordings is not None

    @property
    def missing_recordings(self) -> int:
        """Number of recordings of the store that were looked for and not found."""
        return len(self._recordings.missing) if self._recordings is not None else 0

    @property
    def digest(self) -> str:
        """Of what the predictions depend on: the store and the noise. Hexadecimal."""
        return digest_of([self.store.digest, self.noise.digest if self.noise else None])

    def test_rows(self) -> np.ndarray:
        """(n,) int64: all segments of recordings with a rated segment in the test split."""
        return rows_of_splits(self.store, ("test",))

    def store_for(self, view: ViewSettings | None, variant: VariantSettings | None) -> SegmentStore:
        """What a system sees; a variant is prepared first, which may take hours and resumes."""
        if view is not None:
            return StoreView(self.store, view, self._noise_for(view.noise))
        if variant is not None:
            return self._variant(variant, None)
        return self.store

    def under(self, condition: Condition) -> SegmentStore:
        """The test segments under a condition."""
        if condition.view is not None:
            return self.store_for(condition.view, None)
        assert condition.variant is not None
        return self._variant(condition.variant, self.test_rows())

    def conditions(self, settings: ExperimentSettings) -> list[Condition]:
        """The changes under which systems are evaluated, those that can be made here."""
        kinds = [WHITE, *([self.noise.name] if self.noise else [])]
        conditions = [_noise(kind, snr_db, before=False) for kind in kinds for snr_db in settings.noise_snr_db]
        conditions += [_cover(cover, before=False) for cover in settings.covers]
        if settings.harder and self.has_recordings:
            conditions += [_noise(kind, snr_db, before=True) for kind in kinds for snr_db in settings.noise_snr_db]
            conditions += [_cover(cover, before=True) for cover in settings.covers]
        return conditions

    def _noise_for(self, kind: str) -> NoiseFolder | None:
        return None if kind == WHITE else self.noise

    def _variant(self, settings: VariantSettings, rows: np.ndarray | None) -> SegmentStore:
        assert self._recordings is not None
        name = digest_of([to_dict(settings), rows is not None])[:_NAME_DIGITS]
        if name not in self._variants:
            make_private_folder(self._out / VARIANTS_FOLDER)
            folder = self._out / VARIANTS_FOLDER / name
            if rows is None:
                rows = rows_of_splits(self.store, ("train", "validation", "test"))
            noise = self._noise_for(settings.noise)
            self._variants[name] = make_variant(
                self.store,
                self._recordings,
                settings,
                folder,
                self._callbacks,
                rows=rows,
                noise=noise,
                device=self._device,
            )
        return self._variants[name]


def rows_of_splits(store: SegmentStore, splits: Sequence[str]) -> np.ndarray:
    """(n,) int64: all segments of recordings that have a rated one in these splits."""
    index = store.index
    rated = index["reference"].notna() & index["split"].isin(list(splits))
    return np.flatnonzero(index["recording"].isin(index.loc[rated, "recording"].unique()).to_numpy(dtype=bool))


def _noise(kind: str, snr_db: float, *, before: bool) -> Condition:
    label = "white" if kind == WHITE else "real"
    where = "before denoising" if before else "after denoising"
    place = "_before_denoising" if before else ""
    description = ViewDescription(
        name=f"noise_{label}_{snr_db:g}_db{place}",
        title=f"{label} noise at {snr_db:g} dB, {where}",
        family="noise",
        kind=label,
        level=f"{snr_db:g} dB",
        place="before denoising" if before else "after denoising",
        note=_notes()[f"noise {where}"],
    )
    if before:
        return Condition(description, variant=VariantSettings(noise_snr_db=snr_db, noise=kind))
    return Condition(description, view=ViewSettings(noise_snr_db=snr_db, noise=kind))


def _cover(cover: Cover, *, before: bool) -> Condition:
    where = "before detection" if before else "after detection"
    description = ViewDescription(
        name=f"cover_{cover}{'_before_detection' if before else ''}",
        title=f"{_COVER_TITLES[cover]}, {where}",
        family="cover",
        kind=cover,
        place="before detection" if before else "after detection",
        note=_notes()[f"cover {where}"],
    )
    if before:
        return Condition(description, variant=VariantSettings(cover=cover))
    return Condition(description, view=ViewSettings(cover=cover))


def _notes() -> dict[str, str]:
    return {
        "noise before denoising": "added to the recording at its own sampling rate before its noise is reduced; SNR "
        "over the power of the recording where it is not silent",
        "noise after denoising": "added to the denoised audio of the segment; SNR over the segment's own power",
        "cover before detection": "drawn on the frames before faces are searched in them, so that faces that are no "
        "longer found count",
        "cover after detection": "drawn on the aligned faces, after they were found",
    }
