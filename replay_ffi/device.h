/* Network interfaces that packets can be sent onto. */
#ifndef REPLAY_FFI_DEVICE_H
#define REPLAY_FFI_DEVICE_H

#include <stdint.h>

/* What the kernel says of an interface. */
struct device {
    int index;
    int type; /* ARPHRD_* of linux/if_arp.h */
    uint32_t mtu;
    int is_up;
};

#define DEVICE_TAKES_NOTHING 0
#define DEVICE_TAKES_ETHERNET 1
#define DEVICE_TAKES_IP 2

int device_open(const char *name, struct device *found);
int device_takes(int type);
int device_carries(int fd, int index);

#endif
