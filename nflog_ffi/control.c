/* Opens, configures and closes an NFLOG socket.
 *
 * A group is bound and configured in one message, so that its first packet is already
 * numbered and batched. No PF_BIND or PF_UNBIND: they take the system's logger for a
 * whole protocol family, and NFLOG rules do not need them. */
#include "socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <libmnl/libmnl.h>
#include <libnetfilter_log/libnetfilter_log.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/sock_diag.h>

/* linktype: of the records that are read from it. NULL with errno set where the kernel
 * gives no such socket. */
struct nflog_socket *nflog_socket_open(uint32_t linktype)
{
    struct nflog_socket *sock = calloc(1, sizeof(*sock));
    struct sockaddr_nl address = {.nl_family = AF_NETLINK};
    socklen_t address_length = sizeof(address);
    int saved;

    if (sock == NULL)
        return NULL;
    sock->stashed_tail = &sock->stashed;
    sock->parser.linktype = linktype;
    sock->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
                      NETLINK_NETFILTER);
    if (sock->fd < 0)
        goto failed;
    if (bind(sock->fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        getsockname(sock->fd, (struct sockaddr *)&address, &address_length) < 0)
        goto failed;
    sock->portid = address.nl_pid;
    return sock;

failed:
    saved = errno;
    nflog_socket_close(sock);
    errno = saved;
    return NULL;
}

/* Closing is enough for the kernel to give up every group of this socket. */
void nflog_socket_close(struct nflog_socket *sock)
{
    if (sock == NULL)
        return;
    while (sock->stashed != NULL) {
        struct nflog_stashed *next = sock->stashed->next;

        free(sock->stashed);
        sock->stashed = next;
    }
    if (sock->fd >= 0)
        close(sock->fd);
    free(sock->parser.groups);
    free(sock);
}

int nflog_socket_fd(const struct nflog_socket *sock)
{
    return sock->fd;
}

/* The number by which /proc/net/netfilter/nfnetlink_log names a group's owner. */
uint32_t nflog_socket_portid(const struct nflog_socket *sock)
{
    return sock->portid;
}

/* Valid as long as the socket is open; the next read changes it. */
const struct nflog_counts *nflog_socket_counts(const struct nflog_socket *sock)
{
    return &sock->parser.counts;
}

/* Datagrams that the kernel had no room for since the socket was opened: the Drops
 * column of /proc/net/netlink. -1 on kernels before 4.12. */
int64_t nflog_socket_drops(const struct nflog_socket *sock)
{
    uint32_t meminfo[SK_MEMINFO_VARS] = {0};
    socklen_t length = sizeof(meminfo);

    if (getsockopt(sock->fd, SOL_SOCKET, SO_MEMINFO, meminfo, &length) < 0 ||
        length <= SK_MEMINFO_DROPS * sizeof(meminfo[0]))
        return -1;
    return meminfo[SK_MEMINFO_DROPS];
}

/* Of these, the ones whose packets a gap has already told. */
int64_t nflog_socket_drops_revealed(const struct nflog_socket *sock)
{
    return sock->drops_revealed;
}

/* Sets the socket's receive buffer and returns what it is now, or a negative errno.
 * *forced says whether net.core.rmem_max could be passed over, which takes
 * CAP_NET_ADMIN in the first user namespace. */
int nflog_socket_rcvbuf(struct nflog_socket *sock, int wanted, int *forced)
{
    socklen_t length = sizeof(int);
    int doubled;

    *forced = setsockopt(sock->fd, SOL_SOCKET, SO_RCVBUFFORCE, &wanted,
                         sizeof(wanted)) == 0;
    if (!*forced &&
        setsockopt(sock->fd, SOL_SOCKET, SO_RCVBUF, &wanted, sizeof(wanted)) < 0)
        return -errno;
    if (getsockopt(sock->fd, SOL_SOCKET, SO_RCVBUF, &doubled, &length) < 0)
        return -errno;
    /* The kernel doubles what it is given, for its own bookkeeping: socket(7). */
    return doubled / 2;
}

