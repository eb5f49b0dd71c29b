"""Build hook: puts the default weights and the example phantoms into the wheel.

An editable install holds no copies; `avpenet_cli.bundled` reads the repository's folders there.
"""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BundledDataHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the table `data` of the hook's settings in pyproject.toml: path in the repository to path in the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling with `version` "standard" or "editable"."""
        if version != "editable":
            build_data["force_include"].update(self.config["data"])
