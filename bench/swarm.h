/* What the files of swarm share: a sender, the load, and what is counted. */
#ifndef SWARM_H
#define SWARM_H

#include <netdb.h>
#include <stddef.h>
#include <stdint.h>

#define NS_PER_S 1000000000LL
#define NS_PER_MS 1000000LL

/* ZMTP: a frame of at most 255 octets has a flag octet and a length octet in front. */
#define ZMTP_MORE 0x01
#define ZMTP_LONG 0x02
#define ZMTP_COMMAND 0x04
#define SHORT_FRAME 2
#define SHORT_MAX 255
#define LONG_FRAME 9

#define LENGTH_MIN 52 /* IPv4, UDP and what fill_batch() writes into the payload */
#define LENGTH_MAX 9000

/* In this order: AWAY has no socket, those below GREETED have not shaken hands. */
enum state { AWAY, CONNECTING, SHAKING, GREETED, UP, LEAVING, GONE };

struct sender {
    enum state state;
    int fd;
    uint32_t watched; /* what epoll looks out for */
    int has_greeting, was_welcomed, is_stalled, wants_word;
    int64_t made, sent, highest, written; /* batches */
    uint64_t window;
    int64_t spoke_ns, heard_ns, read_ns, away_ns;
    size_t rest_length;
    unsigned char rest[SHORT_FRAME + SHORT_MAX]; /* of what came: an unfinished frame */
    unsigned char *pending;                      /* what the socket had no room for */
    size_t pending_length;
    unsigned char id[16];
};

/* What all are to do. */
struct load {
    int senders;
    int batch;  /* packets in one */
    int group;  /* batches that a sender makes at a time */
    int length; /* octets of an IP packet */
    double rate, seconds, wait_s;
    int64_t first_mark; /* negative: none */
    double spacing_ns;  /* between two groups of all senders together */
    int64_t batches_each;
    int64_t began_ns; /* 0: not yet */
    int is_over, is_ending;
};

struct tally {
    int64_t stalled, late, resent, hellos, broken;
    int welcomed, connecting, farewells;
};

extern struct sender *senders;
extern struct load load;
extern struct tally tally;
extern int64_t now_ns, now_wall_ns, started_wall_ns; /* one reading for a turn */

/* swarm_zmtp.c: connections, and frames on them */

void zmtp_prepare(const struct addrinfo *target, int epoll);
void zmtp_connect(struct sender *sender);
/* Sends, or keeps what the socket has no room for; never waits. */
void zmtp_emit(struct sender *sender, const unsigned char *octets, size_t size);
/* Takes all that has come. Afterwards the connection may be gone. */
void zmtp_read(struct sender *sender);
/* What epoll has seen at its socket. */
void zmtp_serve(struct sender *sender, uint32_t events);
/* Looks out for what the sender's state waits for. */
void zmtp_watch(struct sender *sender);

/* swarm_link.c: what a sender says, docs/wire.md */

void link_prepare(void);
/* Hands have been shaken. */
void link_greet(struct sender *sender);
void link_take_reply(struct sender *sender, const unsigned char *reply, size_t size);
/* Sends what is made as far as the window goes, in as few calls as there is room for. */
void link_send_made(struct sender *sender);
/* What is due now and then: replies, heartbeats, another hello, the goodbye. */
void link_look_after(struct sender *sender);

#endif
