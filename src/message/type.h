// Type: what the rooms above need to know of a descriptor's fields.
//
// Descriptors are constant; any thread.

#ifndef MESSAGE_TYPE_H
#define MESSAGE_TYPE_H

#include "hark/message.h"

// How deep messages may nest, in types and on the wire. Descriptors written by hand may
// refer to themselves through a list, so every walk over types counts its depth.
#define MAX_DEPTH 32

// Any list member, seen without its element type.
static inline const hark_list *
hark__list_at(const void *field)
{
    return (const hark_list *)field;
}

// The bytes that one value of that kind takes in a struct or an array; type is that of
// a message. 0: no such kind.
size_t hark__kind_size(uint8_t kind, const hark_type *type);

// Its name as HARK_MESSAGE spells it, such as "i64".
const char *hark__kind_name(uint8_t kind);

// HARK_OK, or HARK_EINVAL if the descriptor contradicts itself or nests too deep.
hark_err hark__type_check(const hark_type *type);

#endif // MESSAGE_TYPE_H
