"""Makes `VERSION.tar.xz` of small files that a checkout of an earlier version writes, with the libraries of today.

    git worktree add --detach ../earlier 1e16c83    # the last commit of 0.1.0 before its formats changed
    python -m tests.upgrades.make_files ../earlier tests/upgrades/0.1.0.tar.xz

The recordings are clips of the tests' portrait; they are not kept. Weights are all zeros and recordings alike, so that
the archive stays below 100 kB.
"""

from __future__ import annotations

import lzma
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tests.conftest import ClipMaker

PATIENTS = ("P1", "P2", "P3", "P4")
_MOST_BYTES = 100_000
_WEIGHTS = """
import dataclasses, pathlib, torch
from avpenet_cli import weights
from avpenet_cli.weights.loading import empty_network
description = dataclasses.replace(weights.untrained_entry().description, name="zeros", status="demonstration")
names = empty_network(description).state_dict().items()
state = {name: torch.zeros(tensor.shape, dtype=tensor.dtype) for name, tensor in names}
weights.save(state, description, pathlib.Path("zeros.safetensors"), packed=True)
"""
TRAIN = """
batch_size = 2
accumulate = 1
frames_per_segment = 1
validation_frames = 1
cache_embeddings = true
[stage_1]
epochs = 1
encoder_rate = 0.0
fusion_rate = 1e-3
[stage_2]
epochs = 0
encoder_rate = 1e-5
fusion_rate = 1e-4
"""
_KEPT = (
    *("scores.csv", "scores.csv.journal", "scores.run.json", "report.json", "report.review.csv", "baseline.json"),
    *("ratings.csv", "subjects.csv", "store", "zeros.safetensors", "zeros.json", "evaluation"),
    *("own.train/run.json", "own.train/account.json"),
)


def main(checkout: Path, archive: Path) -> None:
    """Run the earlier version's commands in a temporary folder and pack what they wrote."""
    environment = {**os.environ, "PYTHONPATH": str(checkout.resolve()), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def run(*arguments: str) -> None:
            subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, check=True)

        clips = folder / "clips"
        clips.mkdir()
        maker = ClipMaker(clips)
        recordings = [folder / f"{patient}.mkv" for patient in PATIENTS]
        # Little audio, so that the store is small.
        quiet = "volume=0:enable='gt(t,0.5)'"
        for path in recordings:
            # The same file of two patients is refused.
            title = f"title={path.stem}"
            options = ("-c:v", "copy", "-af", quiet, "-c:a", "pcm_s16le", "-metadata", title)
            shutil.copy(maker.ffmpeg("-i", str(maker.brief()), *options, suffix=".mkv"), path)
        names = [path.name for path in recordings]
        rows = [f"{name},0,3,{number + 2},NRS,R1" for number, name in enumerate(names)]
        (folder / "ratings.csv").write_text("\n".join(["recording,start_s,end_s,value,scale,rater", *rows, ""]))
        rows = [f"{name},{patient}" for name, patient in zip(names, PATIENTS, strict=True)]
        (folder / "subjects.csv").write_text("\n".join(["recording,subject", *rows, ""]))
        (folder / "train.toml").write_text(TRAIN)
        run("-c", _WEIGHTS)
        avpenet = "-m", "avpenet_cli"
        zeros = "--weights", "zeros.safetensors"
        run(*avpenet, "score", *names, "--out", "scores.csv", *zeros, "--device", "cpu")
        study = "--ratings", "ratings.csv", "--subjects", "subjects.csv"
        run(*avpenet, "prepare", *names, *study, "--out", "store", "--jpeg-quality", "50", "--split", "0.5,0.25,0.25")
        run(*avpenet, "train", "store", "--out", "own.safetensors", "--config", "train.toml", "--device", "cpu")
        run(*avpenet, "evaluate", "store", *zeros, "--out", "evaluation", "--conditions", "none", "--device", "cpu")
        rated = "--reference", "ratings.csv", "--subjects", "subjects.csv"
        run(*avpenet, "report", "scores.csv", *rated, "--out", "report.html", "--bootstrap", "200")
        shutil.copy(checkout / "examples" / "phantoms" / "expected.json", folder / "baseline.json")
        preset = 9 | lzma.PRESET_EXTREME
        with lzma.open(archive, "wb", preset=preset) as packed, tarfile.open(mode="w|", fileobj=packed) as tar:
            for kept in _KEPT:
                tar.add(folder / kept, kept, filter=_anonymous)
    size = archive.stat().st_size
    print(f"{archive}: {size:,} bytes")
    if size > _MOST_BYTES:
        sys.exit(f"more than {_MOST_BYTES:,} bytes: keep less")


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return None if member.name.endswith((".lock", ".html", ".png")) else member


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
