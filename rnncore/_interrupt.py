"""Ctrl-C while the `rnncore` command starts: it ends without a traceback, as it does later."""

from __future__ import annotations

import os
import signal
import sys
import threading

INTERRUPTED = 130   # the exit status of a program that Ctrl-C ended, as shells have it


def is_command() -> bool:
    """Whether this process was started as the command, by its script or as ``python -m rnncore.command.cli``."""
    script = os.path.splitext(os.path.basename(sys.argv[0] if sys.argv else ""))[0]
    return script == "rnncore" or (script == "-m" and "rnncore.command.cli" in sys.orig_argv)


def _end(*_: object) -> None:
    os._exit(INTERRUPTED)   # nothing has been begun that would have to be finished


def end_quietly() -> None:
    """End at once at Ctrl-C, until `raise_again`; only in the command, and where nobody has a handler of their own."""
    if is_command() and _is_ours(signal.default_int_handler):
        signal.signal(signal.SIGINT, _end)


def raise_again() -> None:
    """Ctrl-C raises KeyboardInterrupt again."""
    if _is_ours(_end):
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _is_ours(handler: object) -> bool:
    return threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is handler
