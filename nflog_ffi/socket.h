/* What one open NFLOG socket consists of; for control.c and read.c only. */
#ifndef NFLOG_FFI_SOCKET_H
#define NFLOG_FFI_SOCKET_H

#include "nflog.h"

/* A datagram of packets that came while an acknowledgement was awaited. */
struct nflog_stashed {
    struct nflog_stashed *next;
    size_t length;
    uint64_t read_at_ns;
    uint8_t datagram[];
};

struct nflog_socket {
    int fd;
    uint32_t portid;
    uint32_t next_request;
    struct nflog_parser parser;
    int64_t drops_revealed; /* the kernel's drop count when the last gap was seen */
    struct nflog_stashed *stashed, **stashed_tail;
    /* A datagram for which the caller's buffer may lack the room; what did not fit in
     * the last buffer starts at at. */
    size_t at, length;
    uint64_t read_at_ns;
    uint8_t datagram[NFLOG_DATAGRAM_MAX];
};

/* Reads one datagram from the kernel, without waiting, into the caller's
 * NFLOG_DATAGRAM_MAX octets. Returns its length or a negative errno. */
int64_t nflog_receive(struct nflog_socket *sock, uint8_t *datagram);

#endif
