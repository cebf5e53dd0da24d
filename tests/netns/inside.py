"""Runs a whole test inside a private network, as root of it.

A process cannot go into a namespace and come back with all rights, so a test with the
marker `inside` is run by a second pytest that lives there. What it says when it fails
is what the failure here shows. A pytest takes a second to start: tests of a file that
leave nothing behind may share one (`inside(together=True)`).
"""

import os
import re
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest

from testbed.namespaces import Network, why_unavailable

ROOT = Path(__file__).parents[2]
HERE = "TEST_IS_INSIDE"
TIMEOUT_S = 90


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "inside(together): runs in a private network; with a parameter user_namespace, "
        "of a user namespace too; together: with the others of its file",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    marker = pyfuncitem.get_closest_marker("inside")
    if marker is None or HERE in os.environ:
        return None
    reason = why_unavailable()
    if reason is not None:
        pytest.skip(reason)
    spec = getattr(pyfuncitem, "callspec", None)
    user_namespace = spec.params.get("user_namespace") if spec else None
    path = str(pyfuncitem.path)
    name = "::".join(pyfuncitem.nodeid.split("::")[1:])
    if marker.kwargs.get("together") and user_namespace is None:
        done = _run_all(path)
        # What is not among those that failed has passed, or was skipped.
        failed = re.findall(
            r"^(?:FAILED|ERROR) \S+?::(.+?)(?: - .*)?$", done.stdout, re.M
        )
        is_passed = done.returncode == 0 or (
            done.returncode == pytest.ExitCode.TESTS_FAILED and name not in failed
        )
    else:
        done = _run(f"{path}::{name}", user_namespace)
        is_passed = done.returncode == 0
    if not is_passed:
        pytest.fail(f"inside:\n{done.stdout}\n{done.stderr}", pytrace=False)
    return True


@cache
def _run_all(path: str) -> subprocess.CompletedProcess[str]:
    return _run(path, None)


def _run(name: str, user_namespace: bool | None) -> subprocess.CompletedProcess[str]:
    with Network(user_namespace) as network, tempfile.TemporaryDirectory() as place:
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTEST_", "COV_"))
        }
        argv = (
            f"{sys.executable} -m pytest -q -rA --no-header --tb=short"
            " -p no:cacheprovider -p no:unraisableexception"
        )
        return network.add("inside").run(
            [*argv.split(), f"--rootdir={ROOT}", "-c", f"{ROOT}/pyproject.toml", name],
            check=False,
            timeout_s=TIMEOUT_S,
            env={
                **environment,
                HERE: "1",
                "PYTHONPATH": str(ROOT),
                # Of its own: others clean up theirs at the same time.
                "PYTEST_DEBUG_TEMPROOT": place,
            },
        )
