"""The file of rules: what is read, and what one line says about every kind of mistake."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from pathlib import Path

import pytest

from avpenet_cli.errors import SettingsError
from avpenet_cli.trajectory.alert_rules import KINDS, AboveRule, NoDeclineRule, read_rules, read_rules_file
from avpenet_cli.trajectory.alert_table import ALERT_COLUMNS
from tests.conftest import REPOSITORY

_ABOVE = {"kind": '"above"', "name": '"pain"', "text": '"Pain"', "points": "7", "for_s": "10.0"}
_RISE = {"kind": '"rise"', "name": '"up"', "text": '"Up"', "points": "3.0", "within_s": "10"}
_QUIET = {"kind": '"no_decline"', "name": '"no"', "text": '"No"', "event": '"a"', "points": "2", "within_min": "30"}
_POOR = {"kind": '"low_confidence"', "name": '"poor"', "text": '"Poor"', "for_min": "1"}


def _written(folder: Path, *rules: dict[str, str]) -> Path:
    path = folder / "alerts.toml"
    lines = [
        line
        for rule in rules
        for line in ("[[rules]]", *(f"{name} = {value}" for name, value in rule.items() if value))
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_the_example_has_a_rule_of_every_kind() -> None:
    rules = read_rules(REPOSITORY / "examples" / "alerts.toml")
    assert {rule.kind for rule in rules} == set(KINDS)


def test_the_guide_quotes_the_example_and_names_every_setting_and_column() -> None:
    page = (REPOSITORY / "docs" / "how-to" / "alerts.md").read_text(encoding="utf-8")
    example = (REPOSITORY / "examples" / "alerts.toml").read_text(encoding="utf-8")
    assert f"```toml\n{example}```" in page
    settings = {field.name for kind in KINDS.values() for field in dataclasses.fields(kind)}
    assert {"of", "certain", "rearm_s", "max_width"} <= settings
    names = settings | set(KINDS) | {column.name for column in ALERT_COLUMNS}
    assert sorted(name for name in names if not re.search(rf"`{name}( = [^`]*)?`", page)) == []


def test_rules_have_their_defaults_and_whole_numbers_are_numbers(tmp_path: Path) -> None:
    above, quiet = read_rules(_written(tmp_path, _ABOVE, _QUIET))
    assert above == AboveRule(kind="above", name="pain", text="Pain", points=7.0, for_s=10.0)
    assert isinstance(above, AboveRule)
    assert (above.of, above.min_quality, above.certain, above.rearm_s) == ("level", 0.0, False, 10.0)
    assert isinstance(quiet, NoDeclineRule)
    assert quiet.from_points is None


def test_a_file_saved_by_an_editor_of_windows_is_read(tmp_path: Path) -> None:
    path = _written(tmp_path, _ABOVE)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert len(read_rules(path)) == 1


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ((), "there are no rules; begin each rule with a line [[rules]]"),
        ((_ABOVE, _ABOVE), "two rules are called pain"),
        ((_ABOVE | {"kind": ""},), "rule 1 (pain): kind is missing; give one of above, rise"),
        ((_RISE, _ABOVE | {"kind": '"over"'}), "rule 2 (pain): kind = 'over' is not known"),
        ((_ABOVE | {"kind": "3"},), "kind = 3 is not known"),
        ((_ABOVE | {"points": ""},), "rule 1 (pain): points is missing; a rule above needs it"),
        ((_ABOVE | {"name": ""},), "rule 1: name is missing"),
        ((_ABOVE | {"name": '"Pain 1"'},), "rule 1 (Pain 1): name = 'Pain 1'"),
        ((_ABOVE | {"text": '"a\\nb"'},), "text = "),
        ((_ABOVE | {"text": '" "'},), "text = ' '"),
        ((_ABOVE | {"within_s": "5"},), "rule 1 (pain): no setting is called within_s"),
        ((_ABOVE | {"points": "11"},), "points = 11"),
        ((_ABOVE | {"points": "nan"},), "points = nan"),
        ((_ABOVE | {"points": "true"},), "points = True"),
        ((_ABOVE | {"points": '"7"'},), "points = '7'"),
        ((_ABOVE | {"for_s": "0"},), "for_s = 0"),
        ((_ABOVE | {"for_s": "inf"},), "for_s = inf"),
        ((_ABOVE | {"rearm_s": "-1"},), "rearm_s = -1"),
        ((_ABOVE | {"min_quality": "50"},), "min_quality = 50"),
        ((_ABOVE | {"certain": "1"},), "certain = 1"),
        ((_ABOVE | {"of": '"mean"'},), "of = 'mean'"),
        ((_RISE | {"points": "0"},), "points = 0"),
        ((_RISE | {"within_s": "-3"},), "rule 1 (up): within_s = -3"),
        ((_QUIET | {"event": '""'},), "event = ''"),
        ((_QUIET | {"within_min": "2000"},), "within_min = 2000"),
        ((_POOR | {"max_width": "0"},), "max_width = 0"),
        ((_POOR | {"certain": "true"},), "no setting is called certain"),
    ],
)
def test_one_line_names_file_rule_and_setting(tmp_path: Path, rules: tuple[dict[str, str], ...], said: str) -> None:
    path = _written(tmp_path, *rules)
    with pytest.raises(SettingsError) as caught:
        read_rules(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert said in message
    assert len(message.splitlines()) == 1
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[[rules]\n", "cannot read the rules"),
        (b"rules = 3\n", "there are no rules"),
        (b"rules = [1]\n", "there are no rules"),
        (b"[rules]\nname = 'a'\n", "there are no rules"),
        (b"[[rule]]\nname = 'a'\n", "rule is not known here"),
        (b"name = '\xe9'\n", "is not in UTF-8"),
    ],
)
def test_a_file_that_is_no_list_of_rules_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "alerts.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=said) as caught:
        read_rules(path)
    assert len(str(caught.value).splitlines()) == 1


def test_the_digest_is_of_the_bytes_that_were_read(tmp_path: Path) -> None:
    """A pipe can be read once only."""
    data = _written(tmp_path, _ABOVE).read_bytes()
    read_end, write_end = os.pipe()
    os.write(write_end, data)
    os.close(write_end)
    try:
        file = read_rules_file(Path(f"/dev/fd/{read_end}"))
    finally:
        os.close(read_end)
    assert file.sha256 == hashlib.sha256(data).hexdigest()
    assert [rule.name for rule in file.rules] == ["pain"]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot read the rules .*none\.toml: No such file"):
        read_rules(tmp_path / "none.toml")