/* Packets may arrive before the acknowledgement does; they are kept, not lost. */
static int stash(struct nflog_socket *sock, size_t length)
{
    struct nflog_stashed *stashed = malloc(sizeof(*stashed) + length);

    if (stashed == NULL)
        return -ENOMEM;
    stashed->next = NULL;
    stashed->length = length;
    stashed->read_at_ns = sock->read_at_ns;
    memcpy(stashed->datagram, sock->datagram, length);
    *sock->stashed_tail = stashed;
    sock->stashed_tail = &stashed->next;
    return 0;
}

/* Sends a request and returns 0 or the kernel's answer as a negative errno. The
 * kernel works on the request within sendto(), so its answer is already queued. */
static int request(struct nflog_socket *sock, struct nlmsghdr *message)
{
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};

    message->nlmsg_flags |= NLM_F_ACK;
    message->nlmsg_seq = ++sock->next_request;
    if (sendto(sock->fd, message, message->nlmsg_len, 0,
               (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
        return -errno;
    for (;;) {
        const struct nlmsghdr *answer = (const void *)sock->datagram;
        int64_t length = nflog_receive(sock, sock->datagram);
        int status;

        if (length == -ENOBUFS)
            continue;
        if (length < 0)
            return (int)length;
        if (length >= (int64_t)(MNL_NLMSG_HDRLEN + sizeof(struct nlmsgerr)) &&
            answer->nlmsg_type == NLMSG_ERROR &&
            answer->nlmsg_seq == message->nlmsg_seq) {
            const struct nlmsgerr *error = mnl_nlmsg_get_payload(answer);

            return error->error;
        }
        status = stash(sock, (size_t)length);
        if (status < 0)
            return status;
    }
}

static int add_group(struct nflog_parser *parser, uint16_t id)
{
    struct nflog_group *groups =
        realloc(parser->groups, (parser->groups_count + 1) * sizeof(*groups));
    size_t at = parser->groups_count;

    if (groups == NULL)
        return -ENOMEM;
    parser->groups = groups;
    while (at > 0 && groups[at - 1].id > id) {
        groups[at] = groups[at - 1];
        at--;
    }
    groups[at] = (struct nflog_group){.id = id};
    parser->groups_count++;
    return 0;
}

/* Takes a group and configures it. Returns 0 or a negative errno; -EPERM means either
 * that CAP_NET_ADMIN is missing or that another socket holds the group. */
int nflog_socket_bind(struct nflog_socket *sock, uint16_t group,
                      const struct nflog_options *options)
{
    char buffer[512];
    struct nlmsghdr *message =
        nflog_nlmsg_put_header(buffer, NFULNL_MSG_CONFIG, AF_UNSPEC, group);
    int status = add_group(&sock->parser, group);

    if (status < 0)
        return status;
    nflog_attr_put_cfg_cmd(message, NFULNL_CFG_CMD_BIND);
    nflog_attr_put_cfg_mode(message, NFULNL_COPY_PACKET, options->snaplen);
    mnl_attr_put_u32(message, NFULA_CFG_NLBUFSIZ, htonl(options->nlbufsiz));
    mnl_attr_put_u32(message, NFULA_CFG_QTHRESH, htonl(options->qthreshold));
    mnl_attr_put_u32(message, NFULA_CFG_TIMEOUT, htonl(options->qtimeout_cs));
    mnl_attr_put_u16(message, NFULA_CFG_FLAGS, htons(NFULNL_CFG_F_SEQ));
    return request(sock, message);
}

/* Gives a group back; the kernel sends what it still holds of it first. */
int nflog_socket_unbind(struct nflog_socket *sock, uint16_t group)
{
    int status;

    /* Under overload the answer itself may find no room. Emptying the socket for it made
     * some, and a group that is gone already answers ENODEV. */
    for (int tries = 0;; tries++) {
        char buffer[128];
        struct nlmsghdr *message =
            nflog_nlmsg_put_header(buffer, NFULNL_MSG_CONFIG, AF_UNSPEC, group);

        nflog_attr_put_cfg_cmd(message, NFULNL_CFG_CMD_UNBIND);
        status = request(sock, message);
        if (status != -EAGAIN || tries == 3)
            break;
    }
    return status == -ENODEV ? 0 : status;
}
