"""All rules of this network namespace: nftables', and iptables' of either kind.

What iptables-nft keeps in nftables is taken from iptables-nft-save: nft shows some of
its matches only by name.
"""

from pathlib import Path

from pcap_zmq.doctor.judge import iptables, nftables
from pcap_zmq.doctor.judge.ruleset import Backend, Table
from pcap_zmq.doctor.look import programs
from pcap_zmq.doctor.look.programs import Said

_LEGACY = {
    Backend.IPTABLES_LEGACY: Path("/proc/net/ip_tables_names"),
    Backend.IP6TABLES_LEGACY: Path("/proc/net/ip6_tables_names"),
}
"""Which tables there are. Where there are none, asking iptables-legacy would load its
modules: so it is not asked."""


def look() -> tuple[tuple[Table, ...], tuple[str, ...]]:
    """The tables, and what could not be listed and why, a line each."""
    tables: list[Table] = []
    refused: list[str] = []
    for backend in (Backend.IPTABLES, Backend.IP6TABLES):
        said = _save(backend, "nft", "nf_tables")
        if said is not None and said.is_done:
            tables += iptables.read(said.output, backend)
    saved = {(table.family, table.name) for table in tables}
    try:
        listed = _nftables()
    except ValueError as error:
        refused.append(f"nftables rules cannot be listed: {error}")
    else:
        tables += [t for t in listed if (t.family, t.name) not in saved]
    for backend, names in _LEGACY.items():
        try:
            if not names.read_text().strip():
                continue
        except FileNotFoundError:
            continue
        except OSError as error:
            refused.append(f"{backend.value}: {names}: {error.strerror}")
            continue
        said = _save(backend, "legacy", "legacy")
        if said is None:
            refused.append(f"{backend.value}-save is not installed, and has rules here")
        elif not said.is_done:
            refused.append(f"{backend.value} rules cannot be listed: {said.why}")
        else:
            tables += iptables.read(said.output, backend)
    return tuple(tables), tuple(refused)


def _nftables() -> list[Table]:
    """Raises ValueError with the reason."""
    said = programs.run("nft", "-j", "list", "ruleset")
    if said is None:
        if Path("/sys/module/nf_tables").exists():
            raise ValueError("nft is not installed (package nftables)")
        return []
    if not said.is_done:
        raise ValueError(said.why)
    # With no rules at all, some versions say nothing.
    return nftables.read(said.output) if said.output.strip() else []


def _save(backend: Backend, kind: str, version: str) -> Said | None:
    """iptables-save of one kind, under whichever name it has; None: not installed."""
    plain = backend.value.removesuffix("-legacy")
    said = programs.run(f"{plain}-{kind}-save", "-c")
    if said is not None:
        return said
    told = programs.run(f"{plain}-save", "-V")
    # Before 1.8 there was but one kind, and it does not say which.
    is_it = told is not None and (
        version in told.output or (kind == "legacy" and "(" not in told.output)
    )
    return programs.run(f"{plain}-save", "-c") if is_it else None
