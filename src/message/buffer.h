// Buffer: bytes that a message shares instead of holding them.

#ifndef MESSAGE_BUFFER_H
#define MESSAGE_BUFFER_H

#include "hark/message.h"

// Makes a buffer that nobody shares yet one over other memory. release(handle) is
// called with the last reference, on the thread that lets go of it.
void hark__buffer_lend(hark_buffer *buffer, void *data, size_t size,
                       void (*release)(void *handle), void *handle);

#endif // MESSAGE_BUFFER_H
