// Names: which actor of this node goes by which name.
//
// An actor that ends loses its names. Registering and dying look at each other's trace:
// the one writes `named` and then reads the generation, the other writes the generation
// and then reads `named`, all sequentially consistent; so one of the two removes the
// name. Any thread; locked.

#ifndef ACTOR_NAMES_H
#define ACTOR_NAMES_H

#include <stddef.h>

#include "hark/actor.h"

struct names;
struct slot;

// NULL: no memory.
struct names *hark__names_new(void);
void hark__names_free(struct names *names);

// HARK_EEXIST, HARK_ENOMEM, HARK_EINVAL (see hark_register).
HARK_CHECKED hark_err hark__names_add(struct names *names, const char *name,
                                      hark_ref actor);
// HARK_ENONAME.
HARK_CHECKED hark_err hark__names_remove(struct names *names, const char *name);
// Removes every name of that actor.
void hark__names_forget(struct names *names, uint64_t actor);
// A null ref: nobody. name need not end with a NUL.
hark_ref hark__names_find(struct names *names, const char *name, size_t size);

#endif // ACTOR_NAMES_H
