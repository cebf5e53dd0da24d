"""Opens what an OUTPUT names: one sink, or several behind one."""

import hashlib
import stat
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from pcap_zmq import __version__
from pcap_zmq.counters import OutputCounters, OutputCounts, ReceiverCounters
from pcap_zmq.errors import ConfigError, OutputError, OutputPermissionError
from pcap_zmq.formats import linktype as linktypes
from pcap_zmq.formats.file_format import FileFormat, Pcap
from pcap_zmq.formats.ledger import Line
from pcap_zmq.packet import Batch
from pcap_zmq.sinks.branch import Branch, Output
from pcap_zmq.sinks.fifo import FifoSink
from pcap_zmq.sinks.outputs import Copies, Flows, Outputs
from pcap_zmq.sinks.savefile import SavefileSink
from pcap_zmq.stages.relink import Relink
from pcap_zmq.tools.output_spec import Kind, OutputSpec


@dataclass(frozen=True, slots=True)
class Common:
    """What all outputs of a receiver have to do with. delivered: is told of batches
    that are where the ledger counts them; None: nobody wants to know."""

    counters: ReceiverCounters
    nanoseconds: bool
    overwrite: bool
    insecure: bool
    ledger: Callable[[], Sequence[Line]]
    sender_of: Callable[[object], str]
    delivered: Callable[[Batch], None] | None


def load_modules(specs: Sequence[OutputSpec], *, balances: bool) -> None:
    """Those that only some outputs need, while they may still be read: whoever we
    become may not."""
    if any(spec.format == "pcapng" for spec in specs):
        import pcap_zmq.formats.pcapng
    if any(spec.rotates for spec in specs):
        import pcap_zmq.sinks.rotating
    kinds = {spec.kind for spec in specs}
    if Kind.CHILD in kinds:
        import pcap_zmq.sinks.child
    if Kind.SERVER in kinds:
        import pcap_zmq.sinks.broadcast
    if balances:
        import flow_ffi  # noqa: F401
        import pcap_zmq.tools.send  # noqa: F401  # for the id of this machine


def open_outputs(
    specs: Sequence[OutputSpec], common: Common, *, balances: bool, inner: bool
) -> Outputs:
    """Each with a queue of its own. balances: each flow to one of them; inner: by what
    is within tunnels. Raises what `open_sink` does."""
    branches: list[Branch] = []
    with ExitStack() as opened:
        for spec in specs:
            is_copy = bool(branches) and not balances
            counters = OutputCounters(common.counters, is_copy=is_copy)
            sink = open_sink(spec, common, counters)
            opened.callback(sink.close)
            branches.append(
                Branch(
                    spec.name,
                    sink,
                    # A live stream waits for nobody, whatever is the default.
                    drops=spec.drops or spec.kind is Kind.SERVER,
                    queue_bytes=spec.queue,
                    counters=counters,
                    relink=relink_for(spec, counters, common.sender_of),
                    delivered=None if is_copy else common.delivered,
                )
            )
        if not balances:
            outputs = Outputs(branches, Copies(branches))
        else:
            outputs = Outputs(branches, _flows(branches, inner=inner))
        opened.pop_all()
    return outputs


def _flows(branches: Sequence[Branch], *, inner: bool) -> Flows:
    from flow_ffi import FlowSpread
    from pcap_zmq.tools.send import machine_id

    # The same after a restart, so that flows stay where they are; and not for everybody
    # to know.
    digest = hashlib.blake2b(machine_id().encode(), digest_size=8, person=b"balance")
    seed = int.from_bytes(digest.digest())
    return Flows(branches, FlowSpread(inner=inner, seed=seed))


def relink_for(
    spec: OutputSpec,
    counters: OutputCounts,
    sender_of: Callable[[object], str],
) -> Relink | None:
    """What makes packets fit an output; None: pcapng takes all of them as they are, and
    those of NFLOG in any case."""
    if spec.format == "pcapng":
        if spec.linktype is None:
            return None
        return Relink(spec.linktype, counters, sender_of, but=linktypes.NFLOG)
    return Relink(spec.linktype, counters, sender_of)


def open_sink(spec: OutputSpec, common: Common, counters: OutputCounts) -> Output:
    """Raises ConfigError, OutputError and OutputPermissionError."""
    kind, path = spec.kind, Path(spec.target)
    if kind is Kind.PATH:
        kind = Kind.FIFO if _is_fifo(path) else Kind.FILE
    match kind:
        case Kind.FIFO:
            return FifoSink(
                path,
                linktype=spec.linktype,
                file_format=_format(spec, common),
                counters=counters,
            )
        case Kind.FILE if spec.rotates:
            return _open_rotating(spec, common, counters)
        case Kind.CHILD:
            return _open_child(spec, common, counters)
        case Kind.SERVER:
            return _open_server(spec, common, counters)
        case _:
            return SavefileSink(
                "-" if kind is Kind.STDOUT else spec.target,
                linktype=spec.linktype,
                file_format=_format(spec, common),
                overwrite=common.overwrite,
                counters=counters,
            )


def _format(spec: OutputSpec, common: Common) -> FileFormat:
    if spec.format != "pcapng":
        return Pcap(nanoseconds=common.nanoseconds)
    import platform

    from pcap_zmq.formats.pcapng import Pcapng
    from pcap_zmq.formats.pcapng_blocks import About

    host = platform.uname()
    about = About(
        hardware=host.machine,
        os=f"{host.system} {host.release}",
        application=f"pcap-zmq {__version__}",
    )
    return Pcapng(
        about,
        linktype=spec.linktype,
        nanoseconds=common.nanoseconds,
        ledger=common.ledger,
    )


def _open_rotating(spec: OutputSpec, common: Common, counters: OutputCounts) -> Output:
    from pcap_zmq.sinks.rotating import RotatingSink

    return RotatingSink(
        spec.target,
        size=spec.size,
        age_ns=spec.age_ns,
        count=spec.count,
        compress=spec.compress,
        linktype=spec.linktype,
        file_format=_format(spec, common),
        counters=counters,
    )


def _open_child(spec: OutputSpec, common: Common, counters: OutputCounts) -> Output:
    from pcap_zmq.sinks.child import ChildSink

    return ChildSink(
        spec.target,
        linktype=spec.linktype,
        file_format=_format(spec, common),
        counters=counters,
    )


def _open_server(spec: OutputSpec, common: Common, counters: OutputCounts) -> Output:
    from pcap_zmq.sinks.broadcast import BroadcastSink

    address = spec.address
    return BroadcastSink(
        address.host,
        address.port,
        linktype=spec.linktype,
        file_format=_format(spec, common),
        queue=spec.queue,
        insecure=common.insecure or spec.insecure,
        counters=counters,
    )


def _is_fifo(path: Path) -> bool:
    """Whether a FIFO lies there, or nothing, so that one is made."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return True
    except PermissionError as error:
        raise OutputPermissionError(
            f"{path} may not be looked at: {error.strerror}; run as a user who may "
            "(--user)"
        ) from error
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}") from error
    if stat.S_ISDIR(mode):
        raise ConfigError(f"{path} is a directory; name a file or a FIFO in it")
    return stat.S_ISFIFO(mode)
