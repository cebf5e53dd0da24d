/* Puts packets onto a network interface when they are due, in a thread of its own.
 *
 * Theory of operation. Whoever feeds it gives batches of records, which stay where they
 * are until they are released; the thread takes one after the other, and what became of
 * the packets is counted beside each. All that is due goes by one sendmmsg(2), which on
 * veth carries 1.4 times the packets of send(2) and a tenth more than a TX ring.
 * PACKET_QDISC_BYPASS gains nothing there; it would hide the packets from tcpdump on
 * this host, and lose what the interface has no room for, so it is not used.
 *
 * The thread never touches the schedule's or a batch's owner, so no lock of theirs makes
 * it late.
 *
 * Specification: packet(7). */
#define _GNU_SOURCE
#include "send.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "patience.h"
#include "pcap_ffi.h"

#define NS_PER_MS 1000000LL

#define BURST 64

/* How often to look whether packets still get out, which no error tells. */
#define LOOK_NS (10 * NS_PER_MS)

/* How often to look whether an interface is up again. */
#define DOWN_MS 20

/* How long to wait for room that nothing announces. */
#define ROOM_MIN_NS 20000
#define ROOM_MAX_NS NS_PER_MS

/* How often to look at an interface that announces its room and has none. */
#define STUCK_NS (100 * NS_PER_MS)

struct batch {
    const uint8_t *records;
    size_t length;
    struct sender_outcome outcome;
};

struct sender {
    int fd;
    int work_fd; /* there may be a batch */
    int wake_fd; /* something is worth a look */
    int index;
    int is_ip;
    int is_started;
    int has_given_up;
    pthread_t thread;
    struct schedule *schedule;
    struct patience patience;

    /* Batches by number: those from `released` on lie in the ring, the thread is at
     * `done`, and `given` is the next. The thread alone writes `done`. */
    struct batch batches[SENDER_BATCHES];
    uint64_t given;
    uint64_t done;
    uint64_t released;

    struct sender_status status; /* the thread's */

    /* The thread's own. */
    int64_t looked_ns;
    int64_t room_ns;
    struct mmsghdr messages[BURST];
    struct iovec parts[BURST];
    int64_t due_ns[BURST];
    struct schedule_place places[BURST]; /* of the schedule, after each of them */
    struct sockaddr_ll to_ip[2];         /* version 4, version 6 */
};

/* The thread */

