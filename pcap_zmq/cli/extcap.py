"""The command pcap-zmq extcap: what Wireshark asks of it, and its installation."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pcap_zmq import options
from pcap_zmq.cli import exits
from pcap_zmq.cli.options import number, quantity_option, size
from pcap_zmq.errors import PcapZmqError
from pcap_zmq.options import Bounds

if TYPE_CHECKING:
    from pcap_zmq.tools.dump import Dump
    from pcap_zmq.tools.extcap import GatewayOptions, ReceiverOptions
    from pcap_zmq.tools.receive import Receive

LINKTYPES = ("nflog", "raw", "ethernet")
AS_SENT = "as-sent"
MODES = ("connect", "listen")

_PATH = click.Path(path_type=Path)
_PORT = Bounds(1, 22, 65_535)


@click.command("extcap", context_settings={"max_content_width": 100})
@click.help_option("-h", "--help")
@click.option("--install", is_flag=True, help="Let Wireshark find this command.")
@click.option(
    "--directory",
    "directories",
    type=_PATH,
    multiple=True,
    metavar="DIR",
    help="With --install: where Wireshark looks. [default: this user's own]",
)
@click.option(
    "--dump",
    metavar="GROUPS",
    help="On a gateway: write packets of NFLOG groups to standard output.",
)
@click.option("--extcap-interfaces", is_flag=True, help="Wireshark: which there are.")
@click.option("--extcap-interface", metavar="NAME", help="Wireshark: the one meant.")
@click.option("--extcap-dlts", is_flag=True, help="Wireshark: its link types.")
@click.option("--extcap-config", is_flag=True, help="Wireshark: its options.")
@click.option("--capture", is_flag=True, help="Wireshark: write packets to --fifo.")
@click.option("--fifo", metavar="FIFO", help="Wireshark: where it reads packets.")
@click.option(
    "--extcap-capture-filter",
    "capture_filter",
    default="",
    metavar="FILTER",
    help="Only packets that it takes (pcap-filter(7)); a gateway's, raw or ethernet.",
)
@click.option("--extcap-version", expose_value=False, hidden=True)
@click.option("--extcap-control-in", expose_value=False, hidden=True)
@click.option("--extcap-control-out", expose_value=False, hidden=True)
@click.option("--endpoint", default="", metavar="ENDPOINT", help="tcp://HOST:PORT.")
@click.option(
    "--mode",
    type=click.Choice(MODES),
    default="connect",
    show_default=True,
    help="Connect to a sender that listens (--bind), or listen.",
)
@click.option(
    "--linktype",
    type=click.Choice((AS_SENT, *LINKTYPES)),
    help="Of the packets. [default: as they are sent; a gateway's: nflog]",
)
@click.option("--key", type=_PATH, metavar="FILE", help="Our secret certificate.")
@click.option("--allow", type=_PATH, metavar="DIR", help="Of those who may send.")
@click.option("--insecure", is_flag=True, help="Do without keys.")
@click.option("--remote-host", default="", metavar="HOST", help="The gateway.")
@click.option(
    "--groups",
    default="5",
    show_default=True,
    metavar="GROUPS",
    help="Its NFLOG groups.",
)
@quantity_option(
    "--snaplen", size(options.SNAPLEN), "Octets kept of its packets at most."
)
@quantity_option("--remote-port", number(_PORT), "Of its ssh server.")
@click.option("--remote-user", default="", metavar="NAME", help="Who to be there.")
@click.option("--ssh-key", type=_PATH, metavar="FILE", help="The secret key for ssh.")
@click.option(
    "--ssh-command",
    default="ssh",
    show_default=True,
    help="What takes ssh's place; may have options.",
)
@click.option(
    "--remote-command",
    default="pcap-zmq",
    show_default=True,
    help="What pcap-zmq is called there.",
)
@click.option("--sudo", is_flag=True, help="Run that by sudo -n.")
def extcap(**flags: Any) -> None:
    """Make a receiver, and NFLOG groups of a gateway over ssh, interfaces of Wireshark.

    pcap-zmq extcap --install lets Wireshark and tshark find them, as pcap-zmq and
    pcap-zmq-ssh; everything else they ask themselves. Exit codes: 0 done, 1 failed
    while running, 2 usage, 3 permission.
    """
    from pcap_zmq import logs

    # Wireshark shows what is on standard error as an error.
    logs.install("text", "warning")
    try:
        _answer(flags)
    except PcapZmqError as error:
        raise exits.Refused(error) from error


def _answer(flags: dict[str, Any]) -> None:
    if flags["install"]:
        _install(flags["directories"])
    elif flags["dump"] is not None:
        _dump(flags)
    elif flags["extcap_interfaces"]:
        _say("interfaces")
    elif not flags["extcap_interface"]:
        raise click.UsageError("say --install; the rest is for Wireshark to ask")
    elif flags["extcap_dlts"]:
        _named(flags)
        _say("dlts")
    elif flags["extcap_config"]:
        _say("arguments", _named(flags))
    elif flags["capture"]:
        _capture(flags)
    else:
        _check_filter(flags)


def _say(question: str, *arguments: str) -> None:
    from pcap_zmq.tools import extcap_answers

    for line in getattr(extcap_answers, question)(*arguments):
        click.echo(line)


def _named(flags: dict[str, Any]) -> str:
    """The interface that is meant."""
    from pcap_zmq.tools.extcap_answers import INTERFACES

    name = str(flags["extcap_interface"])
    if name not in INTERFACES:
        raise click.BadParameter(
            f"{name!r} is no interface: {', '.join(INTERFACES)}",
            param_hint="--extcap-interface",
        )
    return name


def _install(directories: tuple[Path, ...]) -> None:
    from pcap_zmq.tools.extcap_answers import install, personal_directories

    for path in install(directories or personal_directories()):
        click.echo(path)


def _capture(flags: dict[str, Any]) -> None:
    from pcap_zmq.tools.extcap import become, write_to
    from pcap_zmq.tools.extcap_answers import GATEWAY

    if not flags["fifo"]:
        raise click.UsageError("--capture needs --fifo")
    if _named(flags) == GATEWAY:
        command = _gateway(flags).command()
        write_to(flags["fifo"])
        become(command)
    else:
        from pcap_zmq.tools.receive import Receive

        config = _receiver(flags).config()
        write_to(flags["fifo"])
        _run(Receive(config))


def _run(tool: "Receive | Dump") -> None:
    """Until a signal, or until nobody reads: that is how Wireshark ends a capture. It
    takes whatever is on standard error for an error, so there are no totals."""
    from pcap_zmq.errors import OutputError
    from pcap_zmq.poll import Stop
    from pcap_zmq.tools.extcap import has_reader

    stop = Stop()
    with tool:
        stop.install()
        try:
            tool.run(stop)
        except OutputError:
            if has_reader():
                raise


def _gateway(flags: dict[str, Any]) -> "GatewayOptions":
    from pcap_zmq.tools.extcap import GatewayOptions

    return GatewayOptions(
        flags["remote_host"],
        groups=flags["groups"],
        linktype=_linktype(flags),
        filter=flags["capture_filter"],
        snaplen=flags["snaplen"],
        port=flags["remote_port"],
        user=flags["remote_user"],
        identity=flags["ssh_key"],
        ssh=flags["ssh_command"],
        remote=flags["remote_command"],
        sudo=flags["sudo"],
    )


def _receiver(flags: dict[str, Any]) -> "ReceiverOptions":
    from pcap_zmq.errors import ConfigError
    from pcap_zmq.tools.extcap import ReceiverOptions

    if flags["capture_filter"]:
        raise ConfigError(
            "a receiver has no capture filter, since its packets have come already: "
            "leave it empty, and use a display filter"
        )
    return ReceiverOptions(
        flags["endpoint"],
        listens=flags["mode"] == "listen",
        linktype=flags["linktype"] or AS_SENT,
        key=flags["key"],
        allow=flags["allow"],
        insecure=flags["insecure"],
    )


def _linktype(flags: dict[str, Any]) -> str:
    """Of a gateway's packets."""
    chosen = flags["linktype"]
    return chosen if chosen in LINKTYPES else LINKTYPES[0]


def _check_filter(flags: dict[str, Any]) -> None:
    """Wireshark asks whether a capture filter is one; silence says yes."""
    from pcap_zmq.tools.extcap import judge_filter

    complaint = judge_filter(_named(flags), flags["capture_filter"], _linktype(flags))
    if complaint:
        click.echo(complaint)


def _dump(flags: dict[str, Any]) -> None:
    from pcap_zmq.cli.send import NFLOG_PREFIX, parse_groups
    from pcap_zmq.formats import linktype as linktypes
    from pcap_zmq.tools.dump import Dump, DumpConfig
    from pcap_zmq.tools.send_config import NflogOptions

    if sys.stdout.isatty():
        raise click.UsageError("packets are nothing for a terminal")
    groups = parse_groups(NFLOG_PREFIX + flags["dump"].removeprefix(NFLOG_PREFIX))
    nflog = NflogOptions(
        groups or (),
        snaplen=flags["snaplen"],
        linktype=linktypes.NAMES[_linktype(flags)],
    )
    _run(Dump(DumpConfig(nflog, flags["capture_filter"])))
