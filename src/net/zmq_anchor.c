// Anchors: the memory of frames that come stays with the process while they come.
//
// libzmq takes a block from malloc for each large frame, on its own thread, and some
// other thread frees it. glibc gives the top of its heap back to the operating system
// whenever a block of 64 KiB or more is freed there and 128 KiB are free, however soon
// they are wanted again; then each page costs a fault. But it gives back nothing that
// lies below a block in use. So we hold, of the frames that came, the one with the
// highest address; of each of glibc's heaps, which are 64 MiB large at most, since
// there may be several. It costs one reference for each new record.
//
// Each second all anchors go, and with them all memory above the blocks that are really
// in use: so nothing stays because there was much once. If frames still come, the next
// of them are the new anchors. Another malloc loses nothing by this but a few held
// frames.

#include <stdint.h>

#include "net/zmq_side.h"

enum {
    // Frames below go to libzmq's small blocks; those above are mapped one by one.
    ANCHOR_LEAST = 16 * 1024,
    ANCHOR_MOST = 128 * 1024,
    HEAP_SHIFT = 26, // 64 MiB
};

#define HOLD_NS INT64_C(1000000000)

void
hark__anchors_hold(struct zmq_side *side, zmq_msg_t *message)
{
    struct anchors *anchors = &side->anchors;
    size_t size = zmq_msg_size(message);

    if (size < ANCHOR_LEAST || size >= ANCHOR_MOST) {
        return;
    }
    const uint8_t *data = zmq_msg_data(message);
    size_t at = (uintptr_t)data >> HEAP_SHIFT & (ANCHORS - 1);
    if ((uintptr_t)data <= (uintptr_t)anchors->data[at]) {
        return;
    }
    if (anchors->data[at] == NULL) {
        zmq_msg_init(&anchors->held[at]);
        if (anchors->count++ == 0) {
            hark__net_kick(side->net); // the clock runs from now on
        }
    }
    // It fails for no message that was received; and then the old one has stayed.
    if (zmq_msg_copy(&anchors->held[at], message) == 0) {
        anchors->data[at] = data;
    }
}

void
hark__anchors_drop(struct anchors *anchors)
{
    for (uint32_t i = 0; i < ANCHORS; i++) {
        if (anchors->data[i] != NULL) {
            zmq_msg_close(&anchors->held[i]);
            anchors->data[i] = NULL;
        }
    }
    anchors->count = 0;
    anchors->due_ns = 0;
}

int64_t
hark__zmq_rest(struct zmq_side *side)
{
    struct anchors *anchors = &side->anchors;
    int64_t now_ns;

    if (anchors->count == 0) {
        return INT64_MAX;
    }
    now_ns = hark__env_now(side->net->env);
    if (anchors->due_ns == 0) {
        anchors->due_ns = now_ns + HOLD_NS;
    } else if (now_ns >= anchors->due_ns) {
        hark__anchors_drop(anchors);
        return INT64_MAX;
    }
    return anchors->due_ns;
}
