/* What the kernel counts of TCP connections.
 *
 * Source: tcp(7), linux/tcp.h. */
#include "linux.h"

#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/tcp.h>
#include <netinet/in.h>

/* Octets received on each of `count` connections; 0 where there is nothing like it. */
void linux_octets_received(const int *fds, uint64_t *octets, size_t count)
{
    for (size_t at = 0; at < count; at++) {
        struct tcp_info info;
        socklen_t length = sizeof(info);

        memset(&info, 0, sizeof(info));
        octets[at] = getsockopt(fds[at], IPPROTO_TCP, TCP_INFO, &info, &length) == 0
                         ? info.tcpi_bytes_received
                         : 0;
    }
}
