"""python -m pcap_zmq is pcap-zmq."""

from pcap_zmq.cli import main

main()
