/* What the C files beside this one offer. Functions return a negative errno where the
 * kernel refuses, else 0 unless they say otherwise. */
#ifndef LINUX_FFI_LINUX_H
#define LINUX_FFI_LINUX_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h> /* srand */

#define LINUX_NOT_PERMITTED (-EPERM)

int linux_forbid_dumps(void);
int linux_may_dump(void);
int linux_forbid_new_privileges(void);
int linux_drop_bounding_set(void);
int linux_drop_capabilities(int keep_reading);
int linux_keep_scheduling(void);
int linux_rename_fresh(const char *from, const char *to);
int linux_spawn(const char *path, char **arguments, char **environment, int input,
                int output);
int64_t linux_move(int file, int pipe, int64_t *at, int64_t end);
void linux_octets_received(const int *fds, uint64_t *octets, size_t count);

#endif
