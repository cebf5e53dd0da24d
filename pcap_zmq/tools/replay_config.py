"""What `pcap-zmq replay` is asked to do, and whether that makes sense."""

from dataclasses import dataclass, field
from pathlib import Path

from pcap_zmq import options
from pcap_zmq.errors import ConfigError
from pcap_zmq.formats.bpf import check_expression
from pcap_zmq.policy.merge_plan import MergePlan, Order
from pcap_zmq.stages.sift import Mtu
from pcap_zmq.tools.file_tool import FileToolConfig
from pcap_zmq.tools.output_spec import DEFAULT

__all__ = ["MergePlan", "Mtu", "Order", "Pace", "ReplayConfig"]

INTERFACE_PREFIX = "interface:"

NAME_OCTETS_MAX = 15
"""Of an interface: IFNAMSIZ in linux/if.h, less the zero."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast: one of these at most; none: as captured. speed: so many times faster,
    in millionths. fit_ns: once through takes so long. pps: packets a second, in
    thousandths. bits_per_s: of packets as they are captured. top: as fast as it
    goes."""

    speed: int | None = None
    fit_ns: int | None = None
    pps: int | None = None
    bits_per_s: int | None = None
    top: bool = False

    def check(self) -> None:
        """Raises ConfigError."""
        given = {
            "--speed": self.speed,
            "--fit": self.fit_ns,
            "--pps": self.pps,
            "--mbps": self.bits_per_s,
            "--topspeed": self.top or None,
        }
        names = [name for name, value in given.items() if value is not None]
        if names[1:]:
            raise ConfigError(
                f"{' and '.join(names)} contradict each other: each says how fast "
                "packets go; give one of them"
            )
        if self.speed is not None:
            options.SPEED_MILLIONTHS.check("--speed (millionths)", self.speed)
        if self.fit_ns is not None:
            options.FIT_NS.check("--fit (ns)", self.fit_ns)
        if self.pps is not None:
            options.PPS_THOUSANDTHS.check("--pps (thousandths)", self.pps)
        if self.bits_per_s is not None:
            options.BITS_PER_S.check("--mbps (bits)", self.bits_per_s)


@dataclass(frozen=True, slots=True)
class ReplayConfig(FileToolConfig):
    """paths: files, patterns, folders, archives. index: of `pcap-zmq map`, or what
    GopherCap's map has written: what is known of the files, or, without paths, the
    files. plan: which packets, how often. filter: in pcap-filter(7)'s language; empty:
    all. mtu: None: however long. stamps: packets get the times at which they go.
    busy_wait_ns: as of InterfaceSink."""

    paths: tuple[str, ...] = ()
    index: Path | None = None
    plan: MergePlan = field(default_factory=MergePlan)
    pace: Pace = field(default_factory=Pace)
    filter: str = ""
    mtu: Mtu | None = None
    stamps: bool = False
    busy_wait_ns: int = options.BUSY_WAIT_NS.default

    @property
    def interface(self) -> str | None:
        """Where packets go onto, if that is one."""
        output = self.way_out.output
        if not output.startswith(INTERFACE_PREFIX):
            return None
        return output.removeprefix(INTERFACE_PREFIX)

    def check(self) -> None:
        """Raises ConfigError."""
        if not self.paths and self.index is None:
            raise ConfigError("no PATHS: name files, folders or patterns, then OUTPUT")
        if self.interface is None:
            # Not super(): slots have made another class of this one.
            FileToolConfig.check(self)
        else:
            self._check_interface(self.interface)
        self.pace.check()
        options.LOOPS.check("--loop", self.plan.loops)
        if self.mtu is not None:
            option = "--cut-mtu" if self.mtu.cuts else "--skip-mtu"
            options.MTU.check(option, self.mtu.octets)
        self._check_span()
        self._check_filter()

    def _check_interface(self, name: str) -> None:
        if not name or "/" in name or len(name.encode()) > NAME_OCTETS_MAX:
            raise ConfigError(f"OUTPUT {self.way_out.output!r} names no interface")
        if self.stamps:
            raise ConfigError(
                "--timestamps now is for what records times: packets on an interface "
                "carry none"
            )
        way = self.way_out
        others = {
            "--format": way.defaults.format != DEFAULT.format,
            "--overwrite": way.overwrite,
            "--key": way.keys.key is not None,
            "--peer-key": way.keys.peer_key is not None,
        }
        for option, is_given in others.items():
            if is_given:
                raise ConfigError(f"{option} is for other OUTPUTs than an interface")
        options.BUSY_WAIT_NS.check("--busy-wait (ns)", self.busy_wait_ns)
        options.LINGER_NS.check("--linger (ns)", self.linger_ns)
        options.REPORT_NS.check("--report (ns)", self.report_ns)

    def _check_span(self) -> None:
        begin_ns, end_ns = self.plan.from_ns, self.plan.until_ns
        if begin_ns is not None and end_ns is not None and begin_ns >= end_ns:
            raise ConfigError("--from is not before --to: no packet lies between them")
        if self.plan.together and (begin_ns, end_ns) != (None, None):
            raise ConfigError(
                "--together moves files in time: no moment of --from and --to is the "
                "same for all of them"
            )

    def _check_filter(self) -> None:
        """What is a filter for no link type shall be refused at once."""
        if self.filter.strip():
            check_expression(self.filter)
