/* Opens a network interface for sending, and says what it is and whether it is there.
 *
 * Specification: packet(7), netdevice(7). */
#include "device.h"

#include <errno.h>
#include <linux/if_arp.h>
#include <linux/if_packet.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* For interfaces that are slower than we are; the kernel may give less. */
#define SNDBUF (4 << 20)

/* Whether packets that are sent by a socket of device_open() get out: 1; 0: the interface
 * is down, or has no carrier; below: a negative errno, it is gone. */
int device_carries(int fd, int index)
{
    struct ifreq request = {.ifr_ifindex = index};

    /* By its number: it may have been given another name meanwhile. */
    if (ioctl(fd, SIOCGIFNAME, &request) < 0 || ioctl(fd, SIOCGIFFLAGS, &request) < 0)
        return -errno;
    return (request.ifr_flags & IFF_UP) && (request.ifr_flags & IFF_RUNNING);
}

static int describe(int fd, const char *name, struct device *found)
{
    struct ifreq request = {0};

    if (strlen(name) >= sizeof(request.ifr_name))
        return -ENODEV;
    strcpy(request.ifr_name, name);
    if (ioctl(fd, SIOCGIFINDEX, &request) < 0)
        return -errno;
    found->index = request.ifr_ifindex;
    if (ioctl(fd, SIOCGIFHWADDR, &request) < 0)
        return -errno;
    found->type = request.ifr_hwaddr.sa_family;
    if (ioctl(fd, SIOCGIFMTU, &request) < 0)
        return -errno;
    found->mtu = (uint32_t)request.ifr_mtu;
    if (ioctl(fd, SIOCGIFFLAGS, &request) < 0)
        return -errno;
    found->is_up = (request.ifr_flags & IFF_UP) != 0;
    return 0;
}

/* A socket that puts packets onto this interface, and what that is; or a negative errno.
 * It receives nothing. The caller owns it. Takes CAP_NET_RAW, which nothing later
 * does. */
int device_open(const char *name, struct device *found)
{
    struct sockaddr_ll address = {.sll_family = AF_PACKET};
    int sndbuf = SNDBUF, status;
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    status = describe(fd, name, found);
    address.sll_ifindex = found->index;
    if (status == 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        status = -errno;
    if (status < 0) {
        close(fd);
        return status;
    }
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof(sndbuf));
    return fd;
}

/* What an interface of this type takes, DEVICE_TAKES_*. */
int device_takes(int type)
{
    switch (type) {
    case ARPHRD_ETHER:
    case ARPHRD_LOOPBACK:
        return DEVICE_TAKES_ETHERNET;
    case ARPHRD_NONE:
    case ARPHRD_RAWIP:
        return DEVICE_TAKES_IP;
    default:
        return DEVICE_TAKES_NOTHING;
    }
}
