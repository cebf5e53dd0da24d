"""The C of the crossings as compilers see it; sanitizers have tests/fuzz."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.nflog_ffi.datagrams import Attribute, Message, Nfnetlink, VlanAttribute

ROOT = Path(__file__).parents[2]
CROSSINGS = (
    "filter_ffi",
    "flow_ffi",
    "link_ffi",
    "linux_ffi",
    "nflog_ffi",
    "pcap_ffi",
    "replay_ffi",
)
# What cffi makes lies beside what people wrote, and its name starts with a line.
WRITTEN = [
    source
    for crossing in CROSSINGS
    for source in sorted(ROOT.glob(f"{crossing}/[!_]*.c"))
]
INCLUDES = [f"-I{ROOT / crossing}" for crossing in CROSSINGS]
STRICT = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", *INCLUDES]

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
            rf'"(?:{crossing}/)?(\w+\.c)"', (ROOT / crossing / "_build.py").read_text()
        )
    }
    assert {str(path.relative_to(ROOT)) for path in WRITTEN} == built


@needs_compiler
def test_the_numbers_of_crafted_datagrams_are_the_kernel_headers() -> None:
    numbers = [*Message, *Nfnetlink, *Attribute, *VlanAttribute]
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
