"""Who may import whom: the rules of docs/architecture.md, executed."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = (
    "filter_ffi",
    "flow_ffi",
    "link_ffi",
    "linux_ffi",
    "nflog_ffi",
    "pcap_ffi",
    "pcap_zmq",
    "replay_ffi",
)
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): ast.parse(path.read_text())
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}

# What only some modules may import. A name ending in a dot stands for all below it.
ONLY_IN = {
    "click": ("pcap_zmq.cli.",),
    "zmq": (
        "pcap_zmq.doctor.look.host",
        "pcap_zmq.poll",
        "pcap_zmq.sockets",
        "pcap_zmq.sinks.link",
        "pcap_zmq.sources.link",
        "pcap_zmq.sources.door",
        "pcap_zmq.sources.gate",
        # Makes and checks keys.
        "pcap_zmq.keys",
        "pcap_zmq.tools.",
        # Receives from a socket that is given to it, and makes none.
        "link_ffi.intake",
    ),
    # Lanes and shares are values; what takes messages is an edge.
    "link_ffi": (
        "pcap_zmq.formats.receiver_link",
        "pcap_zmq.formats.stream",
        "pcap_zmq.sources.door",
        "pcap_zmq.sources.link",
        "link_ffi.",
    ),
    "link_ffi.Intake": ("pcap_zmq.sources.link", "link_ffi."),
    "link_ffi.TakenMessage": (
        "pcap_zmq.sources.door",
        "pcap_zmq.sources.link",
        "link_ffi.",
    ),
    "link_ffi._link": ("link_ffi.",),
    "filter_ffi._filter": ("filter_ffi.",),
    "flow_ffi._flow": ("flow_ffi.",),
    "replay_ffi._replay": ("replay_ffi.",),
    "nflog_ffi.socket": ("pcap_zmq.sources.nflog", "nflog_ffi."),
    "nflog_ffi.errors": ("pcap_zmq.sources.nflog", "nflog_ffi."),
    "nflog_ffi.limits": (
        "pcap_zmq.options",
        "pcap_zmq.tools.send_config",
        "nflog_ffi.",
    ),
    "nflog_ffi._nflog": ("nflog_ffi.",),
    "pcap_ffi._pcap": ("pcap_ffi.",),
    "linux_ffi": (
        # What the kernel says of all connections at once.
        "pcap_zmq.connections",
        "pcap_zmq.privileges",
        "pcap_zmq.sockets",
        # Starts a program that ends with us.
        "pcap_zmq.sinks.process",
        # Gives a file its name and overwrites none.
        "pcap_zmq.disk.leftover",
        "pcap_zmq.sinks.capture_parts",
        # Octets into a pipe, and how many, whatever happens.
        "pcap_zmq.disk.moving",
        "linux_ffi.",
    ),
    # The crossings stand on their own: nflog_ffi has no clock to be told by.
    "time": ("pcap_zmq.clock", "nflog_ffi.socket"),
    "datetime": ("pcap_zmq.clock", "pcap_zmq.tools.map_plot"),
    "isal": (
        "pcap_zmq.formats.file_frames",
        "pcap_zmq.formats.codec",
        "pcap_zmq.formats.compressed",
        "pcap_zmq.formats.spool",
    ),
    "zlib": (),
    "zstandard": (),
    "lz4": (),
    "prometheus_client": ("pcap_zmq.metrics.prometheus",),
    "datadog": ("pcap_zmq.metrics.statsd",),
    "redis": ("pcap_zmq.agenda.redis_server",),
    "http": (),
    "socketserver": ("pcap_zmq.metrics.server",),
    "wsgiref": ("pcap_zmq.metrics.server",),
    "threading": (
        "pcap_zmq.metrics.question",
        "pcap_zmq.metrics.server",
        # Redis' client waits for the network.
        "pcap_zmq.agenda.redis_clerk",
        "pcap_zmq.sources.read_ahead",
    ),
    "queue": ("pcap_zmq.sources.read_ahead", "pcap_zmq.agenda.redis_clerk"),
    # Only to list what other programs know; nothing else starts one.
    "subprocess": ("pcap_zmq.doctor.look.programs",),
    # To find the functions of the libzmq that pyzmq has loaded.
    "ctypes": ("pcap_zmq.doctor.look.host", "link_ffi.intake"),
    "multiprocessing": ("pcap_zmq.tools.workers",),
    "asyncio": (),
    "random": (),
    "pickle": (),
    "socket": (
        "pcap_zmq.connections",
        # Who tells a running tool what to do, and asks it.
        "pcap_zmq.control_socket",
        "pcap_zmq.tools.queue",
        "pcap_zmq.sinks.broadcast",
        "pcap_zmq.sinks.clients",
        "pcap_zmq.sinks.listening",
        "pcap_zmq.doctor.look.network",
        "pcap_zmq.ends",
        "pcap_zmq.metrics.exporters",
        "pcap_zmq.metrics.server",
        "pcap_zmq.metrics.statsd",
        "pcap_zmq.supervisor",
        "pcap_zmq.tools.keygen",
        "pcap_zmq.tools.relay_config",
        "pcap_zmq.tools.send_config",
        "pcap_zmq.tools.way_out",
    ),
    "pwd": ("pcap_zmq.doctor.look.rights", "pcap_zmq.privileges"),
    # Whatever it loads by name is not seen here: so only these two.
    "importlib": ("pcap_zmq.formats.codec", "pcap_zmq.__init__"),
    "cffi": (
        "filter_ffi._build",
        "flow_ffi._build",
        "link_ffi._build",
        "linux_ffi._build",
        "nflog_ffi._build",
        "pcap_ffi._build",
        "replay_ffi._build",
    ),
}

# Layers of pcap_zmq, and what of pcap_zmq each may import.
VALUES = ("pcap_zmq.packet", "pcap_zmq.counters", "pcap_zmq.errors")
EDGE = ("pcap_zmq.policy.", "pcap_zmq.formats.", "pcap_zmq.clock", "pcap_zmq.poll")
LAYERS = {
    "pcap_zmq.errors": (),
    "pcap_zmq.packet": (),
    "pcap_zmq.counters": (),
    "pcap_zmq.units": (),
    "pcap_zmq.clock": (*VALUES, "pcap_zmq.units"),
    "pcap_zmq.poll": VALUES,
    "pcap_zmq.ports": (*VALUES, "pcap_zmq.poll"),
    "pcap_zmq.pipeline": (*VALUES, "pcap_zmq.ports", "pcap_zmq.poll", "pcap_zmq.clock"),
    "pcap_zmq.sockets": (*VALUES, "pcap_zmq.units", "pcap_zmq.formats."),
    "pcap_zmq.privileges": VALUES,
    "pcap_zmq.keys": (*VALUES, "pcap_zmq.formats."),
    "pcap_zmq.allowed": (
        *VALUES,
        "pcap_zmq.clock",
        "pcap_zmq.formats.",
        "pcap_zmq.keys",
    ),
    "pcap_zmq.connections": (*VALUES, "pcap_zmq.clock", "pcap_zmq.formats."),
    "pcap_zmq.supervisor": (*VALUES, "pcap_zmq.clock", "pcap_zmq.poll"),
    "pcap_zmq.telemetry": (
        *VALUES,
        "pcap_zmq.clock",
        "pcap_zmq.formats",
        "pcap_zmq.poll",
    ),
    "pcap_zmq.answers": (
        *VALUES,
        "pcap_zmq.clock",
        "pcap_zmq.formats.",
        # What it may be asked for.
        "pcap_zmq.stages.ring",
        "pcap_zmq.__version__",
    ),
    "pcap_zmq.options": (*VALUES, "pcap_zmq.units"),
    "pcap_zmq.ends": (*VALUES, "pcap_zmq.formats."),
    "pcap_zmq.doctor.__init__": (),
    "pcap_zmq.doctor.finding": (),
    "pcap_zmq.doctor.judge.": (
        "pcap_zmq.doctor.finding",
        "pcap_zmq.doctor.judge.",
        "pcap_zmq.formats.",
        "pcap_zmq.units",
    ),
    "pcap_zmq.doctor.look.": (
        "pcap_zmq.doctor.judge.",
        "pcap_zmq.doctor.look.",
        "pcap_zmq.formats.",
        "pcap_zmq.errors",
        "pcap_zmq.__version__",
    ),
    "pcap_zmq.limiter": (*VALUES, "pcap_zmq.clock"),
    "pcap_zmq.logs": (
        *VALUES,
        "pcap_zmq.clock",
        "pcap_zmq.limiter",
        "pcap_zmq.poll",
    ),
    "pcap_zmq.formats.": (*VALUES, "pcap_zmq.formats.", "pcap_zmq.units"),
    "pcap_zmq.policy.": (*VALUES, "pcap_zmq.units", "pcap_zmq.policy."),
    "pcap_zmq.metrics.": (
        *VALUES,
        "pcap_zmq.metrics.",
        "pcap_zmq.formats.ledger",
        "pcap_zmq.formats.output_line",
        "pcap_zmq.clock",
        "pcap_zmq.poll",
        "pcap_zmq.ports",
        "pcap_zmq.__version__",
    ),
    "pcap_zmq.stages.": (
        *VALUES,
        "pcap_zmq.units",
        "pcap_zmq.policy.",
        "pcap_zmq.formats.",
        "pcap_zmq.ports",
    ),
    "pcap_zmq.captures.": (
        *VALUES,
        "pcap_zmq.policy.",
        "pcap_zmq.formats.",
        "pcap_zmq.clock",
        "pcap_zmq.units",
        "pcap_zmq.captures.",
    ),
    "pcap_zmq.agenda.": (
        *VALUES,
        "pcap_zmq.formats.",
        "pcap_zmq.clock",
        "pcap_zmq.poll",
        "pcap_zmq.units",
        # What it remembers over a restart.
        "pcap_zmq.disk.checkpoint",
        "pcap_zmq.agenda.",
    ),
    "pcap_zmq.sources.": (
        *VALUES,
        *EDGE,
        "pcap_zmq.captures.",
        # Of any source that it holds back until it is due.
        "pcap_zmq.ports",
        "pcap_zmq.sockets",
        # The link has a door, and the door knows who is there.
        "pcap_zmq.sources.door",
        "pcap_zmq.sources.gate",
        # What a source of files stands on.
        "pcap_zmq.sources.files",
        "pcap_zmq.sources.read_ahead",
        # What a dispatcher is made of, asks, and remembers.
        "pcap_zmq.agenda.",
        "pcap_zmq.disk.checkpoint",
        "pcap_zmq.sources.asking",
        "pcap_zmq.sources.playing",
        "pcap_zmq.sources.plays",
        "pcap_zmq.allowed",
        "pcap_zmq.connections",
        "pcap_zmq.units",
    ),
    "pcap_zmq.disk.": (
        *VALUES,
        "pcap_zmq.formats.",
        "pcap_zmq.disk.",
        "pcap_zmq.units",
    ),
    "pcap_zmq.control_socket": (*VALUES, "pcap_zmq.clock", "pcap_zmq.poll"),
    "pcap_zmq.sinks.": (
        *VALUES,
        *EDGE,
        # A sender may listen, too.
        "pcap_zmq.connections",
        "pcap_zmq.disk.",
        "pcap_zmq.ends",
        "pcap_zmq.sockets",
        # What pipes have in common, whoever reads them.
        "pcap_zmq.sinks.pipe",
        "pcap_zmq.sinks.process",
        # An interface is opened, and its troubles told, elsewhere.
        "pcap_zmq.sinks.device",
        "pcap_zmq.sinks.device_state",
        # What a live stream is made of.
        "pcap_zmq.sinks.clients",
        "pcap_zmq.sinks.listening",
        # An output is one of several.
        "pcap_zmq.sinks.branch",
        # So is a receiver.
        "pcap_zmq.sinks.link",
        "pcap_zmq.sinks.ways",
    ),
    "pcap_zmq.tools.": ("pcap_zmq.",),
    # The command line knows the tools and their options, not what they are made of;
    # names and units are the exception.
    "pcap_zmq.cli.": (
        "pcap_zmq.cli.",
        "pcap_zmq.tools.",
        "pcap_zmq.options",
        "pcap_zmq.errors",
        "pcap_zmq.clock",
        "pcap_zmq.poll",
        "pcap_zmq.supervisor",
        "pcap_zmq.doctor.finding",
        "pcap_zmq.metrics.exporters",
        "pcap_zmq.formats.capture_index",
        "pcap_zmq.formats.clock_offset",
        "pcap_zmq.formats.control",
        "pcap_zmq.formats.excerpt",
        "pcap_zmq.formats.gophercap",
        "pcap_zmq.formats.inquiry",
        "pcap_zmq.formats.linktype",
        "pcap_zmq.formats.codec",
        # What --shed may say.
        "pcap_zmq.policy.shed",
        "pcap_zmq.formats.ledger",
        "pcap_zmq.formats.output_line",
        "pcap_zmq.formats.quantity",
        "pcap_zmq.formats.settings",
        "pcap_zmq.logs",
        "pcap_zmq.units",
        "pcap_zmq.__version__",
    ),
}

WORLD = ("os", "io", "socket", "select", "fcntl", "signal", "sys", "logging", "pathlib")
"""What touches the world, or speaks to it."""

PURE = ("pcap_zmq.formats.", "pcap_zmq.policy.", "pcap_zmq.doctor.judge.")
HANDS_OFF = (
    "pcap_zmq.packet",
    "pcap_zmq.counters",
    "pcap_zmq.errors",
    "pcap_zmq.metrics.address",
    "pcap_zmq.metrics.family",
    "pcap_zmq.metrics.latency",
    "pcap_zmq.metrics.receiver",
    "pcap_zmq.metrics.sender",
    "pcap_zmq.metrics.statsd_lines",
    *PURE,
)


def is_in(module: str, places: tuple[str, ...]) -> bool:
    """Whether a module is one of these, or below one that ends in a dot."""
    return any(
        module == place.removesuffix(".")
        or (place.endswith(".") and module.startswith(place))
        for place in places
    )


def imports(tree: ast.Module, *, at_run_time: bool = False) -> Iterator[str]:
    """Every name that is imported, anywhere, in full. At run time: not what only the
    type checker sees."""
    skipped = {
        node
        for block in ast.walk(tree)
        if at_run_time
        and isinstance(block, ast.If)
        and ast.unparse(block.test) == "TYPE_CHECKING"
        for statement in block.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # ruff's TID forbids relative imports, so there is always a module.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def at_top(tree: ast.Module) -> ast.Module:
    """Only what runs when the module is imported, outside of functions."""
    body = [s for s in tree.body if isinstance(s, ast.Import | ast.ImportFrom)]
    return ast.Module(body=list[ast.stmt](body), type_ignores=[])


def names(module: str, owner: str) -> bool:
    """Whether an imported name is this module or something of it."""
    return module == owner or module.startswith(f"{owner}.")


def test_there_are_modules_to_judge() -> None:
    assert len(MODULES) > 30


@pytest.mark.parametrize("module", MODULES)
def test_a_module_begins_by_saying_what_it_is_for(module: str) -> None:
    first = MODULES[module].body[0]
    assert isinstance(first, ast.Expr)
    assert isinstance(first.value, ast.Constant)
    assert isinstance(first.value.value, str)
    assert first.lineno == 1


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_its_place_allows(module: str) -> None:
    strays = [
        f"{module} imports {imported}"
        for imported in imports(MODULES[module])
        for owner, places in ONLY_IN.items()
        if names(imported, owner) and not is_in(module, places)
    ]
    assert strays == []


@pytest.mark.parametrize(
    "module", [name for name in MODULES if name.startswith("pcap_zmq.")]
)
def test_a_module_of_ours_imports_only_what_lies_below_it(module: str) -> None:
    if is_in(module, ("pcap_zmq.__init__", "pcap_zmq.__main__")):
        return
    (allowed,) = [below for layer, below in LAYERS.items() if is_in(module, (layer,))]
    strays = [
        f"{module} imports {imported}"
        for imported in imports(MODULES[module])
        if names(imported, "pcap_zmq")
        and not any(names(imported, place.removesuffix(".")) for place in allowed)
    ]
    assert strays == []


@pytest.mark.parametrize("module", [name for name in MODULES if is_in(name, HANDS_OFF)])
def test_a_pure_module_touches_nothing(module: str) -> None:
    strays = [
        f"{module} imports {imported}"
        for imported in imports(MODULES[module])
        if any(names(imported, owner) for owner in WORLD)
    ]
    assert strays == []


@pytest.mark.parametrize(
    "module", [name for name in MODULES if is_in(name, ("pcap_zmq.stages.",))]
)
def test_a_stage_may_log_and_touches_nothing_else(module: str) -> None:
    strays = [
        f"{module} imports {imported}"
        for imported in imports(MODULES[module])
        if any(names(imported, owner) for owner in WORLD if owner != "logging")
    ]
    assert strays == []


@pytest.mark.parametrize("crossing", [name for name in PACKAGES if "ffi" in name])
def test_a_crossing_stands_on_its_own(crossing: str) -> None:
    others = [package for package in PACKAGES if package != crossing]
    strays = [
        f"{module} imports {imported}"
        for module, tree in MODULES.items()
        if is_in(module, (f"{crossing}.",))
        for imported in imports(tree)
        if any(names(imported, other) for other in others)
    ]
    assert strays == []


@pytest.mark.parametrize("module", MODULES)
def test_a_receiver_runs_where_there_is_no_libnetfilter_log(module: str) -> None:
    """Nothing of pcap_zmq loads that library before an NFLOG source is opened."""
    if module.startswith("nflog_ffi."):
        return
    loading = {"nflog_ffi.socket", "nflog_ffi.NflogSocket", "nflog_ffi.NflogCounts"}
    found = {
        imported
        for imported in imports(at_top(MODULES[module]))
        for name in loading
        if names(imported, name)
    }
    assert found == set()


@pytest.mark.parametrize(
    "module", ["pcap_zmq.cli.send", "pcap_zmq.cli.receive", "pcap_zmq.cli.running"]
)
def test_help_does_not_wait_for_zeromq(module: str) -> None:
    loading = ("pcap_zmq.tools", "pcap_zmq.poll", "zmq")
    found = [
        imported
        for imported in imports(at_top(MODULES[module]), at_run_time=True)
        if any(names(imported, name) for name in loading)
    ]
    assert found == []


@pytest.mark.parametrize("module", MODULES)
def test_nothing_catches_every_exception(module: str) -> None:
    """But to give back what it has opened, and raise on."""
    handlers = [
        handler
        for handler in ast.walk(MODULES[module])
        if isinstance(handler, ast.ExceptHandler)
        and (handler.type is None or "Exception" in _caught(handler))
        and not any(isinstance(node, ast.Raise) for node in ast.walk(handler))
    ]
    assert [handler.lineno for handler in handlers] == []


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_imported_from_a_neighbour_by_a_relative_name(module: str) -> None:
    relative = [
        node.lineno
        for node in ast.walk(MODULES[module])
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


@pytest.mark.parametrize("module", MODULES)
def test_nothing_ends_in_a_finaliser(module: str) -> None:
    """Whoever opened something closes it."""
    finalisers = [
        node.lineno
        for node in ast.walk(MODULES[module])
        if isinstance(node, ast.FunctionDef) and node.name == "__del__"
    ]
    assert finalisers == []


def _caught(handler: ast.ExceptHandler) -> set[str]:
    return {
        node.id
        for node in ast.walk(handler.type or handler)
        if isinstance(node, ast.Name)
    } & {"Exception", "BaseException"}
