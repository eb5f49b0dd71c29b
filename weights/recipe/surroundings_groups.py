"""Which Debian packages have free recordings of surroundings and speech, and what a file's name says of its content."""

from __future__ import annotations

import hashlib
import re
from typing import Literal

Group = Literal[
    "animals", "machines", "nature", "impacts", "alarms", "music", "speech", "people_other", "crowd", "other"
]

PACKAGES: dict[str, tuple[Group, int]] = {
    "tuxpaint-stamps-default": ("speech", 260),
    "gcompris-qt-data": ("other", 200),
    "ktuberling-data": ("speech", 150),
    "klettres-data": ("speech", 80),
    "gcin-voice": ("speech", 40),
    "asterisk-core-sounds-en-g722": ("speech", 60),
    "asterisk-core-sounds-es-g722": ("speech", 60),
    "asterisk-core-sounds-fr-g722": ("speech", 60),
    "asterisk-core-sounds-it-g722": ("speech", 60),
    "asterisk-core-sounds-ru-g722": ("speech", 60),
    "asterisk-prompt-it-menardi-alaw": ("speech", 30),
    "asterisk-moh-opsound-g722": ("music", 20),
    "fluid-soundfont-gm": ("music", 220),
    "sound-theme-freedesktop": ("alarms", 40),
    "oxygen-sounds": ("alarms", 60),
    "lomiri-sounds": ("music", 50),
    "deepin-sound-theme": ("alarms", 30),
    "yaru-theme-sound": ("alarms", 30),
    "sound-icons": ("music", 40),
    "linphone-common": ("alarms", 20),
    "minetest-data": ("impacts", 120),
    "minetest-mod-homedecor": ("impacts", 40),
    "minetest-mod-mesecons": ("music", 20),
    "minetest-mod-mobs-redo": ("other", 20),
    "minetest-mod-nether": ("nature", 20),
    "minetest-mod-xdecor": ("nature", 20),
    "openttd-opensfx": ("machines", 100),
    "simutrans-pak64": ("machines", 40),
    "searchandrescue-data": ("machines", 80),
    "lincity-ng-data": ("machines", 160),
    "gl-117-data": ("machines", 20),
    "ufoai-sound": ("impacts", 240),
    "wesnoth-1.16-data": ("impacts", 220),
    "scratch": ("other", 130),
    "sonic-pi-samples": ("music", 120),
    "lmms-common": ("music", 60),
    "hydrogen-data": ("music", 40),
    "puredata-doc": ("other", 10),
    "supercollider-common": ("other", 10),
    "etw-data": ("impacts", 80),
    "tuxfootball": ("impacts", 20),
    "wordwarvi-sound": ("impacts", 60),
    "gamine-data": ("other", 30),
    "bambam": ("other", 40),
    "pysiogame": ("alarms", 20),
    "tuxtype-data": ("other", 30),
    "tuxmath-data": ("other", 30),
    "blinken": ("alarms", 10),
    "kanagram": ("alarms", 10),
    "granatier": ("impacts", 20),
    "kapman": ("other", 10),
    "kbounce": ("impacts", 10),
    "frozen-bubble-data": ("other", 30),
    "pingus-data": ("impacts", 20),
}
"""Debian package: group of the files whose names say nothing more, and the most files taken from it.

Games whose files have only numbers, or acted dialogue, are left out: nothing tells which of them cry in pain.
"""

_EXCLUDED = re.compile(
    r"""(?:^|[^a-z])(?:die|dies|death\w*|dying|dead|ouch\d*|ow|oof|o{3,}f|aa+h\w*|wail\w*|groan\w*|moan\w*|cry|crying|zombie\w*)
    (?:[^a-z]|$)|hurt|pain(?!t)|scream|shriek|death|agony|wound|damage|burns|babycry|abducted|help_|bodyslam|bodyimpact|
    falling|player_|(?:^|[^a-z])faces/sad|faces/mad|ghost|ghoul|screech\.|
    (?:human|elf|dwarf|orc\w*|ogre|troll|goblin|naga|mermaid|mermen|lich|skeleton\w*|horse|wolf|gryphon|drake|bat|hiss|
    yeti|wose|tusker|small|big|female|old|male)-hit|civilians|aliens/|arcadesnd/|health\d|ohno|(?:^|[^a-z])ugg(?:[^a-z]|$)|choir_?aah?\w*""",
    re.VERBOSE,
)

