"""Which subjects the weights are evaluated on, and whether they were trained on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from avpenet_cli.dataset.splits import Split
from avpenet_cli.dataset.store import SegmentStore
from avpenet_cli.errors import SettingsError
from avpenet_cli.settings import flatten, to_dict
from avpenet_cli.training.training_record import RANDOM_INIT, splits_digest
from avpenet_cli.weights import WeightsDescription

Familiarity = Literal["unseen", "seen", "unknown"]
_NAMED = 3


@dataclass(frozen=True)
class EvaluationSplit:
    """The subjects that weights are evaluated on.

    Attributes:
        left_out_site: if the weights were trained without a site, the splits without that site apply.
        familiarity: whether these subjects were used in training or for early stopping.
        description: the same as a sentence.
    """

    split: Split
    left_out_site: str | None
    familiarity: Familiarity
    description: str

    @property
    def warning(self) -> str:
        """Warning for every output; empty unless the subjects were seen in training."""
        return self.description if self.familiarity == "seen" else ""


def identify_split(
    store: SegmentStore, split: Split, training_data: str, created_with: str = RANDOM_INIT
) -> EvaluationSplit:
    """Determine from the weights' description whether they were trained on this store, and with which of its splits.

    Args:
        training_data: from the description; `avpenet train` puts the digests of store and splits there.
        created_with: from the description; `avpenet train` puts there what the weights started from.
    """
    sites = store.record.splits.leave_one_site_out
    unchecked = "" if RANDOM_INIT in created_with else "; subjects in the file they started from are not checked"
    if f"store sha256 {store.digest}" not in training_data:
        text = "unknown whether the subjects are unseen: the weights do not state that they were trained on this store"
        return EvaluationSplit(split, None, "unknown", text)
    for site in (None, *sites):
        if f"splits sha256 {splits_digest(store, site)}" in training_data:
            which = "" if site is None else f" of the splits without site {site}"
            if split == "test":
                text = f"unseen subjects: the weights were trained on another split of this store{which}{unchecked}"
                return EvaluationSplit(split, site, "unseen", text)
            use = "the weights were trained on them" if split == "train" else "the best epoch was selected on them"
            text = f"SEEN SUBJECTS: {use}; the results do not generalise to other subjects"
            return EvaluationSplit(split, site, "seen", text)
    text = "unknown whether the subjects are unseen: the weights were trained on this store, split differently"
    return EvaluationSplit(split, None, "unknown", text)


def check_preprocessing(store: SegmentStore, description: WeightsDescription) -> None:
    """Check that the store was prepared with the preprocessing of the weights.

    Raises:
        SettingsError: it was not; names the settings that differ.
    """
    stored, needed = (flatten(to_dict(item)) for item in (store.preprocessing, description.preprocessing))
    differing = [name for name in stored if stored[name] != needed[name]]
    if differing:
        named = "; ".join(f"{name} is {stored[name]}, the weights need {needed[name]}" for name in differing[:_NAMED])
        more = f" and {len(differing) - _NAMED} more" if len(differing) > _NAMED else ""
        raise SettingsError(
            f"the store {store.path} was not prepared for the weights {description.name}: {named}{more}",
            "prepare the recordings again with these settings (--config), or give other weights",
        )
