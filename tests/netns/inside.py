"""Runs a whole test inside a private network, as root of it.

A process cannot go into a namespace and come back with all rights, so a test with the
marker `inside` is run by a second pytest that lives there. What it says when it fails
is what the failure here shows.
"""

import os
import sys
import tempfile
from pathlib import Path

import pytest

from testbed.namespaces import Network, why_unavailable

ROOT = Path(__file__).parents[2]
HERE = "TEST_IS_INSIDE"
TIMEOUT_S = 90


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "inside: runs in a private network; with a parameter user_namespace, of a user "
        "namespace too",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if pyfuncitem.get_closest_marker("inside") is None or HERE in os.environ:
        return None
    reason = why_unavailable()
    if reason is not None:
        pytest.skip(reason)
    spec = getattr(pyfuncitem, "callspec", None)
    user_namespace = spec.params.get("user_namespace") if spec else None
    with Network(user_namespace) as network, tempfile.TemporaryDirectory() as place:
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTEST_", "COV_"))
        }
        argv = (
            f"{sys.executable} -m pytest -q --no-header --tb=short -p no:cacheprovider"
            " -p no:unraisableexception"
        )
        name = f"{pyfuncitem.path}::{'::'.join(pyfuncitem.nodeid.split('::')[1:])}"
        done = network.add("inside").run(
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
    if done.returncode != 0:
        pytest.fail(f"inside:\n{done.stdout}\n{done.stderr}", pytrace=False)
    return True
