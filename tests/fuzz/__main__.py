"""Fuzzes the targets, each for some minutes, and says what came of it.

Exits with 1 when anything was found. What was found, the growing corpora, the logs and
the programs are kept in build/fuzz/.
"""

import argparse
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import catalogue
from tests.fuzz.crafted import FOUND

BUILD = catalogue.ROOT / "build" / "fuzz"
NAMES = (*catalogue.NATIVE, *catalogue.PYTHON)

MEMORY_MIB = 1_024
"""A target has this much in all, sanitizers included: libFuzzer stops at more."""
TIMEOUT_S = 20
"""An input that takes longer is a finding."""
FOUND_MAX = 40
"""Most seeds of a target that a fuzzer found."""

LIMITS = (
    f"-rss_limit_mb={MEMORY_MIB}",
    f"-timeout={TIMEOUT_S}",
    f"-max_len={catalogue.SEED_MAX}",
)

_MERGED = re.compile(rb"cov: [1-9]")
_EXECUTED = re.compile(r"stat::number_of_executed_units: (\d+)")
_PROGRESS = re.compile(r"^#\d+\s.*?cov: (\d+) ft: (\d+) corp: (\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """What one target came to."""

    name: str
    status: int
    executed: int
    covered: int
    features: int
    corpus: int

    def __str__(self) -> str:
        said = "nothing found" if self.status == 0 else "FOUND something"
        return (
            f"{self.name:16} {self.executed:>12,} {self.covered:>9,} "
            f"{self.features:>9,} {self.corpus:>7,}  {said}"
        )


HEADINGS = f"{'target':16} {'executions':>12} {'coverage':>9} {'features':>9} " + (
    f"{'corpus':>7}"
)


def program_of(name: str) -> list[str]:
    """What runs a target, built where it has to be; it takes libFuzzer's arguments."""
    if name not in catalogue.NATIVE:
        return [sys.executable, "-m", "tests.fuzz.guided", name]
    program = BUILD / "bin" / name
    program.parent.mkdir(parents=True, exist_ok=True)
    sanitizers = "fuzzer,address,undefined"
    command = catalogue.compile_command(name, "clang", sanitizers)
    subprocess.run([*command, "-o", str(program)], check=True)
    return [str(program)]


def corpus_of(name: str) -> Path:
    corpus = BUILD / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    return corpus


def fuzz(name: str, minutes: float) -> Outcome:
    """Runs a target for so long, or until it finds something."""
    findings = BUILD / "findings"
    findings.mkdir(parents=True, exist_ok=True)
    log = BUILD / f"{name}.log"
    with log.open("wb") as output:
        done = subprocess.run(
            [
                *program_of(name),
                *(str(corpus_of(name)), str(catalogue.SEEDS / name)),
                *LIMITS,
                f"-max_total_time={max(1, round(minutes * 60))}",
                f"-artifact_prefix={findings}/{name}-",
                "-print_final_stats=1",
            ],
            cwd=catalogue.ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    return outcome_of(name, done.returncode, log.read_text(errors="replace"))


def outcome_of(name: str, status: int, said: str) -> Outcome:
    executed = _EXECUTED.findall(said)
    progress = _PROGRESS.findall(said)
    covered, features, corpus = map(int, progress[-1]) if progress else (0, 0, 0)
    return Outcome(
        name,
        status,
        executed=int(executed[-1]) if executed else 0,
        covered=covered,
        features=features,
        corpus=corpus,
    )


def keep(name: str) -> int:
    """Makes seeds of the fewest of the corpus that cover what all of it does, beside
    those that stay; returns how many."""
    seeds = catalogue.SEEDS / name
    stay, found = BUILD / "stay" / name, BUILD / "found" / name
    for directory in (stay, found):
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
    pool = corpus_of(name)
    for seed in catalogue.seeds_of(name):
        if seed.name.startswith(FOUND):
            seed.replace(pool / seed.name)
        else:
            shutil.copy(seed, stay)
            shutil.copy(seed, found)
    # By edges alone: how often each was passed would keep hundreds.
    merge = [*program_of(name), "-merge=1", "-use_counters=0", *LIMITS]
    merged = subprocess.run(
        [*merge, str(found), str(pool)],
        cwd=catalogue.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    ).stdout
    # It ends well even where it could not run a single input.
    if not _MERGED.search(merged):
        raise SystemExit(f"{name}: {merged[-2_000:].decode(errors='replace')}")
    new = [path for path in found.iterdir() if not (stay / path.name).exists()]
    new.sort(key=lambda path: (path.stat().st_size, path.name))
    # Of too many, short ones and long ones.
    kept = new[:: -(-len(new) // FOUND_MAX) or 1]
    for path in kept:
        shutil.copy(path, seeds / f"{FOUND}{path.name.removeprefix(FOUND)[:12]}")
    return len(kept)


def report(outcomes: list[Outcome]) -> int:
    """Says where to look; returns the exit status."""
    failed = [outcome.name for outcome in outcomes if outcome.status]
    for name in failed:
        log = BUILD / f"{name}.log"
        print(f"\n{name}: see {log}, and what it was given:")
        for path in sorted((BUILD / "findings").glob(f"{name}-*")):
            print(f"  python -m tests.fuzz.replay {name} {path}")
        print("".join(log.read_text(errors="replace").splitlines(keepends=True)[-30:]))
    return 1 if failed else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", nargs="*", help=f"of: {', '.join(NAMES)}")
    parser.add_argument("--minutes", type=float, default=1.0, help="for each target")
    parser.add_argument("--jobs", type=int, default=1, help="targets at a time")
    parser.add_argument(
        "--keep", action="store_true", help="make seeds of what was found to be covered"
    )
    arguments = parser.parse_args()
    names = arguments.target or list(NAMES)
    if strangers := set(names) - set(NAMES):
        parser.error(f"no target {', '.join(strangers)}; there are {', '.join(NAMES)}")
    if not shutil.which("clang") and any(name in catalogue.NATIVE for name in names):
        parser.error("clang is missing: sh scripts/system-packages --with clang")
    if arguments.keep:
        for name in names:
            print(f"{name}: {keep(name)} seeds beside those that stay", flush=True)
        return 0
    print(HEADINGS, flush=True)
    outcomes = list[Outcome]()
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for outcome in pool.map(lambda name: fuzz(name, arguments.minutes), names):
            outcomes.append(outcome)
            print(outcome, flush=True)
    return report(outcomes)


if __name__ == "__main__":
    sys.exit(main())
