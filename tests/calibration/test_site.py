"""site.json: written and read back unchanged, and refused where it is not what was fitted."""

from __future__ import annotations

import json
import math
from pathlib import Path

import jsonschema
import pytest

from avpenet_cli import schemas
from avpenet_cli.calibration.site import read_site, write_site
from avpenet_cli.errors import SettingsError
from avpenet_cli.stats.estimate import to_json
from avpenet_cli.storage import content_digest
from tests.support.sites import MARK, curve, site

SCHEMA = json.loads((Path(schemas.__file__).parent / "site.schema.json").read_text(encoding="utf-8"))


def test_a_calibration_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = site(curve("neonate", 1.2), abstains=True)
    write_site(tmp_path / "site.json", written)
    read = read_site(tmp_path / "site.json")
    assert to_json(read) == to_json(written)
    assert read.curves[1].interval == written.curves[1].interval
    assert math.isnan(read.pooled.cross_fit.before.bias.ci[0])
    assert (tmp_path / "site.json").stat().st_mode & 0o777 == 0o600


def test_a_calibration_satisfies_its_schema() -> None:
    jsonschema.validate(to_json(site(curve("neonate"), abstains=True)), SCHEMA)
    jsonschema.validate(to_json(site()), SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(to_json(site()) | {"surprise": 1}, SCHEMA)


def test_an_edited_calibration_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "site.json"
    write_site(path, site())
    content = json.loads(path.read_text())
    content["curves"][0]["interval"]["half_width"] = 0.5
    path.write_text(json.dumps(content))
    with pytest.raises(SettingsError, match="changed after it was fitted"):
        read_site(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[1, 2]", "is not a calibration"),
        ('{"kind": "something else"}', "is not a calibration"),
        ('{"kind": "avpenet site calibration", "format_version": 99}', "format version 99"),
        ('{"kind": "avpenet site calibration", "format_version": 1, "digest": NaN}', "changed after it was fitted"),
    ],
)
def test_another_file_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "site.json").write_text(text)
    with pytest.raises(SettingsError, match=message) as error:
        read_site(tmp_path / "site.json")
    assert "\n" not in str(error.value)


def test_a_file_without_the_needed_fields_is_refused_although_its_digest_fits(tmp_path: Path) -> None:
    content = to_json(site())
    del content["curves"][0]["interval"]["half_width"]
    content["digest"] = content_digest(content)
    (tmp_path / "site.json").write_text(json.dumps(content))
    with pytest.raises(SettingsError, match=r"curves\.0\.interval\.half_width"):
        read_site(tmp_path / "site.json")


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot be read: No such file"):
        read_site(tmp_path / "none.json")


def test_scores_of_other_weights_are_refused() -> None:
    site().check_weights(MARK, "scores.csv")
    # The status is a remark, which versions of the program write differently.
    site().check_weights("avpenet-phantom@0123456789ab", "scores.csv")
    with pytest.raises(SettingsError, match="avpenet-phantom@ffffffffffff"):
        site().check_weights("avpenet-phantom@ffffffffffff demonstration", "scores.csv")
