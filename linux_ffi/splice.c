/* Octets of a file into a pipe, such that how many went is known whatever happens.
 *
 * Specification: splice(2). The kernel writes the new offset before the call returns: a
 * process that is killed in the middle of it is gone only after that. */
#define _GNU_SOURCE
#include "linux.h"

#include <fcntl.h>

/* Moves what of the file's octets from `*at` to `end` goes at once; returns how many.
 * at: the caller's; in memory that outlives the process it tells those who come after. */
int64_t linux_move(int file, int pipe, int64_t *at, int64_t end)
{
    ssize_t moved = splice(file, at, pipe, NULL, (size_t)(end - *at), SPLICE_F_NONBLOCK);

    return moved < 0 ? -errno : moved;
}
