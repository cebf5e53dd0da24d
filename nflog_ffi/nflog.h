/* The shapes that control.c, read.c and parse.c share. */
#ifndef NFLOG_FFI_NFLOG_H
#define NFLOG_FFI_NFLOG_H

#include <stddef.h>
#include <stdint.h>

/* A packet record is a 16-octet header and the packet: pcap-savefile(5). */
#define NFLOG_RECORD_HEADER 16

/* The payload attribute's length has 16 bits, 4 of its octets are its own header:
 * NFULNL_COPY_RANGE_MAX in net/netfilter/nfnetlink_log.c. */
#define NFLOG_SNAPLEN_MAX (0xFFFF - 4)

/* What the kernel may say of a packet, its own headers included; it says less than 400
 * octets. */
#define NFLOG_METADATA_MAX 4096

/* The least room in which every packet fits, as whatever link type: with all that is
 * said of it, and padded to a multiple of four octets. */
#define NFLOG_CAPACITY_MIN                                                             \
    (NFLOG_RECORD_HEADER + NFLOG_METADATA_MAX + NFLOG_SNAPLEN_MAX + 1)

/* The kernel's bounds for nlbufsiz. Outside of them it acknowledges and ignores
 * (nfulnl_set_nlbufsiz). Its lower bound is a page less overhead, at most 8 KiB. */
#define NFLOG_NLBUFSIZ_MIN 8192
#define NFLOG_NLBUFSIZ_MAX 131072

/* Holds the largest datagram. The kernel rounds nlbufsiz and its own overhead up to the
 * next power of two and fills all of it: 131072 gives datagrams of up to 256 KiB. */
#define NFLOG_DATAGRAM_MAX (2 * NFLOG_NLBUFSIZ_MAX + 65536)

/* All cumulative since the socket was opened. */
struct nflog_counts {
    uint64_t received;          /* packets in well-formed messages, of any kind */
    uint64_t missed;            /* packets that gaps in the sequence stand for */
    uint64_t not_ip;            /* received, but nothing that has a record */
    uint64_t stamped_by_kernel; /* records whose time the kernel gave */
    uint64_t stamped_here;      /* records whose time is when they were read */
    uint64_t gaps;              /* times that missed grew */
    uint64_t malformed;         /* messages that no format explains */
    uint64_t datagrams;         /* read from the socket */
    uint64_t truncated;         /* of these, cut short by the kernel (MSG_TRUNC) */
    uint64_t overruns;          /* times the kernel said ENOBUFS */
};

struct nflog_group {
    uint16_t id;
    uint32_t next_seq; /* the kernel counts from 0 when it is asked to count */
};

struct nflog_parser {
    struct nflog_counts counts;
    struct nflog_group *groups; /* sorted by id; owned by whoever made the parser */
    size_t groups_count;
    uint32_t linktype; /* of the records: as in pcap_ffi/tlv.h; any other is raw */
};

struct nflog_options {
    uint32_t nlbufsiz;    /* octets */
    uint32_t qthreshold;  /* packets */
    uint32_t qtimeout_cs; /* hundredths of a second */
    uint32_t snaplen;     /* octets */
};

struct nflog_socket;

/* parse.c */
size_t nflog_parse(struct nflog_parser *parser, const uint8_t *datagram,
                   size_t length, uint64_t now_ns, uint8_t *out, size_t capacity,
                   size_t *used);

/* control.c */
struct nflog_socket *nflog_socket_open(uint32_t linktype);
void nflog_socket_close(struct nflog_socket *sock);
int nflog_socket_fd(const struct nflog_socket *sock);
uint32_t nflog_socket_portid(const struct nflog_socket *sock);
int nflog_socket_rcvbuf(struct nflog_socket *sock, int wanted, int *forced);
int nflog_socket_bind(struct nflog_socket *sock, uint16_t group,
                      const struct nflog_options *options);
int nflog_socket_unbind(struct nflog_socket *sock, uint16_t group);
const struct nflog_counts *nflog_socket_counts(const struct nflog_socket *sock);
int64_t nflog_socket_drops(const struct nflog_socket *sock);
int64_t nflog_socket_drops_revealed(const struct nflog_socket *sock);

/* read.c */
int nflog_socket_read(struct nflog_socket *sock, uint8_t *out, size_t capacity,
                      size_t *used, int64_t deadline_ns);

#endif
