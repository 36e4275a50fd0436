"""What the doctor says: one finding is one thing that is wrong, what it costs, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad it is."""

    PROBLEM = "problem"
    """A promise of this project does not hold."""
    WARNING = "warning"
    """The promises hold; something is slower, harder to see or more fragile than it has to be, or your own tasks are at risk."""
    NOTE = "note"
    """Could not be looked at, or is yours to judge."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding; all texts are one line without secrets."""

    severity: Severity
    code: str
    """The stable word for programs (docs/doctor.md)."""
    where: str
    """`settings`, `packages`, `process`, `store`, `broker`, `app`, `workers`, or the name of a worker or a queue."""
    message: str
    remedy: str

    def public(self) -> dict[str, str]:
        """The finding as a JSON object."""
        return {
            "severity": self.severity,
            "code": self.code,
            "where": self.where,
            "message": self.message,
            "remedy": self.remedy,
        }


def problem(code: str, where: str, message: str, remedy: str) -> Finding:
    """A finding that breaks a promise."""
    return Finding(Severity.PROBLEM, code, where, message, remedy)


def warning(code: str, where: str, message: str, remedy: str) -> Finding:
    """A finding that breaks none."""
    return Finding(Severity.WARNING, code, where, message, remedy)


def note(code: str, where: str, message: str, remedy: str) -> Finding:
    """A finding that says what is not known."""
    return Finding(Severity.NOTE, code, where, message, remedy)
