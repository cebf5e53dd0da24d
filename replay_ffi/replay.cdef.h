/* What Python may see of schedule.h, device.h and send.h. */
#define SCHEDULE_AT_TIMES ...
#define SCHEDULE_PACKETS ...
#define SCHEDULE_OCTETS ...
#define SCHEDULE_TOP ...
#define LATENESS_BUCKETS ...

struct lateness {
    int64_t bound_ns;
    uint64_t packets;
    uint64_t late;
    uint64_t sum_ns;
    int64_t max_ns;
    uint64_t buckets[...];
};

struct schedule_place {
    int64_t floor_ns;
    uint64_t packets;
    uint64_t octets;
};

struct schedule {
    int kind;
    double pace;
    int is_begun;
    int64_t start_ns;
    int64_t epoch_ns;
    struct schedule_place place;
    struct lateness lateness;
};

struct schedule_due {
    size_t length;
    uint32_t count;
    uint64_t octets;
    int64_t next_ns;
};

void schedule_begin(struct schedule *schedule, int64_t start_ns, int64_t epoch_ns);
void schedule_shift(struct schedule *schedule, int64_t by_ns);
void schedule_take(struct schedule *schedule, const uint8_t *records, size_t length,
                   int64_t now_ns, struct schedule_due *due);
int64_t lateness_bound(uint32_t bucket);
void schedule_stamp(const struct schedule *schedule, struct schedule_place *place,
                    uint8_t *records, size_t length, int64_t now_ns, int64_t slack_ns,
                    int64_t offset_ns);

#define SENDER_BATCHES ...
#define DEVICE_TAKES_NOTHING ...
#define DEVICE_TAKES_ETHERNET ...
#define DEVICE_TAKES_IP ...
#define SENDER_SENDING ...
#define SENDER_WAITING ...
#define SENDER_FAILED ...

struct device {
    int index;
    int type;
    uint32_t mtu;
    int is_up;
};

struct sender_outcome {
    uint32_t sent;
    uint32_t too_long;
    uint32_t malformed;
    int is_done;
};

struct sender_status {
    int state;
    int error;
    int64_t waited_ns;
    uint64_t held_up;
    int64_t ahead_ns;
};

struct sender;
int device_open(const char *name, struct device *found);
int device_takes(int type);
struct sender *sender_new(int fd, const struct device *device,
                          struct schedule *schedule, int64_t ahead_max_ns);
int sender_wake(const struct sender *sender);
int sender_give(struct sender *sender, const uint8_t *records, size_t length);
int sender_outcome(const struct sender *sender, struct sender_outcome *outcome);
void sender_release(struct sender *sender);
void sender_status(const struct sender *sender, struct sender_status *status);
void sender_stop(struct sender *sender);
void sender_free(struct sender *sender);
