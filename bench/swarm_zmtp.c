/* The connections of a swarm: octets in and out, and the frames in them.
 *
 * Specification: https://rfc.zeromq.org/spec/37/ (ZMTP 3.1), NULL.
 */
#include "swarm.h"
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define GREETING 64
#define NULL_MECHANISM "NULL"

static const struct addrinfo *target;
static int epoll_fd;

void zmtp_prepare(const struct addrinfo *address, int epoll)
{
    target = address;
    epoll_fd = epoll;
}

/* In the middle of the load nobody waits for replies: whoever answers would otherwise
 * pay for waking us. */
void zmtp_watch(struct sender *sender)
{
    int is_busy = sender->state == UP && !sender->is_stalled && !load.is_over;
    struct epoll_event event = {.data.ptr = sender};

    event.events = (is_busy ? 0 : EPOLLIN) | (sender->pending_length ? EPOLLOUT : 0);
    if (sender->watched == event.events)
        return;
    sender->watched = event.events;
    if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, sender->fd, &event) < 0)
        err(1, "epoll_ctl");
}

static void break_off(struct sender *sender)
{
    close(sender->fd);
    if (sender->state < GREETED)
        tally.connecting--;
    else
        tally.broken++;
    free(sender->pending);
    sender->pending = NULL;
    sender->pending_length = sender->rest_length = 0;
    sender->has_greeting = sender->is_stalled = sender->wants_word = 0;
    sender->state = AWAY;
    sender->away_ns = now_ns;
}

void zmtp_emit(struct sender *sender, const unsigned char *octets, size_t size)
{
    ssize_t done = 0;

    if (sender->pending_length == 0) {
        done = send(sender->fd, octets, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (done < 0 && errno != EAGAIN && errno != EINTR)
            return; /* reading will tell */
        done = done < 0 ? 0 : done;
    }
    if ((size_t)done == size)
        return;
    size -= (size_t)done;
    sender->pending = realloc(sender->pending, sender->pending_length + size);
    if (sender->pending == NULL)
        err(1, "realloc");
    memcpy(sender->pending + sender->pending_length, octets + done, size);
    sender->pending_length += size;
    zmtp_watch(sender);
}

static void emit_pending(struct sender *sender)
{
    ssize_t done = send(sender->fd, sender->pending, sender->pending_length,
                        MSG_DONTWAIT | MSG_NOSIGNAL);

    if (done <= 0)
        return;
    sender->pending_length -= (size_t)done;
    memmove(sender->pending, sender->pending + done, sender->pending_length);
    zmtp_watch(sender);
}

static void take_command(struct sender *sender, const unsigned char *body, size_t size)
{
    if (size >= 6 && memcmp(body, "\5READY", 6) == 0 && sender->state == SHAKING) {
        tally.connecting--;
        link_greet(sender);
    } else if (size >= 7 && memcmp(body, "\4PING", 5) == 0) {
        /* Two octets of it say how long it waits; the rest goes back. */
        unsigned char pong[SHORT_FRAME + SHORT_MAX] = "\4.\4PONG";

        pong[1] = (unsigned char)(size - 2);
        memcpy(pong + SHORT_FRAME + 5, body + 7, size - 7);
        zmtp_emit(sender, pong, SHORT_FRAME + size - 2);
    } else if (size >= 6 && memcmp(body, "\5ERROR", 6) == 0) {
        errx(1, "the receiver refuses us");
    }
}

/* Takes the whole frames off the front; returns how many octets that was. */
static size_t take_frames(struct sender *sender, const unsigned char *in, size_t size)
{
    size_t at = 0;

    if (!sender->has_greeting) {
        if (size < GREETING)
            return 0;
        if (in[0] != 0xFF || in[10] < 3)
            errx(1, "no ZMTP 3 is spoken there");
        if (memcmp(in + 12, NULL_MECHANISM, sizeof(NULL_MECHANISM)) != 0)
            errx(1, "the receiver asks for %.20s: start it without keys", in + 12);
        sender->has_greeting = 1;
        at = GREETING;
    }
    while (size - at >= SHORT_FRAME && size - at >= SHORT_FRAME + (size_t)in[at + 1]) {
        size_t body = in[at + 1];

        if (in[at] & ZMTP_LONG)
            errx(1, "a frame that is too long for a reply");
        if (in[at] & ZMTP_COMMAND)
            take_command(sender, in + at + SHORT_FRAME, body);
        else
            link_take_reply(sender, in + at + SHORT_FRAME, body);
        at += SHORT_FRAME + body;
        if (sender->state == GONE)
            return size;
    }
    return at;
}

void zmtp_read(struct sender *sender)
{
    static unsigned char in[1 << 16];

    sender->read_ns = now_ns;
    for (;;) {
        size_t filled = sender->rest_length, taken;
        ssize_t got;

        memcpy(in, sender->rest, filled);
        got = recv(sender->fd, in + filled, sizeof(in) - filled, MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (got <= 0) {
            break_off(sender);
            return;
        }
        filled += (size_t)got;
        taken = take_frames(sender, in, filled);
        sender->rest_length = filled - taken;
        memcpy(sender->rest, in + taken, sender->rest_length);
        if (sender->state == GONE || filled < sizeof(in))
            return;
    }
}

void zmtp_connect(struct sender *sender)
{
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = sender};
    int on = 1, failed;

    sender->fd = socket(target->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (sender->fd < 0)
        err(1, "socket");
    setsockopt(sender->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    failed = connect(sender->fd, target->ai_addr, target->ai_addrlen) < 0 &&
             errno != EINPROGRESS;
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, sender->fd, &event) < 0)
        err(1, "epoll_ctl");
    sender->watched = EPOLLOUT;
    sender->state = CONNECTING;
    tally.connecting++;
    if (failed)
        break_off(sender);
}

static void shake_hands(struct sender *sender)
{
    static const unsigned char ready[] = "\4.\5READY"
                                         "\13Socket-Type\0\0\0\6DEALER"
                                         "\10Identity\0\0\0";
    unsigned char words[GREETING + sizeof(ready)] = {0xFF};
    int error = 0;
    socklen_t size = sizeof(error);

    getsockopt(sender->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        break_off(sender);
        return;
    }
    words[9] = 0x7F;
    words[10] = 3;
    words[11] = 1;
    memcpy(words + 12, NULL_MECHANISM, sizeof(NULL_MECHANISM));
    /* The literal's own end is the last octet of the Identity's length. */
    memcpy(words + GREETING, ready, sizeof(ready));
    words[GREETING + 1] = sizeof(ready) - SHORT_FRAME;
    sender->state = SHAKING;
    zmtp_emit(sender, words, sizeof(words));
    zmtp_watch(sender);
}

void zmtp_serve(struct sender *sender, uint32_t events)
{
    if (sender->state == CONNECTING) {
        shake_hands(sender);
        return;
    }
    if (events & EPOLLOUT)
        emit_pending(sender);
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        zmtp_read(sender);
}
