/* Gives a file its name without taking anybody else's. */
#define _GNU_SOURCE /* RENAME_NOREPLACE */
#include "linux.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* Renames unless there is a file of the new name: -EEXIST. A file system that cannot
 * promise that (EINVAL) is asked first, which leaves a moment in between. */
int linux_rename_fresh(const char *from, const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -errno;
    if (access(to, F_OK) == 0)
        return -EEXIST;
    return rename(from, to) < 0 ? -errno : 0;
}