_BY_NAME: tuple[tuple[Group, str], ...] = (
    ("speech", r"vocals/|beatbox|audio-channel|_desc|radiomessage|tv_news"),
    (
        "music",
        r"music|instrument|violin|cello|guitar|piano|trumpet|drum|string|percussion|xylo|chord|horn-signals|fanfare",
    ),
    ("people_other", r"laugh|cough|sneeze|breath|snor|giggle|burp|slurp|hohoho|yawn|kiss|gobble|whisper|hiccup|woohoo"),
    ("crowd", r"crowd|croud|partynoise|audience|applause|market|school|cheer|stadium|commune|sports"),
    (
        "animals",
        r"animals?/|animals|mammals|birds/|insects/|aquatic/|wolf|(?:^|[^a-z])(?:dog|cat|cow|horse|sheep|pig|hen|bee|owl|crow|bat|frog)s?\d*(?:[^a-z]|$)|rooster"
        r"|cricket|bird|gull|canter|gallop|gryphon|growl|insect|canary|penguin|elephant|goat|duck|farm\d|forest|tropic"
        r"|jungle|hiss|bloodspider|kitten|mosquito",
    ),
    (
        "nature",
        r"water|(?<!t)rain|wind(?!ow)|(?:^|[^a-z])sea(?:[^a-z]|$)|waves?(?:[^a-z]|$)|thunder|lightning|fire(?!station|arm)|lava|bubble|steam|splash|drip|ripple|volcano"
        r"|parkland|green\d|harbor|river|desert|arctic|flame|boiling|shower|faucet|flush|drain",
    ),
    (
        "alarms",
        r"alarm|beep|ring(?!s)|siren|bell|phone|timer|alert|bleep|buzzer|(?:^|[^a-z])horn|doorbell|whistle|fischi",
    ),
    (
        "machines",
        r"engine|motor|saw|vacuum|machine|helicopter|train|truck|bus(?:[^a-z]|$)|car(?:[^a-z]|s|p)|plane|jet|rocket|mill|drill"
        r"|traf|industr|power|substation|(?:^|[^a-z])hum\d?$|ventilation|generator|hoover|kettle|toaster|piston|conveyor|pump|diesel",
    ),
    (
        "impacts",
        r"door|foot|step|knock|hit|glass|crash|clap|explo|gun|shot|hammer|break|dig|dug|impact|click|key|typing|chest|metal|bang"
        r"|sword|axe|bow|knife|weapon|bounce|kick|stone|wood|clang|mine\d|blacksmith|thud",
    ),
)
_GROUPS: tuple[tuple[Group, re.Pattern[str]], ...] = tuple((group, re.compile(pattern)) for group, pattern in _BY_NAME)


def may_be_pain(name: str) -> bool:
    """Whether a file's path within its package says that a person or creature may cry, scream or be hurt."""
    return bool(_EXCLUDED.search(name.lower()))


def group_of(package: str, name: str) -> Group:
    """Group of a file by its path within the package, or by the package where the path says nothing."""
    default = PACKAGES[package][0]
    # The folders above say what package it is, not what sounds.
    lower = "/".join(name.lower().rsplit(".", 1)[0].split("/")[-3:])
    if default == "speech" and (package != "tuxpaint-stamps-default" or "_desc" in lower or "symbols/" in lower):
        return "speech"
    for group, pattern in _GROUPS:
        if pattern.search(lower):
            return group
    return default


def split_of(package: str, name: str) -> Literal["train", "test"]:
    """A fifth is kept for testing.

    Files whose names differ in numbers and language only stand on one side, in all packages, some of which share files.
    """
    stem = re.sub(r"[^a-z]+", "", re.sub(r"_desc.*$", "", name.lower().rsplit("/", 1)[-1].rsplit(".", 1)[0]))
    number = int(hashlib.sha256((stem or f"{package}/{name}").encode()).hexdigest(), 16)
    return "test" if number % 5 == 0 else "train"
