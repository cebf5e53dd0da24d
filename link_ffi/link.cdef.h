#define LANE_ID 24
#define LANE_TOTALS 128
#define LANE_KEY 40
#define LANE_BATCHES_MIN 64
#define LANE_MESSAGE_COST 512

enum lane_verdict {
    LANE_TAKEN,
    LANE_REPEATED,
    LANE_AHEAD,
    LANE_FULL,
    LANE_BEYOND,
    ...
};

struct lane {
    uint32_t slot;
    uint32_t generation;
    uint8_t id[LANE_ID];
    uint64_t next;
    uint64_t written;
    uint64_t held_bytes;
    uint64_t window;
    uint64_t reserved;
    int64_t heard_ns;
    uint8_t totals[LANE_TOTALS];
    int is_here;
    uint64_t packets_received;
    uint64_t packets_written;
    uint64_t acknowledged;
    uint64_t said_before;
    uint64_t acknowledged_before;
    uint32_t batches_count;
    uint32_t batches_settled;
    int is_owed;
    int is_eager;
    int is_open;
    ...;
};

struct lanes {
    uint64_t held_bytes;
    int is_uneven;
    ...;
};

struct share {
    uint32_t slot, generation;
    uint64_t number;
    uint32_t packets;
    uint64_t lost;
    ...;
};

struct receipt {
    uint64_t written;
    uint32_t count;
    struct share shares[];
    ...;
};

struct lanes *lanes_new(uint64_t held_max, int64_t delay_ns);
void lanes_free(struct lanes *lanes);
struct lane *lanes_add(struct lanes *lanes);
void lanes_remove(struct lanes *lanes, struct lane *lane);
void lanes_close_all(struct lanes *lanes);
uint32_t lanes_owed(struct lanes *lanes, int64_t now_ns, uint32_t *slots, uint32_t max);
int64_t lanes_due(const struct lanes *lanes);
void lanes_share_out(struct lanes *lanes, uint64_t queue_bytes);
uint32_t lanes_heard_since(const struct lanes *lanes, int64_t since_ns, int *fds,
                           int64_t *heard_ns, uint32_t max);

enum lane_verdict lane_take(struct lanes *lanes, struct lane *lane, uint64_t number,
                            uint64_t payload_length, uint32_t packets);
void lane_hear(struct lane *lane, const uint8_t *totals, int64_t now_ns);
uint64_t lane_lost(const struct lane *lane);
void lane_start_over(struct lane *lane, uint64_t number, uint64_t said);
void lane_spoke(struct lanes *lanes, struct lane *lane);
void lane_open(struct lanes *lanes, struct lane *lane, uint64_t peer, int fd,
               const char *key);
void lane_close(struct lanes *lanes, struct lane *lane);
struct lane *lane_of_peer(const struct lanes *lanes, uint64_t peer);

struct receipt *receipt_new(uint32_t count);
void receipt_free(struct receipt *receipt);
void receipt_settle(struct lanes *lanes, const struct receipt *receipt, int64_t now_ns);
void receipt_written(struct lanes *lanes, struct receipt *receipt, int64_t packets);

typedef struct {
    ...;
} message_t;

struct zeromq {
    int (*msg_init)(message_t *);
    int (*msg_recv)(message_t *, void *socket, int flags);
    int (*msg_close)(message_t *);
    int (*msg_move)(message_t *to, message_t *from);
    void *(*msg_data)(message_t *);
    size_t (*msg_size)(const message_t *);
    int (*msg_more)(const message_t *);
    int (*msg_get)(const message_t *, int property);
    const char *(*msg_gets)(const message_t *, const char *property);
    ...;
};

#define INTAKE_FRAMES 3

enum taken {
    TAKEN_NOTHING,
    TAKEN_GATHERED,
    TAKEN_BATCH,
    TAKEN_MESSAGE,
    ...
};

struct intake {
    message_t peer;
    message_t frames[INTAKE_FRAMES];
    uint32_t frames_count;
    uint64_t messages;
    uint32_t linktype;
    uint32_t packets;
    uint8_t codec;
    uint32_t raw_length;
    size_t used;
    ...;
};

struct intake *intake_new(const struct zeromq *zeromq, void *socket,
                          struct lanes *lanes, int has_keys);
void intake_free(struct intake *intake);
int intake_take(struct intake *intake, int64_t now_ns, uint8_t *out, size_t capacity,
                size_t small);
struct receipt *intake_receipt(const struct intake *intake);
message_t *intake_keep(struct intake *intake, uint32_t frame);
void intake_let_go(const struct zeromq *zeromq, message_t *message);
