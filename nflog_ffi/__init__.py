"""The crossing to libnetfilter_log: NFLOG packets in batches, for Python."""

from typing import TYPE_CHECKING, Any

from nflog_ffi.errors import (
    NflogError,
    NflogPermissionError,
    NflogUnavailableError,
)

if TYPE_CHECKING:
    from nflog_ffi.socket import NflogCounts, NflogSocket

__all__ = [
    "NflogCounts",
    "NflogError",
    "NflogPermissionError",
    "NflogSocket",
    "NflogUnavailableError",
]


def __getattr__(name: str) -> Any:
    # Loaded when first asked for: limits and errors are of use on a host without
    # libnetfilter_log, the socket is not.
    if name in {"NflogCounts", "NflogSocket"}:
        try:
            from nflog_ffi import socket
        except ImportError as error:
            raise NflogUnavailableError(
                f"libnetfilter_log cannot be used: {error}; install libnetfilter-log1 "
                "and libmnl0, or build again with libnetfilter-log-dev"
            ) from error
        return getattr(socket, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
