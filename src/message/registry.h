// Registry: the message types that one system knows, by name.
//
// The wire needs to find a descriptor from a name. Types come from the program's own
// HARK_MESSAGE declarations when the system starts, and from behaviours when they are
// first spawned. Entries stay until the registry is freed. Any thread; locked.

#ifndef MESSAGE_REGISTRY_H
#define MESSAGE_REGISTRY_H

#include "hark/message.h"

struct registry;

struct registry *hark__registry_new(void);
void hark__registry_free(struct registry *registry);

// Adds type and every type nested in it. HARK_EEXIST: another type of that name with
// other fields is known. HARK_EINVAL: the descriptor is malformed. HARK_ENOMEM.
hark_err hark__registry_add(struct registry *registry, const hark_type *type);

// NULL: unknown.
const hark_type *hark__registry_find(struct registry *registry, const char *name,
                                     size_t name_len);

// How many there are; types are numbered from 0 in the order they were added.
uint32_t hark__registry_count(struct registry *registry);
const hark_type *hark__registry_at(struct registry *registry, uint32_t index);
// The number of a type that was added (by identity, not by address), or UINT32_MAX.
uint32_t hark__registry_index(struct registry *registry, const hark_type *type);

// 64-bit FNV-1a over name and fields (names, kinds, elements, nested types in depth):
// equal for equal types. docs/wire.md specifies the bytes.
uint64_t hark__type_hash(const hark_type *type);

#endif // MESSAGE_REGISTRY_H