static void notify(int fd)
{
    uint64_t one = 1;

    /* It never waits: that takes 2^64 of them. */
    while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

static void tell(struct sender *sender, int state)
{
    STORE(sender->status.state, state);
    notify(sender->wake_fd);
}

static void fail(struct sender *sender, int error)
{
    STORE(sender->status.error, error);
    tell(sender, SENDER_FAILED);
}

/* Waits for an interface that is down. Nothing was due meanwhile. */
static void await_interface(struct sender *sender, int64_t now_ns)
{
    int64_t waited_ns;
    int carries;

    tell(sender, SENDER_WAITING);
    do {
        patience_wait(&sender->patience, -1, 0, DOWN_MS * NS_PER_MS);
        carries = device_carries(sender->fd, sender->index);
        waited_ns = clock_ns() - now_ns;
        STORE(sender->status.waited_ns, sender->status.waited_ns + waited_ns);
        schedule_shift(sender->schedule, waited_ns);
        now_ns += waited_ns;
        if (carries < 0) {
            fail(sender, -carries);
            return;
        }
        if (carries) {
            sender->looked_ns = now_ns;
            tell(sender, SENDER_SENDING);
            return;
        }
    } while (!patience_is_over(&sender->patience));
}

/* Looks around, now and then: 0 where that took time, or there is no more to do. */
static int look_around(struct sender *sender, int64_t now_ns)
{
    int carries = device_carries(sender->fd, sender->index);

    sender->looked_ns = now_ns;
    patience_heed_others(&sender->patience);
    if (carries < 0)
        fail(sender, -carries);
    if (carries == 0)
        await_interface(sender, now_ns);
    return carries > 0;
}

/* Fills messages with what is due; returns how many. Of what is due later, *due_ns is
 * when the first is. */
static uint32_t gather(struct sender *sender, const uint8_t *records, size_t length,
                       int64_t now_ns, int64_t *due_ns)
{
    struct schedule_place place = sender->schedule->place;
    size_t at = 0;
    uint32_t count = 0;

    while (at < length && count < BURST) {
        const uint8_t *record = records + at;
        uint32_t caplen = get32(record + 8);

        *due_ns = schedule_next(sender->schedule, &place, record);
        if (*due_ns > now_ns)
            break;
        sender->parts[count] = (struct iovec){(void *)(record + RECORD_HEADER), caplen};
        if (sender->is_ip) {
            int is_v6 = caplen > 0 && record[RECORD_HEADER] >> 4 == 6;

            sender->messages[count].msg_hdr.msg_name = &sender->to_ip[is_v6];
        }
        sender->due_ns[count] = *due_ns;
        sender->places[count] = place;
        at += RECORD_HEADER + caplen;
        count++;
    }
    return count;
}

/* The kernel has taken the first `count` of what was gathered, one after the other. A
 * packet has gone when the kernel is done with it. */
static void pass(struct sender *sender, struct sender_outcome *outcome, uint32_t count,
                 int64_t before_ns, int64_t after_ns)
{
    struct schedule *schedule = sender->schedule;
    int64_t each_ns = (after_ns - before_ns) / count;

    for (uint32_t index = 0; index < count && schedule->kind != SCHEDULE_TOP; index++)
        lateness_observe(&schedule->lateness,
                         before_ns + (index + 1) * each_ns - sender->due_ns[index]);
    schedule->place = sender->places[count - 1];
    STORE(outcome->sent, outcome->sent + count);
    sender->room_ns = ROOM_MIN_NS;
}

/* What to do about the first of what was gathered. Whether it is done with. */
static int refused(struct sender *sender, struct sender_outcome *outcome, int error,
                   int64_t now_ns)
{
    switch (error) {
    case EMSGSIZE:
        STORE(outcome->too_long, outcome->too_long + 1);
        break;
    case EINVAL:
        STORE(outcome->malformed, outcome->malformed + 1);
        break;
    case ENETDOWN:
        await_interface(sender, now_ns);
        return 0;
    case EAGAIN:
        STORE(sender->status.held_up, sender->status.held_up + 1);
        patience_wait(&sender->patience, sender->fd, POLLOUT, STUCK_NS);
        return 0;
    case ENOBUFS:
    case ENOMEM:
        /* A queue is full, and nothing tells when it no longer is. */
        STORE(sender->status.held_up, sender->status.held_up + 1);
        patience_wait(&sender->patience, -1, 0, sender->room_ns);
        if (sender->room_ns < ROOM_MAX_NS)
            sender->room_ns *= 2;
        return 0;
    case EINTR:
        return 0;
    default:
        fail(sender, error);
        return 0;
    }
    /* It took none of the time, but its place. */
    sender->schedule->place = sender->places[0];
    return 1;
}

static size_t length_of(const uint8_t *records, uint32_t count)
{
    size_t length = 0;

    while (count-- > 0)
        length += RECORD_HEADER + get32(records + length + 8);
    return length;
}

static void send_batch(struct sender *sender, struct batch *batch)
{
    const uint8_t *records = batch->records;
    size_t left = batch->length;
    int64_t now_ns = clock_ns();

    if (left > 0 && !sender->schedule->is_begun)
        schedule_begin_with(sender->schedule, now_ns, records);
    while (left > 0 && !patience_is_over(&sender->patience)) {
        int64_t due_ns, before_ns;
        uint32_t count;
        size_t gone;
        int sent;

        if (now_ns - sender->looked_ns >= LOOK_NS && !look_around(sender, now_ns)) {
            if (sender->status.state == SENDER_FAILED)
                return;
            now_ns = clock_ns();
        }
        count = gather(sender, records, left, now_ns, &due_ns);
        if (count == 0) {
            now_ns = patience_approach(&sender->patience, now_ns, due_ns);
            continue;
        }
        before_ns = now_ns;
        sent = sendmmsg(sender->fd, sender->messages, count, MSG_DONTWAIT);
        now_ns = clock_ns();
        if (sent > 0) {
            pass(sender, &batch->outcome, (uint32_t)sent, before_ns, now_ns);
            gone = length_of(records, (uint32_t)sent);
        } else if (refused(sender, &batch->outcome, errno, now_ns)) {
            gone = length_of(records, 1);
        } else if (sender->status.state == SENDER_FAILED) {
            return;
        } else {
            now_ns = clock_ns();
            continue;
        }
        records += gone;
        left -= gone;
    }
    if (left == 0)
        STORE(batch->outcome.is_done, 1);
}

static void *run(void *data)
{
    struct sender *sender = data;
    uint64_t any;

    prctl(PR_SET_NAME, "replay", 0UL, 0UL, 0UL);
    patience_prepare_thread(sender->schedule->kind != SCHEDULE_TOP);
    while (!patience_is_over(&sender->patience) && sender->status.state != SENDER_FAILED) {
        if (sender->done == LOAD(sender->given)) {
            patience_wait(&sender->patience, sender->work_fd, POLLIN, -1);
            /* Where there was nothing it was a stop. */
            if (read(sender->work_fd, &any, sizeof(any)) < 0 && errno != EAGAIN)
                break;
            continue;
        }
        send_batch(sender, &sender->batches[sender->done % SENDER_BATCHES]);
        if (LOAD(sender->batches[sender->done % SENDER_BATCHES].outcome.is_done)) {
            STORE(sender->done, sender->done + 1);
            notify(sender->wake_fd);
        }
    }
    return NULL;
}

/* Whoever feeds it */

static void prepare(struct sender *sender)
{
    for (int version = 0; version < 2; version++)
        sender->to_ip[version] = (struct sockaddr_ll){
            .sll_family = AF_PACKET,
            .sll_protocol = htons(version ? ETH_P_IPV6 : ETH_P_IP),
            .sll_ifindex = sender->index,
        };
    for (uint32_t index = 0; index < BURST; index++) {
        struct msghdr *message = &sender->messages[index].msg_hdr;

        message->msg_iov = &sender->parts[index];
        message->msg_iovlen = 1;
        message->msg_namelen = sender->is_ip ? sizeof(sender->to_ip[0]) : 0;
    }
}

static void close_one(int fd)
{
    if (fd >= 0)
        close(fd);
}

/* What sends by this socket of device_open(), which is its own from here on, whatever
 * comes of it. The schedule stays the caller's, who leaves it alone as long as this
 * lives. ahead_max_ns: how long to busy-wait before a packet, at most. NULL without
 * memory or descriptors. The thread starts with the first batch: what the caller gives
 * up before it is given up by it, too. */
struct sender *sender_new(int fd, const struct device *device,
                          struct schedule *schedule, int64_t ahead_max_ns)
{
    struct sender *sender = calloc(1, sizeof(*sender));

    if (sender == NULL) {
        close(fd);
        return NULL;
    }
    sender->fd = fd;
    sender->work_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    sender->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    sender->index = device->index;
    sender->is_ip = device_takes(device->type) == DEVICE_TAKES_IP;
    sender->schedule = schedule;
    sender->room_ns = ROOM_MIN_NS;
    prepare(sender);
    if (patience_begin(&sender->patience, ahead_max_ns) < 0 || sender->work_fd < 0 ||
        sender->wake_fd < 0) {
        sender_free(sender);
        return NULL;
    }
    return sender;
}

/* Readable when a batch is done with or the state has changed; an eventfd(2), to be read
 * by whoever looks. */
int sender_wake(const struct sender *sender)
{
    return sender->wake_fd;
}

static int start(struct sender *sender)
{
    sigset_t all, before;
    int error;

    /* Signals are others' business. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&sender->thread, NULL, run, sender);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    sender->is_started = error == 0;
    return -error;
}

/* Takes some records, only octets that records_count() has passed, which have to stay
 * until they are released. 1: taken; 0: not now; below: no thread, a negative errno. */
int sender_give(struct sender *sender, const uint8_t *records, size_t length)
{
    if (sender->given - sender->released == SENDER_BATCHES)
        return 0;
    if (!sender->is_started) {
        int status = start(sender);

        if (status < 0)
            return status;
    }
    sender->batches[sender->given % SENDER_BATCHES] =
        (struct batch){.records = records, .length = length};
    STORE(sender->given, sender->given + 1);
    notify(sender->work_fd);
    return 1;
}

/* What became of the oldest batch that is not released; 0 where there is none. */
int sender_outcome(const struct sender *sender, struct sender_outcome *outcome)
{
    const struct sender_outcome *found;

    if (sender->released == sender->given)
        return 0;
    found = &sender->batches[sender->released % SENDER_BATCHES].outcome;
    /* First: what is done with has been counted. */
    outcome->is_done = LOAD(found->is_done) && sender->released < LOAD(sender->done);
    outcome->sent = LOAD(found->sent);
    outcome->too_long = LOAD(found->too_long);
    outcome->malformed = LOAD(found->malformed);
    return 1;
}

/* Forgets the oldest batch; one that is not done with only after sender_stop(). */
void sender_release(struct sender *sender)
{
    if (sender->released != sender->given)
        sender->released++;
}

void sender_status(const struct sender *sender, struct sender_status *status)
{
    /* First: what failed has an error. */
    status->state = LOAD(sender->status.state);
    status->error = LOAD(sender->status.error);
    status->waited_ns = LOAD(sender->status.waited_ns);
    status->held_up = LOAD(sender->status.held_up);
    status->ahead_ns = LOAD(sender->patience.ahead_ns);
}

/* Ends the thread, within milliseconds; what it has not sent it never will. */
void sender_stop(struct sender *sender)
{
    if (sender->has_given_up)
        return;
    sender->has_given_up = 1;
    patience_stop(&sender->patience);
    if (sender->is_started)
        pthread_join(sender->thread, NULL);
}

void sender_free(struct sender *sender)
{
    sender_stop(sender);
    patience_end(&sender->patience);
    close_one(sender->fd);
    close_one(sender->work_fd);
    close_one(sender->wake_fd);
    free(sender);
}
