#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "message/buffer.h"

struct hark_buffer {
    _Atomic size_t references; // any thread that has one
    size_t size;
    unsigned char *data;           // own, or other memory
    void (*release)(void *handle); // NULL: own
    void *handle;
    _Alignas(16) unsigned char own[]; // for any type, as malloc's
};

hark_buffer *
hark_buffer_new(size_t size)
{
    if (size > SIZE_MAX / 2) {
        return NULL;
    }

    hark_buffer *buffer = malloc(sizeof *buffer + size);

    if (buffer != NULL) {
        atomic_init(&buffer->references, 1);
        buffer->size = size;
        buffer->data = buffer->own;
        buffer->release = NULL;
    }
    return buffer;
}

void
hark__buffer_lend(hark_buffer *buffer, void *data, size_t size,
                  void (*release)(void *handle), void *handle)
{
    buffer->size = size;
    buffer->data = data;
    buffer->release = release;
    buffer->handle = handle;
}

void *
hark_buffer_data(hark_buffer *buffer)
{
    return buffer->data;
}

size_t
hark_buffer_size(const hark_buffer *buffer)
{
    return buffer->size;
}

hark_buffer *
hark_buffer_retain(hark_buffer *buffer)
{
    // release, to hark_buffer_release: a part of a frame (remote/outbox.c) is let go of
    // on libzmq's thread, and this way what came before is seen there whatever libzmq
    // does.
    atomic_fetch_add_explicit(&buffer->references, 1, memory_order_release);
    return buffer;
}

void
hark_buffer_release(hark_buffer *buffer)
{
    if (buffer == NULL) {
        return;
    }
    // acq_rel: release, so that our uses happen before the last holder's free; acquire,
    // so that the last holder sees all others' uses.
    if (atomic_fetch_sub_explicit(&buffer->references, 1, memory_order_acq_rel) == 1) {
        if (buffer->release != NULL) {
            buffer->release(buffer->handle);
        }
        free(buffer);
    }
}

hark_bytes
hark_bytes_of_buffer(hark_buffer *buffer)
{
    return (hark_bytes){.ptr = buffer->data, .len = buffer->size, .buffer = buffer};
}
