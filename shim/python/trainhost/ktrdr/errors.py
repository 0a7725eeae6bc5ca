"""What calls raise, with `message` and `provider`, and the HTTP status that says the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import trainhost

PROVIDER = "training"


class TrainingProviderError(Exception):
    """A training could not be started, asked for or stopped."""

    http_status: ClassVar[int] = 500

    def __init__(self, message: str, provider: str = PROVIDER) -> None:
        super().__init__(message)
        self.message = message
        self.provider = provider


class TrainingProviderConnectionError(TrainingProviderError):
    """The training host is absent, went away or hangs."""

    http_status = 503


class TrainingProviderDataError(TrainingProviderError):
    """The strategy, the data or an argument is wrong."""

    http_status = 400


class TrainingSessionNotFoundError(TrainingProviderError):
    """No session of that id."""

    http_status = 404


class TrainingSessionStateError(TrainingProviderError):
    """The session is there, and in no state for that."""

    http_status = 409


class TrainingHostBusyError(TrainingProviderError):
    """Refused for now, by a limit of sessions, jobs or memory."""

    http_status = 503


# The first that fits.
_CLASSES: list[tuple[type[trainhost.TrainhostError], type[TrainingProviderError]]] = [
    (trainhost.HostError, TrainingProviderConnectionError),
    (trainhost.BusyError, TrainingHostBusyError),
    (trainhost.NotFoundError, TrainingSessionNotFoundError),
    (trainhost.DataError, TrainingProviderDataError),
    (trainhost.UsageError, TrainingProviderDataError),
    (trainhost.LimitError, TrainingProviderDataError),
]


def translate(error: trainhost.TrainhostError) -> TrainingProviderError:
    """The same failure in these classes; the text is kept."""
    for found, becomes in _CLASSES:
        if isinstance(error, found):
            return becomes(str(error))
    return TrainingProviderError(str(error))


@contextmanager
def translated() -> Iterator[None]:
    """Raise these classes for those of the package."""
    try:
        yield
    except trainhost.TrainhostError as error:
        raise translate(error) from error
