"""A gateway whose rules are made with each tool, and the doctor's view of it."""

import shlex

from testbed.namespaces import Namespace
from tests.doctor.asking import Diagnosis, ask

GROUP, PORT = 5, 5140
SEND = ("--send", str(GROUP))
ENDPOINT = f"tcp://10.9.9.9:{PORT}"
TIMEOUT_S = 60.0

WITHOUT_NET_ADMIN = (
    "setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin", "--",
)  # fmt: skip


class Gateway:
    """A host with nothing but loopback, and the doctor's view of it."""

    def __init__(self, host: Namespace) -> None:
        self.host = host

    def ask(self, *arguments: str, within: tuple[str, ...] = ()) -> Diagnosis:
        return ask(*arguments, host=self.host, within=within)

    def run(self, command: str, input: str = "") -> str:
        return self.host.run(shlex.split(command), input=input).stdout

    def add(
        self,
        tool: str,
        hook: str,
        match: str = "",
        *,
        group: int = GROUP,
        **options: int | str,
    ) -> None:
        """A rule that logs what matches. options: threshold, size, prefix, range."""
        if tool == "nft":
            words = {"threshold": "queue-threshold", "size": "snaplen"}
            said = "".join(
                f" {words.get(name, name)} {value!r}".replace("'", '"')
                for name, value in options.items()
            )
            self._nft(hook, f"{match} counter log{said} group {group}")
        else:
            said = "".join(
                f" --nflog-{name} {value}" for name, value in options.items()
            )
            to = f"-j NFLOG --nflog-group {group}{said}"
            self.run(f"{program(tool)} -A {hook.upper()} {match} {to}")

    def exclude(self, tool: str, hook: str, match: str) -> None:
        """A rule that accepts what matches."""
        if tool == "nft":
            self._nft(hook, f"{match} accept")
        else:
            self.run(f"{program(tool)} -A {hook.upper()} {match} -j ACCEPT")

    def _nft(self, hook: str, rule: str) -> None:
        base = f"type filter hook {hook} priority 0\n{rule}\n"
        text = f"table inet t {{\nchain {hook} {{\n{base}}}\n}}\n"
        self.run("nft -f -", input=text)


def program(tool: str) -> str:
    return "iptables-nft" if tool == "iptables" else tool
