#include "remote/arrival.h"

#include "message/buffer.h"

// The buffer that keeps a part of the frame at hand in memory, of that size; 0: the
// frame itself. NULL: it cannot be kept.
static hark_buffer *
share_part(struct remote *remote, uint32_t part, size_t size)
{
    struct arrival *arrival = remote->arrival;
    struct kept kept;

    if (remote->arrived[part] == NULL) {
        hark_buffer *buffer = hark_buffer_new(0);

        if (buffer != NULL && arrival->keep(arrival, part, &kept)) {
            hark__buffer_lend(buffer, kept.data, size, kept.release, kept.handle);
            remote->arrived[part] = buffer;
        } else {
            hark_buffer_release(buffer);
        }
    }
    return remote->arrived[part];
}

hark_buffer *
hark__arrival_share(void *remote)
{
    return share_part(remote, 0, ((struct remote *)remote)->arrival->size);
}

// Who declares large bytes a part gets them shared; few are copied, since they may keep
// more memory than they take.
bool
hark__arrival_find_part(void *arg, uint16_t number, hark_bytes *out_bytes)
{
    struct remote *remote = arg;

    if (number == 0 || number > remote->arrival->part_count) {
        return false;
    }
    const struct arrived_part *part = &remote->arrival->parts[number - 1];

    *out_bytes = (hark_bytes){.ptr = part->data, .len = part->size};
    if (part->size >= SHARE_LEAST) {
        out_bytes->buffer = share_part(remote, number, part->size);
    }
    return true;
}

size_t
hark__arrival_bytes(const struct arrival *arrival)
{
    size_t size = arrival->size;

    for (uint32_t i = 0; i < arrival->part_count; i++) {
        size += arrival->parts[i].size;
    }
    return size;
}

void
hark__arrival_forget(struct remote *remote)
{
    for (uint32_t i = 0; i <= remote->arrival->part_count; i++) {
        hark_buffer_release(remote->arrived[i]);
        remote->arrived[i] = NULL;
    }
    remote->arrival = NULL;
}
