"""How the command line ends: every error as two lines on stderr, and an exit code."""

from __future__ import annotations

import errno
import signal
import sys
from collections.abc import Callable
from typing import Any

import typer

from whichway.errors import WhichwayError


def run_app(app: Callable[..., Any]) -> None:
    """Run a typer app; errors become two lines and an exit code. SIGTERM ends like Ctrl-C: cleanly."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = app(standalone_mode=False)  # an Exit inside comes back as its code
        sys.exit(code if isinstance(code, int) else 0)
    except typer.Exit as end:
        sys.exit(end.exit_code)
    except WhichwayError as error:
        complain(error.problem, error.fix, error)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        complain("Interrupted.", "The same command continues where this one stopped.")
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)
    except Exception as error:
        sys.exit(_unforeseen(error))


def _unforeseen(error: Exception) -> int:
    """Say what a foreign error means to the user, and return the exit code."""
    said = _said_by_typer(error)
    if said is not None:
        complain(said, "Look at: whichway --help")
        return 2
    book = sys.modules.get("sqlalchemy.exc")
    if book is not None and isinstance(error, book.OperationalError):
        fix = "Is the disk full, or the run's folder read-only? Mend that and run the same command again."
        complain(f"The ledger cannot be written: {error.orig}.", fix, error)
        return 2
    if isinstance(error, OSError):
        complain(*_of_the_machine(error), error)
        return 2
    complain(f"{type(error).__name__}: {error}", "This is a fault of whichway; --debug shows where.", error)
    return 1


def _said_by_typer(error: Exception) -> str | None:
    """Return what typer says of a wrong command line."""
    return str(error.format_message()) if hasattr(error, "format_message") else None


def _of_the_machine(error: OSError) -> tuple[str, str]:
    """Return problem and fix for a file that cannot be read or written."""
    from whichway.intake.finding import show_path

    where = f"{show_path(str(error.filename))}: " if error.filename is not None else ""
    fixes = {
        errno.ENOSPC: "Free some space on the disk, then run the same command again.",
        errno.EDQUOT: "Free some of your quota, then run the same command again.",
        errno.ENOTDIR: "A part of this path is a file; name a folder that can be made.",
        errno.EEXIST: "There is a file of this name; name a folder, or move the file away.",
        errno.EISDIR: "This is a folder; name a file.",
        errno.ENOENT: "Check the path.",
    }
    fix = fixes.get(error.errno or 0, "Check its permissions, or name a place that you may write.")
    return f"{where}{error.strerror or error}.", fix


def complain(problem: str, fix: str, error: BaseException | None = None) -> None:
    """Print a problem and its fix on stderr; with --debug, the traceback as well."""
    typer.echo(f"Error: {problem}" if error else problem, err=True)
    if fix:
        typer.echo(f"Fix:   {fix}" if error else fix, err=True)
    if error is not None and "--debug" in sys.argv:
        import traceback

        traceback.print_exception(error)
