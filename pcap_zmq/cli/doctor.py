"""The command pcap-zmq doctor: its findings as lines or as JSON."""

import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pcap_zmq import options
from pcap_zmq.cli import exits
from pcap_zmq.cli.command import is_rehearsal, tool_command
from pcap_zmq.cli.keying import client_key_options, client_keys_of
from pcap_zmq.cli.options import number, quantity_option, size
from pcap_zmq.errors import PcapZmqError

if TYPE_CHECKING:
    from pcap_zmq.doctor.finding import Finding
    from pcap_zmq.tools.doctor import Pasteable

_COLOURS = {"ok": "green", "unknown": "cyan", "warning": "yellow", "problem": "red"}
_VERDICT_WIDTH = max(map(len, _COLOURS))
_CHECK_WIDTH = 14


class _Groups(click.ParamType):  # type: ignore[type-arg]  # only newer ones have
    """NFLOG groups, separated by commas; nflog: may stand before them."""

    name = "groups"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        text = str(value).removeprefix("nflog:")
        if not re.fullmatch(r"\d{1,5}(,\d{1,5})*", text, re.ASCII):
            self.fail(f"{value!r} is no NFLOG groups; write 5 or 0,1", param, ctx)
        groups = tuple(dict.fromkeys(int(group) for group in text.split(",")))
        for group in groups:
            if group > options.GROUP.maximum:
                self.fail(
                    f"NFLOG group {group} is above {options.GROUP.maximum}", param, ctx
                )
        return groups


@tool_command("doctor")
@click.argument("endpoint", required=False)
@click.option(
    "--send",
    "groups",
    type=_Groups(),
    metavar="GROUPS",
    help="Look at what a sender of these NFLOG groups needs.",
)
@click.option(
    "--recv",
    "output",
    metavar="OUTPUT",
    help="Look at what a receiver with this FIFO or file needs.",
)
@quantity_option(
    "--rcvbuf", size(options.RCVBUF), "With --send: the sender's receive buffer."
)
@quantity_option(
    "--qthreshold",
    number(options.QTHRESHOLD),
    "With --send: the sender's threshold, and that of the rules printed.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--allow",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="With --recv: the receiver's public certificates of its senders.",
)
@client_key_options
def doctor(
    endpoint: str | None,
    groups: tuple[int, ...] | None,
    output: str | None,
    rcvbuf: int,
    qthreshold: int,
    as_json: bool,
    allow: Path | None,
    **keys: Any,
) -> None:
    """Look at what usually goes wrong on this host, and say how to mend it.

    ENDPOINT is the sender's (tcp://HOST:PORT), which is tried, or the receiver's
    address. Nothing is changed, and a sender that runs is not disturbed. Run it as
    root: others may see neither rules nor who reads a group.

    Exit codes: 0 no problem was found, 1 one was, 2 usage.
    """
    # Here, so that --help does not load ZeroMQ.
    from pcap_zmq.tools.doctor import Doctor, DoctorConfig

    try:
        looking = Doctor(
            DoctorConfig(
                groups or (),
                output,
                endpoint,
                rcvbuf,
                qthreshold,
                client_keys_of(keys),
                allow,
            )
        )
        if is_rehearsal(click.get_current_context()):
            return
        if as_json:
            findings = list(looking.findings())
            click.echo(_as_json(findings, looking.rules()))
        else:
            findings = []
            for finding in looking.findings():
                findings.append(finding)
                _show(finding)
            _show_end(findings, looking.rules())
    except PcapZmqError as error:
        raise exits.Refused(error) from error
    is_well = all(finding.verdict.value != "problem" for finding in findings)
    sys.exit(exits.DONE if is_well else exits.FAILED)


def _as_json(findings: Iterable["Finding"], rules: "Pasteable | None") -> str:
    """A value that is added is no new version; one that changes its meaning is."""
    import json

    shown: dict[str, Any] = {
        "version": 1,
        "findings": [
            {
                "check": finding.check,
                "verdict": finding.verdict.value,
                "text": finding.text,
                "remedy": list(finding.remedy),
            }
            for finding in findings
        ],
    }
    if rules is not None:
        shown["rules"] = {
            "group": rules.group,
            "nft": rules.nft,
            "iptables": rules.iptables,
        }
    return json.dumps(shown, indent=2)


def _show(finding: "Finding") -> None:
    verdict = finding.verdict.value
    shown = _coloured(verdict.ljust(_VERDICT_WIDTH), verdict)
    _say(f"{shown}  {finding.check.ljust(_CHECK_WIDTH)}  {finding.text}")
    for line in finding.remedy:
        _say(f"{' ' * (_VERDICT_WIDTH + 2)}{' ' * _CHECK_WIDTH}  -> {line}")


def _show_end(findings: list["Finding"], rules: "Pasteable | None") -> None:
    if rules is not None:
        _say(
            f"\nRules that log to group {rules.group} what goes through this host, to "
            "it and from it\n(leave out what is not wanted). With nft:\n\n"
            f"nft -f - <<'END'\n{rules.nft}END\n\n"
            f"Or with iptables:\n\n{rules.iptables}"
        )
    counts = {
        verdict: sum(finding.verdict.value == verdict for finding in findings)
        for verdict in _COLOURS
    }
    text = ", ".join(
        f"{count} {_plural(verdict, count)}"
        for verdict, count in reversed(counts.items())
        if count
    )
    worst = next((v for v in ("problem", "warning", "unknown") if counts[v]), "ok")
    _say(_coloured(text, worst))


def _plural(verdict: str, count: int) -> str:
    return f"{verdict}s" if verdict in ("problem", "warning") and count > 1 else verdict


def _coloured(text: str, verdict: str) -> str:
    return click.style(text, fg=_COLOURS[verdict], bold=verdict == "problem" or None)


def _say(text: str) -> None:
    # click takes colours out where no terminal is; NO_COLOR is an operator's wish.
    click.echo(text, color=False if os.environ.get("NO_COLOR") else None)
