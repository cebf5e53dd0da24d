/* Gives up what the calling thread, or the process, may do.
 *
 * The system calls themselves, since capset(2) has no wrapper in the C library and
 * libcap would be one more package for a dozen lines. */
#include "linux.h"

#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

/* Until the next change of the user, which sets it to fs.suid_dumpable. */
int linux_forbid_dumps(void)
{
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? -errno : 0;
}

/* PR_GET_DUMPABLE's answer: 0 where neither a dump nor tracing is possible. */
int linux_may_dump(void)
{
    int dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);

    return dumpable < 0 ? -errno : dumpable;
}

int linux_forbid_new_privileges(void)
{
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

/* Takes CAP_SETPCAP, unless the set is empty. A kernel may know more capabilities than
 * the headers: it says EINVAL for the first number that is none. */
int linux_drop_bounding_set(void)
{
    int held;

    for (int cap = 0; (held = prctl(PR_CAPBSET_READ, cap, 0, 0, 0)) >= 0; cap++)
        if (held && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
            return -errno;
    return errno == EINVAL ? 0 : -errno;
}

/* All but CAP_DAC_READ_SEARCH, where that is to be kept and is held. The ambient set goes
 * with the others: what is not permitted cannot be ambient. Where nothing changes capset
 * is not called, so that a system call filter need not let it pass. */
int linux_drop_capabilities(int keep_reading)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct held[_LINUX_CAPABILITY_U32S_3];
    struct __user_cap_data_struct kept[_LINUX_CAPABILITY_U32S_3] = {{0}};

    if (syscall(SYS_capget, &header, held) < 0)
        return -errno;
    if (keep_reading) {
        kept[0].permitted = held[0].permitted & 1u << CAP_DAC_READ_SEARCH;
        kept[0].effective = kept[0].permitted;
    }
    if (memcmp(held, kept, sizeof(held)) == 0)
        return 0;
    return syscall(SYS_capset, &header, kept) < 0 ? -errno : 0;
}

/* Where a system call filter refuses sched_setscheduler, has it succeed and change
 * nothing. ZeroMQ gives each of its threads the policy that it has already, and ends the
 * process when that is refused (thread.cpp). Of two filters that return an error, the
 * error of the later one counts: seccomp(2). Takes no_new_privs. */
int linux_keep_scheduling(void)
{
    struct sock_filter instructions[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sched_setscheduler, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {
        .len = sizeof(instructions) / sizeof(instructions[0]),
        .filter = instructions,
    };
    struct sched_param parameters;
    int policy = sched_getscheduler(0);

    if (policy < 0 || sched_getparam(0, &parameters) < 0)
        return -errno;
    if (sched_setscheduler(0, policy, &parameters) == 0)
        return 0;
    if (errno != EPERM)
        return -errno;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) < 0 ? -errno : 0;
}
