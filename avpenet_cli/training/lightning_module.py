"""The network with its training and validation steps, for Lightning."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor

from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.errors import AvpenetError
from avpenet_cli.model.architecture import Modality
from avpenet_cli.model.avpenet import average_faces
from avpenet_cli.model.encoders import AudioEncoder, deduplicate_consecutive
from avpenet_cli.model.head import MAX_SCORE
from avpenet_cli.model.losses import LossTerms, composite_loss
from avpenet_cli.model.network import PainNetwork
from avpenet_cli.training.augmentation import Mixing, draw_mixing, partner_faces
from avpenet_cli.training.data import MIXUP, NETWORK, Batch, make_rng
from avpenet_cli.training.settings import TrainSettings

_FROZEN_MICRO_BATCH = 64
"""Faces per pass through a frozen encoder; changes memory use, not results."""
_NAMED = 8
_LOSSES = 4
_ERRORS = 4


class PainLightningModule(lightning.LightningModule):
    """The network with its losses, optimiser and learning rates.

    Args:
        network: the network to train.
        settings: the settings of the run.
        store: for the pixel mean and standard deviation, and the segments' names.

    Attributes:
        train_sums: (5,) float64: number of segments, then sums of the four loss terms, of this epoch and process.
        validation_sums: (4,) float64: number of segments, then sums of |d|, d^2 and d, with d = score - reference.
    """

    def __init__(self, network: PainNetwork, settings: TrainSettings, store: SegmentStore) -> None:
        super().__init__()
        self.network = network
        self.network.face_micro_batch = _FROZEN_MICRO_BATCH
        for encoder in self.network.encoders():
            if not isinstance(encoder, AudioEncoder):
                # Faster for convolutions, also on CPUs; same results.
                encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._settings, self._store = settings, store
        face = store.preprocessing.face
        self._mean, self._std = face.pixel_mean, face.pixel_std
        self.train_sums = torch.zeros(1 + _LOSSES, dtype=torch.float64)
        self.validation_sums = torch.zeros(_ERRORS, dtype=torch.float64)

    # --- hooks of Lightning --------------------------------------------------------------------------------------

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW with two groups, encoders and the rest; learning rates are set per epoch."""
        encoders = [parameter for encoder in self.network.encoders() for parameter in encoder.parameters()]
        known = {id(parameter) for parameter in encoders}
        rest = [parameter for parameter in self.network.parameters() if id(parameter) not in known]
        groups: list[dict[str, Any]] = [{"params": encoders}, {"params": rest}]
        return torch.optim.AdamW(groups, lr=0.0, weight_decay=self._settings.weight_decay)

    def on_train_epoch_start(self) -> None:
        """Reset the sums."""
        self.train_sums.zero_()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set learning rates, modes and seed from epoch and batch alone, so that a resumed run is the same."""
        _, stage, _ = self._settings.stage_at(self.current_epoch)
        if batch_idx == 0:
            self.train_sums.zero_()
            # Once: within an epoch nothing changes it, and going through all modules takes as long as a small batch.
            self.network.train()
            if not stage.encoder_rate:
                for encoder in self.network.encoders():
                    encoder.eval()
        optimiser = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimiser, torch.optim.Optimizer)
        for group, rate in zip(optimiser.param_groups, learning_rates(self._settings, self.current_epoch), strict=True):
            group["lr"] = rate
        words = make_rng(self._settings.seed, NETWORK, self.current_epoch, batch_idx, self.global_rank)
        torch.manual_seed(int(words.integers(2**63)))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of one batch, with mixup and label smoothing.

        Raises:
            AvpenetError: the loss is not finite; names the segments.
        """
        rng = make_rng(self._settings.seed, MIXUP, self.current_epoch, batch_idx, self.global_rank)
        mixing = draw_mixing(len(batch.truth), self._settings.mixup_alpha, rng)
        frozen = not self._settings.stage_at(self.current_epoch)[1].encoder_rate
        tokens = self._tokens(batch, mixing, self._drop_modalities(len(batch.truth), rng), frozen)
        target = smooth_targets(_mixed(batch.truth, mixing), self._settings.label_smoothing)
        predictions = self.network.predictions(*tokens).float()
        terms = _mean_terms([composite_loss(scores, target, self._settings.loss) for scores in predictions])
        values = torch.stack(terms).detach().double().cpu()
        if not bool(values.isfinite().all()):
            raise self._not_finite(batch, values)
        size = len(batch.truth)
        self.train_sums += size * torch.cat([torch.ones(1, dtype=torch.float64), values])
        return terms.total

    def on_validation_epoch_start(self) -> None:
        """Reset the sums."""
        self.validation_sums.zero_()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add the errors of one batch."""
        difference = (self.predict(batch) - batch.truth).double().cpu()
        if not bool(difference.isfinite().all()):
            raise self._not_finite(batch, difference)
        sums = [torch.ones_like(difference), difference.abs(), difference.square(), difference]
        self.validation_sums += torch.stack(sums).sum(dim=1)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move the batch, whose type Lightning does not know."""
        return batch.to(device, non_blocking=True)

    # --- the network -----------------------------------------------------------------------------------------------

    def predict(self, batch: Batch) -> Tensor:
        """Scores of a batch without mixup: (B,) float32 in [0, 10]. The network should be in evaluation mode."""
        return self.network.score(*self._tokens(batch, None, None, frozen=True)).float()

    @torch.no_grad()
    def embed(self, batch: Batch) -> Batch:
        """The batch with encoder outputs in place of its audio and faces."""
        audio, faces, mask = self._encoded(batch, None, frozen=True)
        places = batch.places
        if self.network.architecture.pools_images:
            places = torch.zeros(len(faces), dtype=torch.int64)
        return replace(batch, mel=audio.float(), faces=faces.float(), counts=mask.sum(dim=1).cpu(), places=places)

    def _tokens(
        self, batch: Batch, mixing: Mixing | None, dropped: dict[Modality, Tensor] | None, frozen: bool
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
        """The arguments of `PainNetwork.score`."""
        if batch.embedded:
            audio, encoded, mask = _mixed(batch.mel, mixing), _mixed_faces(batch.faces, batch, mixing), _mask(batch)
        else:
            audio, encoded, mask = self._encoded(batch, mixing, frozen)
        taken = self.network.modalities
        if "face" not in taken:
            return audio, None, None, None
        tokens = encoded.new_zeros((*mask.shape, encoded.shape[-1])).masked_scatter(mask[..., None], encoded)
        places = None
        if not self.network.architecture.pools_images:
            of_batch = _mask(batch)
            places = torch.zeros(of_batch.shape, dtype=torch.int64, device=of_batch.device)
            places[of_batch] = batch.places.to(places.device)
        if dropped is not None:
            # Ten zero tokens are equivalent to the one of a missing modality: attention cannot tell them apart.
            audio = torch.where(dropped["audio"].to(audio.device)[:, None, None], 0.0, audio)
            mask = mask & ~dropped["face"].to(mask.device)[:, None]
        return audio if "audio" in taken else None, tokens, mask, places

    def _encoded(self, batch: Batch, mixing: Mixing | None, frozen: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Audio tokens (B, Ta, Da), face embeddings (n, Dv), and the mask (B, T) bool of their places; without values
        of a modality that the network does not take.
        """
        mask = _mask(batch)
        audio, encoded = batch.mel.new_zeros((len(batch.mel), 0, 0)), batch.mel.new_zeros((len(batch.faces), 0))
        if "face" in self.network.modalities:
            mean, std = (batch.mel.new_tensor(value).view(1, 3, 1, 1) for value in (self._mean, self._std))
            faces = _mixed_faces((batch.faces.float() / 255 - mean) / std, batch, mixing)
            if self.network.architecture.pools_images:
                clip = faces.new_zeros((*mask.shape, *faces.shape[1:]))
                clip[mask] = faces
                has_face = mask.any(dim=1, keepdim=True)
                faces = average_faces(clip, mask | ~has_face)[has_face]
                mask = has_face
            with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
                encoded = self._encode_faces(faces, frozen)
        if "audio" in self.network.modalities:
            with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
                # Dropout draws in memory order: cached and fresh embeddings must lose the same elements.
                audio = self.network.encode_audio(_mixed(batch.mel, mixing)).contiguous()
        return audio, encoded, mask

    def _encode_faces(self, faces: Tensor, frozen: bool) -> Tensor:
        if not frozen or not len(faces):
            return self.network.encode_faces(faces)
        distinct, inverse = deduplicate_consecutive(faces)
        return torch.cat([self.network.encode_faces(part) for part in distinct.split(_FROZEN_MICRO_BATCH)])[inverse]

    def _drop_modalities(self, size: int, rng: np.random.Generator) -> dict[Modality, Tensor] | None:
        """Modality dropout: which segments lose which modality, each (B,) bool; never both."""
        optional = self._settings.architecture.may_be_missing
        if not self._settings.modality_dropout or not optional:
            return None
        drawn = torch.from_numpy(rng.random(size) < self._settings.modality_dropout)
        which = torch.from_numpy(rng.integers(len(optional), size=size))
        none = torch.zeros(size, dtype=torch.bool)
        return {
            name: drawn & (which == optional.index(name)) if name in optional else none for name in ("audio", "face")
        }

    def _not_finite(self, batch: Batch, values: Tensor) -> AvpenetError:
        index = self._store.index
        names = [f"{index['recording'].iloc[row]} segment {index['segment'].iloc[row]}" for row in batch.rows.tolist()]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        shown = ", ".join(f"{value:g}" for value in values.tolist()[:_LOSSES])
        return AvpenetError(
            f"the loss is not finite ({shown}) in epoch {self.current_epoch + 1}, in the batch of "
            f"{', '.join(names[:_NAMED])}{more}",
            "look at these segments, or lower the learning rates; the last complete epoch is kept",
        )


def _mean_terms(terms: list[LossTerms]) -> LossTerms:
    """Mean of the losses of predictions that are trained apart."""
    if len(terms) == 1:
        return terms[0]
    return LossTerms(*(torch.stack(values).mean() for values in zip(*terms, strict=True)))


def learning_rates(settings: TrainSettings, epoch: int) -> tuple[float, float]:
    """Learning rates of encoders and of the rest at an epoch counted from 0: a cosine down to the final rate.

    A rate of 0 stays 0.
    """
    _, stage, within = settings.stage_at(epoch)
    share = 0.5 * (1 + float(np.cos(np.pi * within / stage.epochs)))
    encoder, fusion = (
        settings.final_rate + (start - settings.final_rate) * share if start else 0.0
        for start in (stage.encoder_rate, stage.fusion_rate)
    )
    return encoder, fusion


def smooth_targets(truth: Tensor, share: float) -> Tensor:
    """Label smoothing: targets (B,) moved towards the middle of the scale by a share of their distance."""
    return truth + share * (MAX_SCORE / 2 - truth)


def _mask(batch: Batch) -> Tensor:
    """(B, T) bool: the positions of each segment that have a face."""
    mask = torch.arange(max(int(batch.counts.max()), 1)) < batch.counts[:, None]
    return mask.to(batch.faces.device)


def _mixed_faces(faces: Tensor, batch: Batch, mixing: Mixing | None) -> Tensor:
    if mixing is None:
        return faces
    partner = torch.from_numpy(partner_faces(batch.counts.numpy(), mixing.partner)).to(faces.device)
    return mixing.share * faces + (1 - mixing.share) * faces[partner]


def _mixed(values: Tensor, mixing: Mixing | None) -> Tensor:
    if mixing is None:
        return values
    return mixing.share * values + (1 - mixing.share) * values[torch.from_numpy(mixing.partner).to(values.device)]
