/* Waits until a moment, to the microsecond, or until it is told to stop.
 *
 * Theory of operation. A moment is waited for in three ways: long before it, in poll(2),
 * which a stop ends; then in clock_nanosleep(2), to the nanosecond, as far as the kernel
 * can; and for the last microseconds by looking at the clock. How many these are is
 * learned from how late the kernel wakes us. That is a processor's time given for
 * punctuality: where moments follow each other more closely it never sleeps.
 *
 * One thread waits, any may stop it.
 *
 * Specification: PR_SET_TIMERSLACK(2const), sched_setattr(2), getrusage(2). */
#define _GNU_SOURCE
#include "patience.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000LL
#define NS_PER_MS 1000000LL

/* The least that the scheduler takes. */
#define TURN_NS 100000

/* What poll(2) may leave over for the sleep that is exact. */
#define EXACT_NS NS_PER_MS

/* How late the kernel wakes us is taken to be what so many of 64 wakes do not exceed. */
#define PUNCTUAL 63
#define AHEAD_STEP_NS 64

/* After so many looks without others it may be more again; after so many more we are as
 * we were without them. */
#define QUIET 8
#define REGAINED 64

/* ahead_max_ns: how long to look at the clock before a moment, at most. 0, or -1 without
 * a descriptor. */
int patience_begin(struct patience *patience, int64_t ahead_max_ns)
{
    *patience = (struct patience){
        .stop_fd = eventfd(0, EFD_CLOEXEC),
        .ahead_ns = ahead_max_ns,
        .ahead_max_ns = ahead_max_ns,
        .limit_ns = ahead_max_ns,
    };
    return patience->stop_fd < 0 ? -1 : 0;
}

void patience_end(struct patience *patience)
{
    if (patience->stop_fd >= 0)
        close(patience->stop_fd);
    patience->stop_fd = -1;
}

/* Whoever waits, or will, no longer does. */
void patience_stop(struct patience *patience)
{
    uint64_t one = 1;

    STORE(patience->is_over, 1);
    while (write(patience->stop_fd, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

int patience_is_over(const struct patience *patience)
{
    return LOAD(patience->is_over);
}

/* As in sched_setattr(2), which the C library has no name for. */
struct turns {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

/* Asks for short turns, which the scheduler gives the sooner (EEVDF, Linux 6.12): who
 * wakes up for a packet need not wait for who works. Elsewhere it changes nothing, and
 * nothing for whom somebody gave another policy. */
static void ask_for_short_turns(void)
{
    struct turns turns = {.size = sizeof(turns)};

    if (syscall(SYS_sched_getattr, 0, &turns, sizeof(turns), 0) < 0)
        return;
    if (turns.policy != SCHED_OTHER)
        return;
    turns.runtime = TURN_NS;
    syscall(SYS_sched_setattr, 0, &turns, 0);
}

/* For the thread that is going to wait; what it cannot have it does without.
 * is_punctual: else it works all the time. */
void patience_prepare_thread(int is_punctual)
{
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    if (is_punctual)
        ask_for_short_turns();
}

/* The monotonic clock, in nanoseconds. */
int64_t clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * NS_PER_S + now.tv_nsec;
}

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    __asm__ volatile("yield");
#endif
}

/* Until there is something at fd, a stop, or the time has passed; below 0: never. */
void patience_wait(const struct patience *patience, int fd, short events,
                   int64_t for_ns)
{
    struct pollfd polled[] = {
        {.fd = patience->stop_fd, .events = POLLIN},
        {.fd = fd, .events = events},
    };
    struct timespec timeout = {for_ns / NS_PER_S, for_ns % NS_PER_S};

    ppoll(polled, 2, for_ns < 0 ? NULL : &timeout, NULL);
}

/* How late the kernel wakes us is learned, a little from each wake: the margin moves
 * up by 63 parts for a wake that was later than it, and down by one for one that was
 * not, and so stays where one of 64 is later. */
static void learn(struct patience *patience, int64_t overslept_ns)
{
    int64_t ahead_ns = patience->ahead_ns;

    ahead_ns += overslept_ns > ahead_ns ? PUNCTUAL * AHEAD_STEP_NS : -AHEAD_STEP_NS;
    if (ahead_ns > patience->ahead_max_ns)
        ahead_ns = patience->ahead_max_ns;
    if (ahead_ns < 0)
        ahead_ns = 0;
    STORE(patience->ahead_ns, ahead_ns);
}

/* Who spends all his time on looking at the clock is one of many that want a processor
 * where there are not enough, and waits for it like they do: milliseconds. Who sleeps
 * gets it when he wakes up. So where others took it away from us we look at the clock
 * for half as long, and where nobody did, a little longer again. */
void patience_heed_others(struct patience *patience)
{
    struct rusage usage;
    int64_t preempted;

    if (getrusage(RUSAGE_THREAD, &usage) < 0)
        return;
    preempted = usage.ru_nivcsw - patience->preempted;
    patience->preempted = usage.ru_nivcsw;
    if (preempted == 0) {
        patience->quiet_looks++;
        if (patience->quiet_looks > QUIET && patience->limit_ns < patience->ahead_max_ns)
            patience->limit_ns += patience->ahead_max_ns / REGAINED;
        return;
    }
    /* Once in a while is what the kernel's own housekeeping does. */
    if (preempted > 1 || patience->quiet_looks < QUIET) {
        if (patience->limit_ns > patience->ahead_ns)
            patience->limit_ns = patience->ahead_ns;
        patience->limit_ns /= 2;
    }
    patience->quiet_looks = 0;
}

/* Nearer to a moment; returns what the time is then, which may be before it. */
int64_t patience_approach(struct patience *patience, int64_t now_ns, int64_t due_ns)
{
    int64_t left_ns = due_ns - now_ns;
    int64_t ahead_ns = patience->ahead_ns;

    if (ahead_ns > patience->limit_ns)
        ahead_ns = patience->limit_ns;
    if (left_ns > 2 * EXACT_NS) {
        patience_wait(patience, -1, 0, left_ns - EXACT_NS);
        return clock_ns();
    }
    if (left_ns > ahead_ns) {
        int64_t until_ns = due_ns - ahead_ns;
        struct timespec until = {until_ns / NS_PER_S, until_ns % NS_PER_S};

        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        now_ns = clock_ns();
        learn(patience, now_ns - until_ns);
    }
    while (now_ns < due_ns && !patience_is_over(patience)) {
        relax();
        now_ns = clock_ns();
    }
    return now_ns;
}
