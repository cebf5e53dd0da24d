"""The C of both crossings as compilers and sanitizers see it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.nflog_ffi.datagrams import (
    PAYLOAD_MAX,
    Attribute,
    Message,
    Nfnetlink,
    done,
    ipv4,
    ipv6,
    logged,
    packet_message,
    several,
)

ROOT = Path(__file__).parents[2]
CROSSINGS = ("nflog_ffi", "pcap_ffi")
# What cffi makes lies beside what people wrote, and its name starts with a line.
WRITTEN = [
    source
    for crossing in CROSSINGS
    for source in sorted(ROOT.glob(f"{crossing}/[!_]*.c"))
]
DRIVER = Path(__file__).with_name("fuzz_parse.c")
INCLUDES = [f"-I{ROOT / crossing}" for crossing in CROSSINGS]
STRICT = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", *INCLUDES]
SANITIZED = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover"]

# About 2 s on one busy core, sanitizers included.
MUTATIONS = 1_500

DATAGRAMS = {
    "empty": b"",
    "one": logged(ipv4(40), group=1),
    "several": several(),
    "one octet of IPv4": logged(b"\x45", group=1),
    "one octet of IPv6": logged(b"\x60", group=1),
    "many": b"".join(logged(ipv6(50 + n), seq=n, group=2) for n in range(40)) + done(),
    "longest": logged(ipv4(1400), group=1) + logged(ipv4(PAYLOAD_MAX), seq=1, group=1),
    "attributes": packet_message(
        1, [(kind, bytes(range(1, 29))) for kind in range(1, 40)]
    ),
}

needs_compiler = pytest.mark.skipif(
    shutil.which("gcc") is None, reason="gcc is not installed"
)


def run(argv: list[str], *, input: str = "") -> subprocess.CompletedProcess[str]:
    """Runs a command that has to succeed; what it says is in the failure."""
    done = subprocess.run(
        argv, input=input, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    return done


@needs_compiler
@pytest.mark.parametrize("optimized", ["-O0", "-O2"])
@pytest.mark.parametrize(
    "source", WRITTEN, ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_a_file_compiles_without_any_warning(
    source: Path, optimized: str, tmp_path: Path
) -> None:
    run(["gcc", *STRICT, optimized, "-c", str(source), "-o", f"{tmp_path}/out.o"])


def test_every_file_that_is_built_is_compiled_here() -> None:
    built = {
        f"{crossing}/{name}"
        for crossing in CROSSINGS
        for name in re.findall(
            r'"(\w+\.c)"', (ROOT / crossing / "_build.py").read_text()
        )
    }
    assert {str(path.relative_to(ROOT)) for path in WRITTEN} == built


@needs_compiler
@pytest.mark.timeout(120)
def test_no_octets_make_the_parser_read_or_write_where_it_may_not(
    tmp_path: Path,
) -> None:
    program = tmp_path / "fuzz_parse"
    parsers = [ROOT / "nflog_ffi" / "parse.c", ROOT / "pcap_ffi" / "records.c"]
    run(
        [
            *("gcc", *STRICT, *SANITIZED, "-o", str(program)),
            *map(str, (DRIVER, *parsers)),
            *("-lnetfilter_log", "-lmnl"),
        ]
    )
    files = [tmp_path / name for name in DATAGRAMS]
    for file in files:
        file.write_bytes(DATAGRAMS[file.name])
    done = run([str(program), str(MUTATIONS), *map(str, files)])
    assert done.stdout == f"{len(files)} datagrams\n"


@needs_compiler
def test_the_numbers_of_crafted_datagrams_are_the_kernel_headers() -> None:
    numbers = [*Message, *Nfnetlink, *Attribute]
    asserted = "".join(
        f'_Static_assert({number.name} == {int(number)}, "{number.name}");\n'
        for number in numbers
    )
    headers = ("netlink", "netfilter/nfnetlink", "netfilter/nfnetlink_log")
    included = "".join(f"#include <linux/{header}.h>\n" for header in headers)
    run(
        ["gcc", "-fsyntax-only", "-x", "c", "-"],
        input="#include <sys/types.h>\n" + included + asserted,
    )
