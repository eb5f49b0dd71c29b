"""Help that lists commands by who uses them."""

from __future__ import annotations

from typing import Any

import typer.core


class GroupedHelp(typer.core.TyperGroup):
    """A group of commands whose plain help has a heading for each `rich_help_panel`, in the order of the commands."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands under their headings, aligned with each other."""
        panels: dict[str, list[tuple[str, str]]] = {}
        width = max(map(len, self.commands))
        for name, command in self.commands.items():
            panel = getattr(command, "rich_help_panel", None)
            panels.setdefault(panel if isinstance(panel, str) else "Commands", []).append(
                (name.ljust(width), command.get_short_help_str(limit=100))
            )
        for heading, rows in panels.items():
            with formatter.section(heading):
                formatter.write_dl(rows)
