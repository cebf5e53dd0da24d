"""What the host offers beside the network: buffers, pipes, the clock, libraries."""

import ctypes
import errno
import platform
import re
from pathlib import Path

import zmq

import pcap_ffi  # noqa: F401  # loads libpcap, which is asked for its version
from pcap_zmq import __version__
from pcap_zmq.doctor.judge.buffers import Buffers
from pcap_zmq.doctor.judge.clock import Clock
from pcap_zmq.doctor.judge.libraries import Libraries
from pcap_zmq.doctor.judge.output import Pipes
from pcap_zmq.doctor.look import rights
from pcap_zmq.errors import ConfigError
from pcap_zmq.formats.codec import Codec, compressor

SYSCTL = Path("/proc/sys")

STA_UNSYNC = 0x40  # linux/timex.h
TIME_ERROR = 5


class _Timex(ctypes.Structure):
    """struct timex, of which only the first few are read: adjtimex(2)."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


def look_at_buffers(wanted: int) -> Buffers:
    """For a sender that asks for so much."""
    may_force = rights.has_net_admin() and rights.is_initial_user_namespace()
    return Buffers(wanted, _sysctl("net/core/rmem_max"), may_force)


def look_at_pipes() -> Pipes:
    """For a receiver with a FIFO."""
    return Pipes(_sysctl("fs/pipe-max-size"), _sysctl("fs/pipe-user-pages-soft"))


def look_at_clock() -> Clock:
    """Asks the kernel, whichever program keeps it right."""
    timex = _Timex(modes=0)  # nothing is set
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return Clock(None)
    if state < 0 and ctypes.get_errno() in (errno.EPERM, errno.ENOSYS):
        return Clock(None)
    is_synchronized = state != TIME_ERROR and not timex.status & STA_UNSYNC
    return Clock(is_synchronized, timex.maxerror)


def look_at_libraries() -> Libraries:
    """Those that this process has loaded, or can."""
    nflog_error = _load_nflog()
    major, minor, patch = zmq.zmq_version_info()
    return Libraries(
        python=platform.python_version(),
        pcap_zmq=__version__,
        libzmq=(major, minor, patch),
        pyzmq=zmq.__version__,
        has_curve=bool(zmq.has("curve")),
        codecs={codec.name.lower(): _has(codec) for codec in (Codec.ZSTD, Codec.LZ4)},
        libpcap=_libpcap_version(),
        nflog=None if nflog_error else _loaded("libnetfilter_log") or "this program",
        nflog_error=nflog_error,
    )


def _sysctl(name: str) -> int | None:
    try:
        return int((SYSCTL / name).read_text())
    except (OSError, ValueError):
        return None


def _has(codec: Codec) -> bool:
    try:
        compressor(codec)
    except ConfigError:
        return False
    return True


def _load_nflog() -> str:
    """Why it cannot be loaded; empty where it can."""
    try:
        # Here, so that a receiver's host can be looked at without it.
        from nflog_ffi import NflogSocket  # noqa: F401
    except (ImportError, OSError) as error:
        return str(error)
    return ""


def _loaded(name: str) -> str | None:
    """The file of a library that this process has loaded."""
    maps = Path("/proc/self/maps").read_text()
    found = re.search(rf"(/\S*/{re.escape(name)}[^/\s]*\.so\S*)", maps)
    return found[1] if found else None


def _libpcap_version() -> str | None:
    path = _loaded("libpcap")
    if path is None:
        return None
    version = ctypes.CDLL(path).pcap_lib_version
    version.restype = ctypes.c_char_p
    text: bytes = version()
    return text.decode()
