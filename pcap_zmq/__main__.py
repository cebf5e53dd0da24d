"""python -m pcap_zmq is pcap-zmq."""

from pcap_zmq.cli.main import main

main()
