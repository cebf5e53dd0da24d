/* Fills the caller's buffer with packet records from the socket. */
#define _GNU_SOURCE /* ppoll */
#include "socket.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <linux/netlink.h>

/* Between looks at the clock: about 64 MiB of packets. */
#define DATAGRAMS_A_LOOK 256

static int64_t clock_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t nflog_receive(struct nflog_socket *sock, uint8_t *datagram)
{
    struct sockaddr_nl from = {0};
    struct iovec iov = {.iov_base = datagram, .iov_len = NFLOG_DATAGRAM_MAX};
    struct msghdr header = {.msg_name = &from,
                            .msg_namelen = sizeof(from),
                            .msg_iov = &iov,
                            .msg_iovlen = 1};
    ssize_t length;

    do {
        length = recvmsg(sock->fd, &header, MSG_DONTWAIT);
        /* Only the kernel's port is 0: whatever another process sends is not ours. */
    } while ((length < 0 && errno == EINTR) || (length >= 0 && from.nl_pid != 0));
    if (length < 0) {
        if (errno == ENOBUFS)
            sock->parser.counts.overruns++;
        return -errno;
    }
    sock->read_at_ns = (uint64_t)clock_ns(CLOCK_REALTIME);
    sock->parser.counts.datagrams++;
    if (header.msg_flags & MSG_TRUNC)
        sock->parser.counts.truncated++;
    return length;
}

/* Room for a datagram behind what is used, or NULL: to be made records where it lies.
 *
 * Large packets are worth it: so their records are written by the kernel's one long
 * copy, and only moved together while they are in the cache. Else the parser writes
 * them, by a short copy for each, into memory that has left the cache since. */
static uint8_t *room_for_datagram(uint8_t *out, size_t capacity, size_t used)
{
    /* Netlink's alignment. */
    size_t padding = -((uintptr_t)out + used) % NLMSG_ALIGNTO;

    if (capacity - used < padding + NFLOG_DATAGRAM_MAX)
        return NULL;
    return out + used + padding;
}

/* The first of the datagrams that were kept. Returns its length. */
static int64_t take_stashed(struct nflog_socket *sock)
{
    struct nflog_stashed *stashed = sock->stashed;
    size_t length = stashed->length;

    memcpy(sock->datagram, stashed->datagram, length);
    sock->read_at_ns = stashed->read_at_ns;
    sock->stashed = stashed->next;
    if (sock->stashed == NULL)
        sock->stashed_tail = &sock->stashed;
    free(stashed);
    return (int64_t)length;
}

/* Waits until the socket is readable. 0 when the deadline passed or a signal came. */
static int wait_readable(const struct nflog_socket *sock, int64_t deadline_ns)
{
    struct pollfd pollfd = {.fd = sock->fd, .events = POLLIN};
    int64_t left_ns = deadline_ns - clock_ns(CLOCK_MONOTONIC);
    struct timespec left;

    if (left_ns <= 0)
        return 0;
    left.tv_sec = left_ns / 1000000000;
    left.tv_nsec = left_ns % 1000000000;
    return ppoll(&pollfd, 1, &left, NULL) > 0;
}

/* Appends packet records to out[*used, capacity) until it is full or the deadline
 * passes, whichever is first; a signal ends the wait too.
 *
 * out: the caller's, at least NFLOG_CAPACITY_MIN octets.
 * deadline_ns: CLOCK_MONOTONIC; in the past (0, say) it takes what is there already.
 * Returns 1 when the buffer is full, 0 when there is nothing more now, or -errno. */
int nflog_socket_read(struct nflog_socket *sock, uint8_t *out, size_t capacity,
                      size_t *used, int64_t deadline_ns)
{
    uint8_t *datagram = sock->datagram;

    for (int datagrams = 1;; datagrams++) {
        uint64_t gaps = sock->parser.counts.gaps;
        int64_t length;

        sock->at += nflog_parse(&sock->parser, datagram + sock->at,
                                sock->length - sock->at, sock->read_at_ns, out,
                                capacity, used);
        if (sock->parser.counts.gaps > gaps)
            sock->drops_revealed = nflog_socket_drops(sock);
        /* Never where it lay in the buffer: what is there fits. */
        if (sock->at < sock->length)
            return 1;
        /* A flood of what makes no record never fills the buffer. */
        if (datagrams % DATAGRAMS_A_LOOK == 0 &&
            clock_ns(CLOCK_MONOTONIC) >= deadline_ns)
            return 0;

        sock->at = sock->length = 0;
        datagram = room_for_datagram(out, capacity, *used);
        if (datagram == NULL || sock->stashed != NULL)
            datagram = sock->datagram;
        length = sock->stashed != NULL ? take_stashed(sock)
                                       : nflog_receive(sock, datagram);
        if (length == -EAGAIN || length == -EWOULDBLOCK) {
            if (!wait_readable(sock, deadline_ns))
                return 0;
            continue;
        }
        if (length == -ENOBUFS)
            continue;
        if (length < 0)
            return (int)length;
        sock->at = 0;
        sock->length = (size_t)length;
    }
}
