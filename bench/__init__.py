"""Measures pcap-zmq beside tcpdump and socat, on real packets in a private network."""
