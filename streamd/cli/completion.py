"""``streamd completion``: the script by which a shell completes streamd's commands and options."""

from typing import Final

import click
from click.shell_completion import get_completion_class

from streamd.cli.options import examples

__all__ = ["completion"]

# The environment variable by which the script asks; click derives the name from the program's.
_VARIABLE: Final = "_STREAMD_COMPLETE"


@click.command(
    epilog=examples(
        'eval "$(streamd completion bash)"',
        "streamd completion zsh > ~/.zfunc/_streamd",
        "streamd completion fish > ~/.config/fish/completions/streamd.fish",
    )
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a shell's completion script.

    Bash must be 4.4 or newer. Load the script in the shell's start file, or save it where
    the shell looks for one.
    """
    script_class = get_completion_class(shell)
    assert script_class is not None, "click knows every shell of the choice"
    program = context.find_root().command
    click.echo(script_class(program, {}, "streamd", _VARIABLE).source())
