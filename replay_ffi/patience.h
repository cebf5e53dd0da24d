/* Waits until a moment, to the microsecond, or until it is told to stop. */
#ifndef REPLAY_FFI_PATIENCE_H
#define REPLAY_FFI_PATIENCE_H

#include <stdint.h>

struct patience {
    int stop_fd; /* readable from the stop on */
    int is_over;
    int64_t ahead_ns;     /* looks at the clock for so long before a moment, by now */
    int64_t ahead_max_ns; /* and at most */
    int64_t limit_ns;     /* of that, what others leave us */
    int64_t preempted;    /* times that we had to leave the processor to others */
    uint32_t quiet_looks; /* since the last of these */
};

#define LOAD(place) __atomic_load_n(&(place), __ATOMIC_ACQUIRE)
#define STORE(place, value) __atomic_store_n(&(place), (value), __ATOMIC_RELEASE)

int64_t clock_ns(void);
int patience_begin(struct patience *patience, int64_t ahead_max_ns);
void patience_prepare_thread(int is_punctual);
void patience_wait(const struct patience *patience, int fd, short events,
                   int64_t for_ns);
int64_t patience_approach(struct patience *patience, int64_t now_ns, int64_t due_ns);
void patience_heed_others(struct patience *patience);
void patience_stop(struct patience *patience);
int patience_is_over(const struct patience *patience);
void patience_end(struct patience *patience);

#endif
