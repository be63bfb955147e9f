// Arrival: the frame at hand, with its parts, and who keeps its memory.
//
// Messages may share large bytes of it instead of copying them: then a buffer keeps the
// frame, or the part, for as long as one of them does. Poller only.

#ifndef REMOTE_ARRIVAL_H
#define REMOTE_ARRIVAL_H

#include "remote/link.h"

enum {
    SHARE_LEAST = 32 * 1024, // bytes of a message that are not copied out of the frame
};

// For struct payload_options (wire/payload.h), with remote as their arg.
hark_buffer *hark__arrival_share(void *remote);
bool hark__arrival_find_part(void *arg, uint16_t number, hark_bytes *out_bytes);
// Gives the bytes of a frame with its parts.
size_t hark__arrival_bytes(const struct arrival *arrival);
// The sink is about to return. What nobody shares goes.
void hark__arrival_forget(struct remote *remote);

#endif // REMOTE_ARRIVAL_H
