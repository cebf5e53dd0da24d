"""What settings are called in files and variables.

Specification: docs/configuration.md.
"""

import click

PREFIX = "PCAP_ZMQ_"


def key_of(parameter: click.Parameter) -> str:
    """What a parameter is called in a file: its flag without dashes."""
    flags = [name for name in parameter.opts if name.startswith("--")]
    name = flags[0] if flags else str(parameter.name)
    return name.removeprefix("--").replace("_", "-")


def variable_of(command: str, parameter: click.Parameter) -> str:
    """The variable that sets it."""
    return PREFIX + f"{command}_{key_of(parameter)}".upper().replace("-", "_")
