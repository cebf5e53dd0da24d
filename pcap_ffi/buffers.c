/* Gives out batch buffers, the last one given back first, while the cache has it.
 *
 * A fresh buffer of this size is a set of pages that the kernel must clear first; with
 * hundreds in turn that took a third of the sender's time. */
#include "pcap_ffi.h"

#include <pthread.h>
#include <stdlib.h>

/* About what is in flight between the kernel and the network. */
#define KEPT 16

struct buffer {
    struct buffer *next;
    size_t size;
    _Alignas(64) unsigned char memory[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct buffer *kept;
static int kept_count;

/* Memory of this size, its content undefined; NULL when there is none. */
void *buffer_alloc(size_t size)
{
    struct buffer *buffer = NULL;

    pthread_mutex_lock(&lock);
    if (kept != NULL && kept->size == size) {
        buffer = kept;
        kept = buffer->next;
        kept_count--;
    }
    pthread_mutex_unlock(&lock);
    if (buffer == NULL) {
        size_t total = (sizeof(*buffer) + size + 63) / 64 * 64;

        buffer = aligned_alloc(64, total);
        if (buffer == NULL)
            return NULL;
        buffer->size = size;
    }
    return buffer->memory;
}

/* Takes back what buffer_alloc gave. Any thread may call it. */
void buffer_free(void *memory)
{
    struct buffer *buffer;

    if (memory == NULL)
        return;
    buffer = (struct buffer *)((unsigned char *)memory -
                               offsetof(struct buffer, memory));
    pthread_mutex_lock(&lock);
    if (kept_count < KEPT && (kept == NULL || kept->size == buffer->size)) {
        buffer->next = kept;
        kept = buffer;
        kept_count++;
        buffer = NULL;
    }
    pthread_mutex_unlock(&lock);
    free(buffer);
}
