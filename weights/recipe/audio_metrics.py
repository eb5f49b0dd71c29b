"""What a pretrained audio encoder makes of clips that it has not learnt from, window by window as `avpenet score`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import rankdata
from torch import nn

from avpenet_cli.settings import AudioSettings
from weights.recipe.audio_front_end import FrontEnd
from weights.recipe.audio_pack import CALM, CATEGORIES, RATE_HZ, AudioSet
from weights.recipe.learning import half_precision

WINDOW = 3 * RATE_HZ
_LONGEST = 8 * RATE_HZ
_GAP = RATE_HZ // 10


def auc(higher: np.ndarray, lower: np.ndarray) -> float | None:
    """Probability that a value of `higher` exceeds one of `lower`, ties counted half; None where either is empty."""
    if not len(higher) or not len(lower):
        return None
    ranks = rankdata(np.concatenate([higher, lower]))[: len(higher)]
    return round(float((ranks.sum() - len(higher) * (len(higher) + 1) / 2) / (len(higher) * len(lower))), 4)


def recordings(audio: AudioSet, part: str, joined: bool) -> tuple[pd.DataFrame, list[np.ndarray]]:
    """The clips of a part as recordings of at most 8 s, (samples,) int16 each, and what they are.

    Args:
        joined: bursts of one person and category follow each other, instead of a recording each.
    """
    index = audio.index[audio.index["part"] == part].reset_index(drop=True)
    clips = [audio.samples[at : at + n][:_LONGEST] for at, n in zip(index["start"], index["samples"], strict=True)]
    if not joined:
        return index, clips
    bursts = index[index["group"] == "burst"]
    rows, parts = [], []
    for at in bursts.groupby(["person", "kind"]).indices.values():
        members = bursts.index[at]
        pieces = [piece for row in members for piece in (clips[row], np.zeros(_GAP, np.int16))]
        rows.append(index.loc[members[0]])
        parts.append(np.concatenate(pieces)[:WINDOW])
    return pd.DataFrame(rows), parts


def windows_of(clips: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Recording and start of each 3-s window, in samples; a rest of under a second is no window."""
    starts = [
        (row, start)
        for row, clip in enumerate(clips)
        for start in range(0, max(1, clip.size), WINDOW)
        if start == 0 or clip.size - start >= RATE_HZ
    ]
    table = np.array(starts, dtype=np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


@torch.inference_mode()
def predict(module: nn.Module, clips: list[np.ndarray], device: torch.device, batch: int = 256) -> pd.DataFrame:
    """Pain and log-probability of Pain of every window, a row each, with its `recording`."""
    front_end = FrontEnd(AudioSettings()).to(device)
    owner, start = windows_of(clips)
    pain, log_pain = [], []
    for first in range(0, len(owner), batch):
        rows = range(first, min(first + batch, len(owner)))
        whole = np.zeros((len(rows), _LONGEST), np.int16)
        for number, row in enumerate(rows):
            whole[number, : clips[owner[row]].size] = clips[owner[row]]
        lengths = torch.tensor([clips[owner[row]].size for row in rows], device=device)
        audio = torch.from_numpy(whole).to(device).float() / 32768
        noise = front_end.noise_magnitude(audio, lengths)
        at = torch.from_numpy(start[first : first + len(rows)]).to(device)
        index = at[:, None] + torch.arange(WINDOW, device=device)
        cut = torch.where(index < lengths[:, None], audio.gather(1, index.clamp(max=_LONGEST - 1)), 0.0)
        mels = front_end(cut, (lengths - at).clamp(max=WINDOW), noise)
        with half_precision(device):
            outputs = module(mels)
        pain.append(outputs["pain"].float().cpu().numpy())
        log_pain.append(outputs["category"].log_softmax(1)[:, CATEGORIES.index("Pain")].float().cpu().numpy())
    return pd.DataFrame({"recording": owner, "pain": np.concatenate(pain), "log_pain": np.concatenate(log_pain)})


def measure(module: nn.Module, audio: AudioSet, part: str, device: torch.device) -> dict[str, Any]:
    """AUCs of the pain score and of the log-probability of Pain, shares over 3, and mean scores of a part.

    A recording's score is the mean of its windows.
    """
    result: dict[str, Any] = {}
    for name, joined in (("clips", False), ("joined", True)):
        index, clips = recordings(audio, part, joined)
        if not clips:
            continue
        windows = predict(module, clips, device)
        scores = windows.groupby("recording").mean()
        kind, group = index["kind"].to_numpy(), index["group"].to_numpy()
        burst = group == "burst"
        for score in ("pain", "log_pain"):
            values = scores[score].to_numpy()
            pain = values[burst & (kind == "Pain")]
            one = {f"Pain over {other}": auc(pain, values[burst & (kind == other)]) for other in ("Distress", *CALM)}
            one["Pain over calm"] = auc(pain, values[burst & np.isin(kind, CALM)])
            one["Pain over all others"] = auc(pain, values[burst & (kind != "Pain")])
            if not joined:
                one["cries over surroundings"] = auc(values[group == "cry"], values[group == "surroundings"])
            result[f"auc, {name}, {score}"] = one
        if joined:
            continue
        of_window = group[windows["recording"]]
        result["windows over 3"] = {
            name: round(float((windows["pain"][of_window == name] > 3).mean()), 4)
            for name in ("cry", "speech", "surroundings")
            if (of_window == name).any()
        }
        label = pd.Series(np.where(group == "surroundings", "surroundings: " + kind, kind))
        means = scores["pain"].groupby(label.to_numpy()).mean().sort_values()
        result["mean pain"] = {str(key): round(float(value), 2) for key, value in means.items()}
        result["recordings"] = {str(key): int(count) for key, count in pd.Series(group).value_counts().items()}
    return result
