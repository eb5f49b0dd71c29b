"""The parts of the reference pages that the code itself knows, as Markdown. `conf.py` puts them into the pages."""

from __future__ import annotations

import inspect
import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import typer.main

import avpenet_cli
from avpenet_cli.cli import app
from avpenet_cli.dataset.prepare import PrepareSettings
from avpenet_cli.errors import ExitCode
from avpenet_cli.experiment.alteration import VariantSettings
from avpenet_cli.experiment.settings import PRESET_FOLDER, ExperimentSettings, SystemSettings, presets
from avpenet_cli.experiment.tables import TABLES
from avpenet_cli.experiment.views import ViewSettings
from avpenet_cli.inputs import RECORDING_SUFFIXES, Aside
from avpenet_cli.model.registry import NETWORKS
from avpenet_cli.ratings.agreement_files import AGREEMENT_COLUMNS
from avpenet_cli.ratings.columns import SHEET_COLUMNS
from avpenet_cli.ratings.importing.rating_map import RatingColumns, RatingMap
from avpenet_cli.records import FLAG_MEANINGS, Reason
from avpenet_cli.scoring.summaries import RECORDING_COLUMNS, SUBJECT_COLUMNS
from avpenet_cli.settings import RunSettings, flatten, from_dict, read_config, to_dict
from avpenet_cli.study.scales import SCALES
from avpenet_cli.tables import CALIBRATED_COLUMNS, CHANGE_COLUMNS, COLUMNS, Column
from avpenet_cli.training.settings import TrainSettings
from avpenet_cli.trajectory.table import TRAJECTORY_COLUMNS
from docs.markdown_tables import code, table
from docs.program_source import failure_codes, members, package_summary
from docs.settings_tables import settings_rows, toml, toml_value

REPOSITORY = Path(__file__).resolve().parents[1]

_DEFAULT_IN_HELP = re.compile(r"\s*\[default: (.+?)\]")


# --- commands --------------------------------------------------------------------------------------------------------


def commands() -> Iterator[tuple[str, Any]]:
    """(name as it is typed, command) of every command that does something, in the order of `--help`."""

    def walk(command: Any, name: str) -> Iterator[tuple[str, Any]]:
        if inner := getattr(command, "commands", None):
            for word, subcommand in inner.items():
                yield from walk(subcommand, f"{name} {word}")
        else:
            yield name, command

    yield from walk(typer.main.get_command(app), "avpenet")


def is_argument(parameter: Any) -> bool:
    """Is this parameter given by its place, not by an option?"""
    return not any(name.startswith("-") for name in parameter.opts)


def _value(parameter: Any) -> str:
    """What is written after an option: its metavar, its type's name, or nothing for a switch."""
    if getattr(parameter, "is_flag", False):
        return ""
    kind = getattr(getattr(parameter, "type_descriptor", None), "annotation", str)
    names = {"str": "TEXT", "int": "INTEGER", "float": "NUMBER", "Path": "PATH"}
    return str(parameter.metavar or names.get(getattr(kind, "__name__", ""), "VALUE"))


def _range(parameter: Any) -> str:
    low, high = getattr(parameter, "min", None), getattr(parameter, "max", None)
    if low is None and high is None:
        return ""
    return f" From {low:g} to {high:g}." if low is not None and high is not None else f" At least {low:g}."


def _option_row(parameter: Any) -> list[str]:
    text = parameter.help or ""
    stated = _DEFAULT_IN_HELP.search(text)
    default = stated[1] if stated else parameter.default
    shown = "required" if parameter.required else code("" if default in (None, False, ()) else default)
    written = f"{', '.join(parameter.opts)} {_value(parameter)}".strip()
    repeat = " May be repeated." if getattr(parameter, "multiple", False) and "repeated" not in text else ""
    return [code(written), shown, _DEFAULT_IN_HELP.sub("", text) + _range(parameter) + repeat]


def command_pages() -> str:
    """A section for each command: usage, what it does, arguments, options."""
    parts = []
    for name, command in commands():
        arguments = [parameter for parameter in command.params if is_argument(parameter)]
        options = [parameter for parameter in command.params if not is_argument(parameter)]
        words = [_argument_name(argument) for argument in arguments]
        # The callback's docstring keeps the line breaks between its paragraphs.
        text = inspect.cleandoc(command.help or "")
        parts += [f"## {name}", f"```text\n{' '.join([name, '[OPTIONS]', *words])}\n```", text]
        if arguments:
            rows = [[code(_argument_name(argument)), argument.help or ""] for argument in arguments]
            parts.append(table(["argument", "meaning"], rows))
        if options:
            parts.append(table(["option", "default", "meaning"], map(_option_row, options)))
    return "\n\n".join(parts)


