"""The `egress` command. Whatever exception comes up to here ends as a message (`failures.told`)."""

from __future__ import annotations

import errno
import os
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from appliance import settings as settings_module
from appliance.cli.failures import told
from appliance.cli.output import Cli, pass_cli

MODULES = {
    "up": "lifecycle", "down": "lifecycle", "status": "status", "doctor": "doctor", "tenant": "tenants",
    "run": "run", "shell": "run", "policy": "policies", "log": "logs", "top": "top", "verify": "verify",
    "fallback": "fallback", "secret": "secrets", "vault": "secrets", "handle": "handles",
    "workload": "workloads", "caller": "callers", "integration": "integrations", "version": "version",
    "units": "units",
}  # fmt: skip
"""The commands, and of this package the module in which each stands under its own name."""


class Spoken(click.Group):
    """A group whose commands end in a message whatever goes wrong below them.

    A command is imported when it is asked for: all of them together took 1.3 s of the 1.8 s of each.
    """

    def list_commands(self, context: click.Context) -> list[str]:
        """Names of all commands, in order."""
        return sorted({*super().list_commands(context), *MODULES})

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command, imported by now; None where there is none of that name."""
        if name in MODULES and name not in self.commands:
            self.add_command(getattr(import_module(f"appliance.cli.{MODULES[name]}"), name))
        return super().get_command(context, name)

    def resolve_command(
        self, context: click.Context, words: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; who mistyped a command hears of every one that is like it."""
        try:
            return super().resolve_command(context, words)
        except click.NoSuchCommand as error:
            raise click.NoSuchCommand(
                error.command_name, possibilities=self.list_commands(context), ctx=context
            ) from None

    def invoke(self, context: click.Context) -> Any:
        """Run the command; click prints what is raised from here."""
        try:
            return super().invoke(context)
        except (click.exceptions.Exit, click.Abort):
            raise
        except click.ClickException as error:
            if not context.params.get("as_json"):
                raise  # click's own words come with the usage line
            failure = told(error)
            failure.as_json = True
            raise failure from error
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # the reader of our output left; click ends quietly
            failure = told(error)
            failure.as_json = bool(context.params.get("as_json"))
            raise failure from error


@click.group(cls=Spoken, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--settings",
    "settings_file",
    type=click.Path(path_type=Path),
    envvar=settings_module.SETTINGS_VARIABLE,
    help="Settings file of the instance (default: /etc/egress/egress.yaml if it exists).",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
@click.pass_context
def cli(context: click.Context, settings_file: Path | None, as_json: bool) -> None:
    """Egress appliance: the one thing that a container with untrusted code can reach."""
    settings = settings_module.load(settings_file)
    if settings_file is not None:
        os.environ[settings_module.SETTINGS_VARIABLE] = str(settings_file.absolute())
    context.obj = Cli(settings, settings_file, as_json)


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@pass_cli
def completion(obj: Cli, shell: str) -> None:
    """Print the line that switches on completion in SHELL.

    For example: egress completion bash >> ~/.bashrc
    """
    line = f"_EGRESS_COMPLETE={shell}_source egress"
    line = f"{line} | source" if shell == "fish" else f'eval "$({line})"'
    obj.emit({"shell": shell, "line": line}) if obj.as_json else click.echo(line)


def main() -> None:
    """Entry point of the console script."""
    os.umask(0o022)  # policy and certificates must be readable by the service uids, whatever root's umask is
    cli(prog_name="egress")


if __name__ == "__main__":
    main()
