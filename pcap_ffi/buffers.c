/* Gives out batch buffers, the last one given back first, while the cache has it.
 *
 * A fresh buffer of this size is a set of pages that the kernel must clear first; with
 * hundreds in turn that took a third of the sender's time. */
#include "pcap_ffi.h"

#include <pthread.h>
#include <stdlib.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

/* About what is in flight between the kernel and the network. */
#define KEPT 16
#define KEPT_BYTES (16 << 20)

/* What malloc may keep: a few batches. */
#define KEPT_BY_MALLOC (8 << 20)

/* Makes malloc keep and reuse freed memory of a batch's size, rather than give it to the
 * kernel and get it back cleared: ZeroMQ allocates every message that comes in. */
void buffer_keep_freed(void)
{
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, KEPT_BY_MALLOC);
    mallopt(M_TRIM_THRESHOLD, KEPT_BY_MALLOC);
#endif
}

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
    struct buffer *buffer, *unwanted = NULL;

    if (memory == NULL)
        return;
    buffer = (struct buffer *)((unsigned char *)memory -
                               offsetof(struct buffer, memory));
    pthread_mutex_lock(&lock);
    if (kept != NULL && kept->size != buffer->size) {
        /* The size that is in use now is the one that will be asked for. */
        unwanted = kept;
        kept = NULL;
        kept_count = 0;
    }
    if (kept_count < KEPT && kept_count * buffer->size < KEPT_BYTES) {
        buffer->next = kept;
        kept = buffer;
        kept_count++;
    } else {
        buffer->next = unwanted;
        unwanted = buffer;
    }
    pthread_mutex_unlock(&lock);
    while (unwanted != NULL) {
        buffer = unwanted;
        unwanted = buffer->next;
        free(buffer);
    }
}
