"""Hands the CFFI builders to setuptools."""

import os

from setuptools import setup

# A host without libnetfilter_log can still receive: the NFLOG crossing is left out
# when asked for with PCAP_ZMQ_NFLOG=0, never guessed.
crossings = [
    "pcap_ffi/_build.py:ffi",
    "linux_ffi/_build.py:ffi",
    "link_ffi/_build.py:ffi",
    "flow_ffi/_build.py:ffi",
    "filter_ffi/_build.py:ffi",
    "replay_ffi/_build.py:ffi",
]
if os.environ.get("PCAP_ZMQ_NFLOG", "1") != "0":
    crossings.append("nflog_ffi/_build.py:ffi")

setup(cffi_modules=crossings)
