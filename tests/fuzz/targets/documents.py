"""Documents and settings: JSON that the program wrote, TOML that people write."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tests.fuzz.case_target import case_target
from tests.fuzz.cases import Case
from tests.fuzz.trials import Limits

_EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
_WEIGHTS = Path(__file__).resolve().parents[3] / "weights"


def _prepare(corpus: Path) -> None:
    from avpenet_cli.calibration.site import write_site
    from avpenet_cli.settings import RunSettings, to_dict
    from avpenet_cli.study.pack import Pack, PackDesign, PackFile, PackFrame, write_pack
    from avpenet_cli.study.pack import sealed as sealed_pack
    from avpenet_cli.training.settings import TrainSettings
    from tests.support.sites import curve, site

    settings = corpus / "settings"
    settings.mkdir()
    for name, kind in (("run", RunSettings), ("train", TrainSettings)):
        (settings / f"{name}.toml").write_text(_toml(to_dict(kind())), encoding="utf-8")
    for path in _EXAMPLES.glob("*.toml"):
        shutil.copy(path, settings)
    documents = corpus / "documents"
    documents.mkdir()
    write_site(documents / "site.json", site(curve("neonate"), abstains=True))
    pack = Pack(
        **_pack_fields(),
        scores=(PackFile("scores.csv", "0" * 64, "1" * 64),),
        subjects=None,
        design=PackDesign(4, 42, ("score",), (3.0, 6.0), "proportional", ("a", "b"), 1.0, "NRS"),
        frame=PackFrame(10, 2, 2, subjects_known=True, left_out=1, most_of_one_subject=2),
        strata=(),
        segments=(),
    )
    write_pack(documents / "pack.json", sealed_pack(pack))
    shutil.copy(_EXAMPLES / "phantoms" / "expected.json", documents)
    for path in (*_EXAMPLES.glob("phantoms/*.csv"), _EXAMPLES / "phantoms" / "phantoms.json"):
        shutil.copy(path, documents)
    shutil.copy(_WEIGHTS / "avpenet-phantom.json", documents)
    (documents / "avpenet-phantom.safetensors").write_bytes(b"not read")


def _pack_fields() -> dict[str, Any]:
    from avpenet_cli.study.pack import PACK_NOTICE, PACK_VERSION

    return {
        "version": PACK_VERSION,
        "notice": PACK_NOTICE,
        "software": "0.1.0",
        "scores_digest": "1" * 64,
        "weights": "w@0123456789ab demonstration",
        "limit_points": 2.0,
        "limit_source": "protocol",
    }


def _toml(plain: dict[str, Any], prefix: str = "") -> str:
    """Settings as a file; what is not set is left out."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in plain.items() if not isinstance(value, dict | None)]
    for name, value in plain.items():
        if isinstance(value, dict):
            lines += ["", f"[{prefix}{name}]", _toml(value, f"{prefix}{name}.")]
    return "\n".join(lines)


def _run_settings(folder: Path) -> None:
    from avpenet_cli.settings import RunSettings, read_settings

    read_settings(RunSettings, folder / "run.toml", {})


def _train_settings(folder: Path) -> None:
    from avpenet_cli.settings import read_settings
    from avpenet_cli.training.settings import TrainSettings

    for name in ("train", "quick"):
        read_settings(TrainSettings, folder / f"{name}.toml", {})


def _experiment(folder: Path) -> None:
    from avpenet_cli.experiment.settings import read_experiment

    for name in ("experiment", "experiment-phantoms"):
        read_experiment(None, folder / f"{name}.toml")


def _alerts(folder: Path) -> None:
    from avpenet_cli.trajectory.alert_rules import read_rules_file

    read_rules_file(folder / "alerts.toml")


def _maps(folder: Path) -> None:
    from avpenet_cli.ratings.importing.rating_map import read_map

    for path in sorted(folder.glob("map-*.toml")):
        read_map(path)


def _site(folder: Path) -> None:
    from avpenet_cli.calibration.site import read_site

    read_site(folder / "site.json")


def _pack(folder: Path) -> None:
    from avpenet_cli.study.pack import read_pack

    read_pack(folder / "pack.json")


def _baseline(folder: Path) -> None:
    from avpenet_cli.commissioning.baseline import read_baseline

    read_baseline(folder / "expected.json")


def _weights(folder: Path) -> None:
    from avpenet_cli.weights.finding import entry_at
    from avpenet_cli.weights.loading import empty_network

    empty_network(entry_at(folder / "avpenet-phantom.safetensors").description)


def reseal_content(content: Any) -> Any:
    """Give a calibration, pack, report or the like the digest of what it now says."""
    from avpenet_cli.storage import content_digest

    return content | {"digest": content_digest(content)}


def reseal_weights(content: Any) -> Any:
    """Give a description of weights the digest of what it now says."""
    from avpenet_cli.settings import digest_of

    fields = {name: value for name, value in content.items() if name != "digest"}
    return fields | {"digest": digest_of(fields)}


DOCUMENTS = case_target(
    "documents",
    "settings, rules and maps in TOML; calibrations, packs, baselines, descriptions of weights in JSON",
    _prepare,
    [
        Case("run settings", "settings", ("run.toml",), _run_settings),
        Case("training settings", "settings", ("train.toml", "quick.toml"), _train_settings),
        Case("experiment", "settings", ("experiment*.toml",), _experiment, weight=0.5),
        Case("alert rules", "settings", ("alerts.toml",), _alerts),
        Case("maps", "settings", ("map-*.toml",), _maps),
        Case("calibration", "documents", ("site.json",), _site, reseal_content),
        Case("pack", "documents", ("pack.json",), _pack, reseal_content),
        Case("baseline", "documents", ("expected.json",), _baseline),
        Case("weights description", "documents", ("avpenet-phantom.json",), _weights, reseal_weights, weight=0.5),
    ],
    limits=Limits(memory_mib=768.0),  # the first that needs it loads torch
    ci_trials=100,
)
