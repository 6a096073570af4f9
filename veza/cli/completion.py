"""`veza completion`."""

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash:  veza completion bash > ~/.local/share/bash-completion/completions/veza
    zsh:   veza completion zsh > ~/.zfunc/_veza
    fish:  veza completion fish > ~/.config/fish/completions/veza.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"There is no completion for {shell}.")
    click.echo(kind(ctx.find_root().command, {}, "veza", "_VEZA_COMPLETE").source())
