"""What can go wrong with an NFLOG socket."""


class NflogError(OSError):
    """The kernel refused; errno and a sentence that says what to do."""


class NflogPermissionError(NflogError, PermissionError):
    """No CAP_NET_ADMIN, or another process holds the group: the kernel says EPERM
    for both."""


class NflogUnavailableError(ImportError):
    """This build or this host has no libnetfilter_log."""
