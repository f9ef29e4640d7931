"""One tree of errors; each carries a problem (where, what, which), a fix and an exit code."""

from __future__ import annotations


class WhichwayError(Exception):
    """A problem a user can mend: `problem` says where, what, which; `fix` says what to do."""

    exit_code = 1

    def __init__(self, problem: str, fix: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.fix = fix


class UsageError(WhichwayError):
    """A command, an option or a path that cannot be used as given."""

    exit_code = 2


class TaskFileError(UsageError):
    """The task file says something that cannot be understood."""


class MissingExtra(UsageError):
    """A part that was not installed is needed; the fix names the extra."""

    def __init__(self, package: str, extra: str, needed_for: str) -> None:
        super().__init__(
            f"{needed_for} needs the package {package!r}, which is not installed.",
            f"Install it: pip install 'whichway[{extra}]'",
        )
        self.extra = extra


class DataError(WhichwayError):
    """The data cannot be read, or cannot answer the question."""

    exit_code = 3


class BudgetReached(WhichwayError):
    """The next unit of work would pass the cap, so it was refused before it began."""

    exit_code = 4


class ProviderError(WhichwayError):
    """A model behind an endpoint cannot be reached, refuses, or answers nonsense."""

    exit_code = 5


class NotApplicable(WhichwayError):
    """A strategy cannot serve this task; the trial is skipped with this reason."""


class LedgerError(WhichwayError):
    """The ledger is damaged, belongs to another task, or is held by another process."""

    exit_code = 2
