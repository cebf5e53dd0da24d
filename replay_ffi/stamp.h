/* The shape that stamp.c offers. */
#ifndef REPLAY_FFI_STAMP_H
#define REPLAY_FFI_STAMP_H

#include "schedule.h"

void schedule_stamp(const struct schedule *schedule, struct schedule_place *place,
                    uint8_t *records, size_t length, int64_t now_ns, int64_t slack_ns,
                    int64_t offset_ns);

#endif
