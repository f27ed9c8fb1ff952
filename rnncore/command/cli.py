"""The `rnncore` command. A subcommand imports what it needs when it runs, so that --help is quick."""

from __future__ import annotations

import argparse
import io
import os
import sys

import rnncore
from rnncore import _interrupt
from rnncore.command import all_cells, compare, info, sample, train
from rnncore.command.options import CommandError

# Each has `HELP`, `add_arguments(parser)` and `run(arguments)`, which returns the exit status.
COMMANDS = {"debug": all_cells, "train": train, "sample": sample, "info": info, "compare": compare}


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit status.

    0: done. 2: the arguments or a file cannot be used, for a reason printed in one line. 130: ended by Ctrl-C.
    """
    command = ""
    try:
        _interrupt.raise_again()
        arguments = make_parser().parse_args(argv)
        command = f" {arguments.command}"
        return _run(arguments)
    except KeyboardInterrupt:
        print(f"rnncore{command}: interrupted", file=sys.stderr)
        return _interrupt.INTERRUPTED


def _run(arguments: argparse.Namespace) -> int:
    """Run one subcommand; what the user can correct is told in one line."""
    from rnncore.data import TextError
    from rnncore.io.safetensors import DamagedFileError

    if isinstance(sys.stdout, io.TextIOWrapper):  # characters that a terminal cannot show become "?"
        sys.stdout.reconfigure(errors="replace")
    try:
        status: int = arguments.run(arguments)
        return status
    except (CommandError, TextError, DamagedFileError, FloatingPointError) as error:
        message = str(error)
    except BrokenPipeError:  # the reader of the output has ended, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        named = error.filename is not None and error.strerror
        message = f"{error.filename}: {error.strerror}" if named else str(error)
    print(f"rnncore {arguments.command}: {message}", file=sys.stderr)
    return 2


def make_parser() -> argparse.ArgumentParser:
    """The parser, with the arguments of all subcommands."""
    parser = argparse.ArgumentParser(
        prog="rnncore",
        description="A recurrent sequence engine for the CPU, with a debugger you look at.",
    )
    parser.add_argument("--version", action="version", version=f"rnncore {rnncore.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        subparser = commands.add_parser(name, help=command.HELP)
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
