"""Every target holds what it states over all of its seeds, and, in C, over octets near
them; without a fuzzer, with any compiler."""

import ast
import shutil
import subprocess
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz import catalogue, crafted, replay

# About 2 s for each target on one busy core, sanitizers included.
MUTATIONS = 400
SEEDS_BYTES_MAX = 1 << 20

TARGETS = [*catalogue.NATIVE, *catalogue.PYTHON]
SEEDS = [
    pytest.param(name, seed, id=f"{name}/{seed.name}")
    for name in catalogue.PYTHON
    for seed in catalogue.seeds_of(name)
]

needs_compiler = pytest.mark.skipif(
    shutil.which("gcc") is None, reason="gcc is not installed"
)


@pytest.fixture(autouse=True)
def untraced() -> Iterator[None]:
    """Targets may trace memory, which others shall not pay for."""
    yield
    tracemalloc.stop()


@pytest.mark.parametrize(("name", "seed"), SEEDS)
def test_a_seed_is_taken_as_the_target_states(name: str, seed: Path) -> None:
    catalogue.check_of(name)(seed.read_bytes())


@needs_compiler
@pytest.mark.parametrize("name", catalogue.NATIVE)
def test_no_octets_make_c_read_or_write_where_it_may_not(
    name: str, tmp_path: Path
) -> None:
    program = tmp_path / name
    replay.build(name, program)
    inputs = catalogue.seeds_of(name)
    for long_name, octets in crafted.LONG.get(name, {}).items():
        inputs.append(tmp_path / f"{long_name}.long")
        inputs[-1].write_bytes(octets)
    done = subprocess.run(
        [str(program), str(MUTATIONS), *map(str, inputs)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    assert done.stdout == f"{len(inputs)} inputs\n"


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_begins_with_its_invariant(name: str) -> None:
    if name in catalogue.NATIVE:
        text = (catalogue.HERE / "native" / f"{name}.c").read_text()
        assert text.startswith("/* Invariant: ")
    else:
        text = (catalogue.HERE / "targets" / f"{name}.py").read_text()
        assert (ast.get_docstring(ast.parse(text)) or "").startswith("Invariant: ")


@pytest.mark.parametrize("name", TARGETS)
def test_every_crafted_seed_is_kept(name: str) -> None:
    """Their names: what a compressor makes of them is another library's affair."""
    kept = {seed.name for seed in catalogue.seeds_of(name)}
    crafted_here = {name for name, _ in crafted.CRAFTED[name]()}
    assert set(filter(crafted.is_crafted, kept)) == crafted_here


def test_the_seeds_are_few_and_small() -> None:
    sizes = [
        seed.stat().st_size for name in TARGETS for seed in catalogue.seeds_of(name)
    ]
    assert max(sizes) <= catalogue.SEED_MAX
    assert sum(sizes) <= SEEDS_BYTES_MAX


def test_every_target_is_told_of() -> None:
    told = (catalogue.HERE / "README.md").read_text()
    assert [name for name in TARGETS if f"| `{name}` |" not in told] == []


def test_every_folder_of_seeds_has_a_target() -> None:
    assert {path.name for path in catalogue.SEEDS.iterdir()} == set(TARGETS)


def test_every_file_in_c_is_a_target_or_what_they_share() -> None:
    files = {path.name for path in (catalogue.HERE / "native").iterdir()}
    assert files == {"harness.h", "replay.c", *(f"{n}.c" for n in catalogue.NATIVE)}
