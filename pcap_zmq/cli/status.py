"""The command pcap-zmq status: a receiver's ledger as a table or as JSON."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from pcap_zmq import options
from pcap_zmq.cli import exits
from pcap_zmq.cli.command import is_rehearsal, tool_command
from pcap_zmq.cli.keying import client_key_options, client_keys_of
from pcap_zmq.cli.options import duration, quantity_option
from pcap_zmq.cli.table import plain, table
from pcap_zmq.errors import PcapZmqError
from pcap_zmq.units import NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    from pcap_zmq.formats.ledger import Line, State, Tally
    from pcap_zmq.formats.output_line import OutputLine

_HEAD = (
    "SENDER",
    "FROM",
    "LOGGED",
    "DELIVERED",
    "HELD",
    "DROPPED",
    "MISSED",
    "ELSEWHERE",
    "UNACCOUNTED",
    "PER SECOND",
    "RUNNING",
    "CLOCK",
    "LAST SEEN",
)
_OUTPUTS_HEAD = (
    *("OUTPUT", "WHEN SLOW", "TAKEN", "WRITTEN"),
    *("HELD", "DROPPED", "READERS"),
)

CLEAR = "\x1b[H\x1b[J"


@tool_command("status")
@click.argument("address")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one line an answer.")
@click.option("--watch", is_flag=True, help="Ask again every --interval.")
@quantity_option(
    "--interval", duration(options.WATCH_NS), "With --watch: how often to ask."
)
@quantity_option(
    "--timeout", duration(options.ANSWER_NS), "How long to wait for an answer."
)
@client_key_options
def status(
    address: str, as_json: bool, watch: bool, interval: int, timeout: int, **keys: Any
) -> None:
    """Show where every packet of every sender is, as the receiver at ADDRESS knows it.

    For each sender: LOGGED = DELIVERED + HELD + DROPPED + MISSED + ELSEWHERE, and what
    is missing in that sum is UNACCOUNTED. With keys, an operator's (pcap-zmq keygen
    --role operator) shows all senders, a sender's its own line. Exit codes: 0 all
    packets are accounted for, 1 some are not, 2 usage, 3 permission, 4 no answer.
    """
    # Here, so that --help does not load ZeroMQ.
    from pcap_zmq.formats.inquiry import Kind
    from pcap_zmq.formats.ledger import decode_state
    from pcap_zmq.poll import Stop
    from pcap_zmq.tools.asker import Asker, AskerConfig

    stop = Stop()
    is_balanced = True
    try:
        asking = Asker(AskerConfig(address, timeout, client_keys_of(keys)))
        if is_rehearsal(click.get_current_context()):
            return
        with asking as receiver:
            stop.install()
            while (body := receiver.ask(Kind.STATUS, stop)) is not None:
                state = decode_state(body)
                is_balanced = not any(line.tally.unaccounted for line in state.senders)
                _show(state, as_json=as_json, clear=watch and sys.stdout.isatty())
                if not watch:
                    break
                receiver.pause(interval, stop)
    except PcapZmqError as error:
        raise exits.Refused(error) from error
    sys.exit(exits.DONE if is_balanced else exits.FAILED)


def _show(state: "State", *, as_json: bool, clear: bool) -> None:
    from pcap_zmq.formats.ledger import encode_state

    if as_json:
        click.echo(encode_state(state).decode())
    else:
        click.echo((CLEAR if clear else "") + render(state))


def render(state: "State") -> str:
    """The ledger for people."""
    lines = [
        f"receiver at {state.address}, output {state.output}, version {state.version}, "
        f"started {_moment(state.started_ns)}",
    ]
    if not state.senders:
        lines.append("no sender has been here")
        return _plain(lines)
    senders = sorted(state.senders, key=lambda line: (line.name, line.sender))
    rows = [_HEAD, *(_row(line, state.now_ns) for line in senders)]
    if len(senders) > 1:
        row = ("all", "", *_numbers(state.total), "", "", "", "")
        rows.append(row)
    lines += table(rows)
    for line in senders:
        lines += _notes(line, state)
    return _plain([*lines, *_outputs(state.outputs)])


def _outputs(outputs: "Sequence[OutputLine]") -> list[str]:
    """A table of them, and what its numbers are made of; nothing where there is one."""
    if not outputs:
        return []
    rows: list[Sequence[str]] = [_OUTPUTS_HEAD]
    notes = []
    for line in outputs:
        dropped = sum(line.dropped.values())
        numbers = (line.taken, line.written, line.held, dropped, line.readers)
        policy = "drop" if line.drops else "wait"
        rows.append((line.name, policy, *map(str, numbers)))
        notes += [
            f"{line.name}: dropped {n} as {why}" for why, n in line.dropped.items()
        ]
        if line.has_failed:
            notes.append(f"{line.name}: has failed, and takes no more")
    return [*table(rows), *notes]


def _plain(lines: Sequence[str]) -> str:
    return "\n".join(map(plain, lines))


def _row(line: "Line", now_ns: int) -> tuple[str, ...]:
    return (
        line.name,
        line.address or "-",
        *_numbers(line.tally),
        str(line.rate),
        _age(now_ns - line.started_ns),
        _clock(line),
        "here" if line.is_here else f"{_age(now_ns - line.seen_ns)} ago",
    )


def _numbers(tally: "Tally") -> tuple[str, ...]:
    numbers = (
        tally.logged,
        tally.delivered,
        tally.held_by_sender + tally.held_by_receiver,
        tally.dropped.total(),
        tally.missed + tally.missed_tail,
        tally.elsewhere,
        tally.unaccounted,
    )
    return tuple(map(str, numbers))


def _notes(line: "Line", state: "State") -> list[str]:
    """What the numbers in the table are made of, where they are made of anything."""
    tally = line.tally
    notes = [
        f"dropped {n} as {reason.value}" for reason, n in tally.dropped.items() if n
    ]
    if tally.missed_tail:
        notes.append(f"missed about {tally.missed_tail} after the last packet seen")
    if tally.held_by_sender or tally.held_by_receiver:
        notes.append(
            f"held {tally.held_by_sender} by the sender and "
            f"{tally.held_by_receiver} by the receiver"
        )
    if line.repeated:
        notes.append(f"{line.repeated} came again and were passed over")
    if line.late:
        notes.append(f"{line.late} came too late to be put in order")
    notes += _notes_on_clock(line)
    if line.malformed:
        notes.append(f"{line.malformed} malformed messages")
    if tally.elsewhere:
        notes.append(
            f"{tally.elsewhere} acknowledged before {_moment(line.since_ns)}, from "
            "when on this receiver can vouch"
        )
    if line.runs > 1:
        notes.append(f"started {line.runs} times")
    return [f"{line.name}: {note}" for note in notes]


def _clock(line: "Line") -> str:
    from pcap_zmq.formats.clock_offset import describe_offset

    offset_ns = line.clock_offset_ns
    return "-" if offset_ns is None else describe_offset(offset_ns)


def _notes_on_clock(line: "Line") -> list[str]:
    from pcap_zmq.formats.clock_offset import is_wrong

    notes = []
    offset_ns, error_ns = line.clock_offset_ns, line.clock_error_ns
    if offset_ns is not None and error_ns is not None and is_wrong(offset_ns, error_ns):
        notes.append(
            f"its clock is {_clock(line)} off the receiver's, give or "
            f"take {error_ns / NS_PER_MS:.1f}ms: set both by NTP"
        )
    if line.clock_jumps:
        notes.append(f"its clock was set {line.clock_jumps} times")
    return notes


def _age(duration_ns: int) -> str:
    """Roughly how long: 5s, 12min, 3h, 4d."""
    seconds = max(0, duration_ns) // NS_PER_S
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _moment(wall_ns: int) -> str:
    from pcap_zmq.clock import utc_text

    return utc_text(wall_ns // NS_PER_MS)
