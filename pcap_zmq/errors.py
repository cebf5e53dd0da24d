"""What can go wrong, each with what, on what, why and what to do."""


class PcapZmqError(Exception):
    """Every error of ours; never raised itself."""


class ConfigError(PcapZmqError, ValueError):
    """Asked for the impossible; names the option, its value and its bound."""


class ConfigPermissionError(ConfigError, PermissionError):
    """A settings file may not be read."""


class KeyFileError(ConfigError):
    """A certificate file that is missing, is none, or is not the one to use there."""


class KeyPermissionError(KeyFileError, PermissionError):
    """A key file may not be read or written, or others may."""


class FormatError(PcapZmqError, ValueError):
    """Bytes do not fit a format."""


class SavefileError(FormatError):
    """A file or stream that is no savefile, or ends in the middle of a packet."""


class NoCaptureError(SavefileError):
    """A file that holds something else, or nothing: in folders there may be such."""


class SpoolFormatError(FormatError):
    """Octets in a spool that docs/spool.md does not explain."""


class WireError(FormatError):
    """A message that docs/wire.md does not explain."""


class UnsupportedVersionError(WireError):
    """A message of a wire version that this program does not speak."""


class EdgeError(PcapZmqError):
    """The world said no."""


class NflogError(EdgeError):
    """The kernel refused an NFLOG socket or an option of it."""


class NflogPermissionError(NflogError, PermissionError):
    """No CAP_NET_ADMIN, or another process holds the group."""


class NflogUnavailableError(NflogError):
    """This build or this host has no libnetfilter_log."""


class OutputError(EdgeError):
    """The FIFO or file that packets are written to."""


class OutputPermissionError(OutputError, PermissionError):
    """The output may not be made or written."""


class SpoolError(EdgeError):
    """The directory that holds what cannot be sent yet."""


class SpoolPermissionError(SpoolError, PermissionError):
    """The spool may not be used, or others may change it."""


class InputError(EdgeError):
    """The savefile that packets are read from cannot be opened or read."""


class InputPermissionError(InputError, PermissionError):
    """The savefile may not be read."""


class BrokenFilesError(EdgeError):
    """Some files broke; what came before that, and the other files, went out."""


class NotFoundError(PcapZmqError):
    """Everything was looked through, and what was looked for is not there."""


class PrivilegeError(EdgeError, PermissionError):
    """Root could not be given up, or not for good."""


class TransportError(EdgeError):
    """ZeroMQ or the kernel refused an endpoint, an address or a message."""


class TransportPermissionError(TransportError, PermissionError):
    """The other end does not take us for who may."""