def _argument_name(argument: Any) -> str:
    name = str(argument.metavar or argument.name).strip("{}").rstrip(".").upper()
    return name + ("..." if argument.nargs == -1 else "")


# --- tables of words -------------------------------------------------------------------------------------------------


def columns(described: Sequence[Column] = COLUMNS) -> str:
    """A table's columns, in order."""
    kinds = {"text": "text", "integer": "integer", "float": "number"}
    return table(
        ["column", "type", "meaning"], ([code(column.name), kinds[column.kind], column.meaning] for column in described)
    )


def flags() -> str:
    """Every flag, in the program's own words."""
    return table(["flag", "meaning"], ([code(flag.value), meaning] for flag, meaning in FLAG_MEANINGS.items()))


def exit_codes() -> str:
    """Every exit code; its meaning is the docstring below the member."""
    return table(["code", "meaning"], ([code(member.value), said] for member, said in members(ExitCode)))


def reasons() -> str:
    """Why a segment has no score."""
    return table(["reason", "meaning"], ([code(member.value), said] for member, said in members(Reason)))


def suffixes() -> str:
    """Suffixes of recordings in a folder."""
    return " ".join(code(suffix) for suffix in sorted(RECORDING_SUFFIXES))


def left_aside() -> str:
    """Why something that was found is not scored."""
    return table(["reason", "what it is"], ([code(member.value), said] for member, said in members(Aside)))


def failures() -> str:
    """Why a recording failed: the codes that the program raises, and what it says with them."""
    return table(["code", "message"], ([code(word), "; ".join(said)] for word, said in failure_codes().items()))


def scales() -> str:
    """The pain scales that ratings may name."""
    rows = (
        [code(name), f"{scale.lowest:g} to {scale.highest:g}", scale.meaning, scale.source, scale.versions]
        for name, scale in SCALES.items()
    )
    return table(["scale", "range", "name", "source of the range", "other versions"], rows)


# --- settings --------------------------------------------------------------------------------------------------------


SETTINGS: dict[str, type] = {"run": RunSettings, "prepare": PrepareSettings, "train": TrainSettings}
"""Name of the generated part to the settings of `score`, `prepare` and `train`."""


def settings_page(kind: type) -> str:
    """A table of all settings of a file, then the file with its defaults."""
    heads = ["setting", "allowed", "default", "meaning"]
    return f"{table(heads, settings_rows(kind()))}\n\nAll defaults as a file:\n\n```toml\n{toml(kind())}\n```"


MAP_SETTINGS: dict[str, Any] = {"map": RatingMap(), "map-ratings": RatingColumns(value="COLUMN")}
"""Settings of a map of `avpenet ratings import`, and of one of its `[[ratings]]`."""


def map_settings(name: str) -> str:
    """One of `MAP_SETTINGS`."""
    return table(["setting", "allowed", "default", "meaning"], settings_rows(MAP_SETTINGS[name]))


# --- networks and experiments ----------------------------------------------------------------------------------------


def networks() -> str:
    """Every network that weights can belong to."""
    rows = (
        [
            code(entry.name),
            entry.description,
            ", ".join(entry.modalities),
            "features of segments" if entry.on_features else "gradients",
        ]
        for entry in NETWORKS.values()
    )
    return table(["network", "what it is", "reads", "learns from"], rows)


def network_settings() -> str:
    """The settings of every network, those of one class once."""
    kinds: dict[type, list[str]] = {}
    for entry in NETWORKS.values():
        kinds.setdefault(entry.settings_class(), []).append(code(entry.name))
    parts = []
    for kind, names in kinds.items():
        parts.append(f"### {', '.join(names)}")
        parts.append(table(["setting", "allowed", "default", "meaning"], settings_rows(kind())))
    return "\n\n".join(parts)


EXPERIMENT_SETTINGS: dict[str, Any] = {
    "experiment": ExperimentSettings({"avpenet": SystemSettings("")}),
    "system": SystemSettings(""),
    "view": ViewSettings(),
    "variant": VariantSettings(),
}
"""Tables of an experiment's settings file."""


def experiment_settings(name: str) -> str:
    """One of `EXPERIMENT_SETTINGS`."""
    return table(["setting", "allowed", "default", "meaning"], settings_rows(EXPERIMENT_SETTINGS[name]))


