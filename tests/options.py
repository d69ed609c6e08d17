"""The options that the commands have."""

from typer.main import get_command

from sightweave import cli


def options_of_commands() -> set[str]:
    """The names of the options of all commands."""
    found: set[str] = set()
    for group in (get_command(cli.app), get_command(cli.data_app)):
        for command in group.commands.values():  # type: ignore[attr-defined]  # a group has some
            for parameter in command.params:
                found.update(parameter.opts)
    return found
