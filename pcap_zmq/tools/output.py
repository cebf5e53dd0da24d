"""Which sink an OUTPUT of the receiver is: a FIFO, a file or standard output."""

import stat
from pathlib import Path

from pcap_zmq.counters import ReceiverCounters
from pcap_zmq.errors import ConfigError, OutputError, OutputPermissionError
from pcap_zmq.sinks.fifo import FifoSink
from pcap_zmq.sinks.savefile import SavefileSink
from pcap_zmq.tools.receive_config import FIFO_PREFIX, FILE_PREFIX, ReceiveConfig


def open_output(
    config: ReceiveConfig, counters: ReceiverCounters
) -> FifoSink | SavefileSink:
    """Raises ConfigError, OutputError and OutputPermissionError."""
    path = _fifo_path(config.output)
    if path is not None:
        return FifoSink(
            path,
            linktype=config.linktype,
            nanoseconds=config.nanoseconds,
            counters=counters,
        )
    return SavefileSink(
        config.output.removeprefix(FILE_PREFIX),
        linktype=config.linktype,
        nanoseconds=config.nanoseconds,
        overwrite=config.overwrite,
        counters=counters,
    )


def _fifo_path(output: str) -> Path | None:
    """The FIFO that the output is; None where it is a file or standard output."""
    if output == "-" or output.startswith(FILE_PREFIX):
        return None
    if output.startswith(FIFO_PREFIX):
        return Path(output.removeprefix(FIFO_PREFIX))
    path = Path(output)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return path
    except PermissionError as error:
        raise OutputPermissionError(
            f"{path} may not be looked at: {error.strerror}; run as a user who may "
            "(--user)"
        ) from error
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}") from error
    if stat.S_ISDIR(mode):
        raise ConfigError(f"{path} is a directory; name a file or a FIFO in it")
    return path if stat.S_ISFIFO(mode) else None