def experiment_systems() -> str:
    """The systems of the presets, and how each differs from the others' settings."""
    files = {name: read_config(PRESET_FOLDER / f"{name}.toml") for name in presets()}
    settings = {name: from_dict(ExperimentSettings, content, name) for name, content in files.items()}
    most = max(settings.values(), key=lambda preset: len(preset.systems))
    names = dict.fromkeys(system for preset in (most, *settings.values()) for system in preset.systems)
    rows = []
    for name in names:
        owners = [preset for preset, content in settings.items() if name in content.systems]
        system = next(settings[owner].systems[name] for owner in reversed(owners))
        rows.append([code(name), system.title, system.group, _differences(system), ", ".join(map(code, owners))])
    return table(["system", "what it is", "family", "settings that differ", "presets"], rows)


def _differences(system: SystemSettings) -> str:
    """In the form of the settings file, without inner tables."""
    plain, default = to_dict(system), to_dict(SystemSettings(""))
    for part, kind in (("view", ViewSettings), ("variant", VariantSettings)):
        if plain[part] is not None:
            unchanged = to_dict(kind())
            plain[part] = {name: value for name, value in plain[part].items() if value != unchanged[name]}
    own = {name: value for name, value in plain.items() if name not in ("title", "group") and value != default[name]}
    return ", ".join(code(f"{name} = {toml_value(value)}") for name, value in flatten(own).items())


def experiment_tables() -> str:
    """Columns of every table of an experiment."""
    return "\n\n".join(f"## tables/{item.file}\n\n{columns(item.columns)}" for item in TABLES)


# --- architecture and API --------------------------------------------------------------------------------------------


def layers() -> list[list[str]]:
    """The packages of each layer, from the top, as the import contract in pyproject.toml names them."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    (contract,) = (contract for contract in contracts if contract["type"] == "layers")
    return [re.split(r"\s*[|:]\s*", layer) for layer in contract["layers"]]


def layer_table() -> str:
    """Every package with the first paragraph of its docstring, by layer."""
    rows = (
        [str(number), code(name), package_summary(name)]
        for number, names in enumerate(layers(), start=1)
        for name in names
    )
    return table(["layer", "package", "what it holds"], rows)


def api() -> str:
    """Autodoc directives for everything that `avpenet_cli` offers by `__all__`."""
    names = [name for name in getattr(avpenet_cli, "__all__", []) if not name.startswith("_")]
    if not names:
        return "```{eval-rst}\n.. automodule:: avpenet_cli\n```"
    blocks = []
    for name in names:
        value = getattr(avpenet_cli, name)
        if value in SETTINGS.values():
            said = f"{inspect.getdoc(value)} Every field is in :doc:`/reference/settings`."
            blocks.append(f".. py:class:: avpenet_cli.{name}(**settings)\n\n   {' '.join(said.split())}")
            continue
        kind = "autoclass" if inspect.isclass(value) else "autofunction" if callable(value) else "autodata"
        options = "\n   :members:" if kind == "autoclass" else ""
        blocks.append(f".. {kind}:: avpenet_cli.{name}{options}")
    return "```{eval-rst}\n" + "\n\n".join(blocks) + "\n```"


PARTS: dict[str, Callable[[], str]] = {
    "commands": command_pages,
    "columns": columns,
    "change-columns": partial(columns, CHANGE_COLUMNS),
    "calibrated-columns": partial(columns, CALIBRATED_COLUMNS),
    "recording-columns": partial(columns, RECORDING_COLUMNS),
    "subject-columns": partial(columns, SUBJECT_COLUMNS),
    "sheet-columns": partial(columns, SHEET_COLUMNS),
    "agreement-columns": partial(columns, AGREEMENT_COLUMNS),
    "trajectory-columns": partial(columns, TRAJECTORY_COLUMNS),
    "flags": flags,
    "reasons": reasons,
    "failures": failures,
    "suffixes": suffixes,
    "left-aside": left_aside,
    "scales": scales,
    "exit-codes": exit_codes,
    "layers": layer_table,
    "api": api,
    "networks": networks,
    "network-settings": network_settings,
    "experiment-systems": experiment_systems,
    "experiment-tables": experiment_tables,
    **{f"experiment-settings-{name}": partial(experiment_settings, name) for name in EXPERIMENT_SETTINGS},
    **{f"settings-{name}": partial(map_settings, name) for name in MAP_SETTINGS},
    **{f"settings-{name}": partial(settings_page, kind) for name, kind in SETTINGS.items()},
}
"""What a page may ask for with a line `<!-- generated: NAME -->`."""
