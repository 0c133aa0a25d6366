"""The command line ``senet``: what the networks are, what a checkpoint holds, conversion, comparison, classification.

Exit codes: 0 done, or agreed; 1 disagreed; 2 bad input, in one clear line on stderr; 130 interrupted; 141 the reader of
the output has gone. Everything heavy is imported inside the commands, so that ``senet --help`` costs nothing and a
command needs only what it uses.
"""

import os
import sys
from typing import Any

import click

from conformance.cli import checkpoints, classification, comparison, demonstration, excitation, networks


class _Commands(click.Group):
    """Commands whose failures are one line on stderr and an exit code, never a traceback."""

    def main(self, *args: Any, **extra: Any) -> Any:
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
        except click.Abort:
            code = _fail("interrupted", 130)
        except click.UsageError as error:
            where = error.ctx.command_path if error.ctx else "senet"
            code = _fail(f"{error.format_message()} ({where} --help says more)", 2)
        except click.ClickException as error:
            code = _fail(error.format_message(), 2)
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # Python would complain about the closed pipe once more when it closes stdout.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(141)  # what a shell reports for SIGPIPE
        except ImportError as error:
            raise _missing(error) from None
        except ValueError as error:
            from weights import InputError

            if not isinstance(error, InputError):
                raise
            raise click.ClickException(str(error)) from None
        return result


def _fail(message: str, code: int) -> int:
    click.echo(f"senet: {message}", err=True)
    return code


def _missing(error: ImportError) -> Exception:
    """What to install, if an extra installs the missing module, or what hides a package of ours; else the error."""
    hiding = sys.modules.get("weights")
    if hiding is not None and not hasattr(hiding, "MODELS"):
        return click.ClickException(
            f"Python found {hiding.__file__} before the package weights of senet: rename that file or folder, or start "
            "elsewhere"
        )
    from conformance.adapters import EXTRAS, AbsentError

    if isinstance(error, AbsentError):
        return click.ClickException(str(error))
    name = (error.name or getattr(error.__cause__, "name", None) or "").partition(".")[0]
    extra = {**EXTRAS, "orbax": "jax", "matplotlib": "plots"}.get(name)
    return click.ClickException(f"{name} is not installed: pip install 'senet[{extra}]'") if extra else error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="senet", message="senet %(version)s")
def main() -> None:
    """Squeeze-and-Excitation networks in PyTorch, Keras and Flax, proven equal to the original Caffe.

    Exit codes: 0 done, or agreed; 1 disagreed; 2 bad input.
    """


for _command in (
    networks.models,
    checkpoints.init,
    checkpoints.inspect,
    checkpoints.convert,
    checkpoints.diff,
    comparison.compare,
    comparison.freeze,
    classification.classify,
    excitation.excite,
    demonstration.demo,
):
    main.add_command(_command)
