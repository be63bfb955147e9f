// Deadlines: the open futures of a table, by when they expire.
//
// Nearly none expires: what counts is that one is put in and taken out at little cost.
// There is a list for each of a few lengths of timeout, in which futures are in order
// by themselves. Those of all other lengths (delays, say, that are drawn at random)
// stand in a pairing heap (Fredman, Sedgewick, Sleator and Tarjan, "The pairing heap",
// 1986), of which nothing is put in order before somebody asks for the first one: until
// then it is a list, too.
//
// by_timeout links a future with those of its list, or with its siblings in the heap;
// later.next is NULL unless it has children there, which expire no sooner than it does.

#ifndef FUTURE_DEADLINES_H
#define FUTURE_DEADLINES_H

#include <stdint.h>

#include "base/list.h"

struct future;

enum { DEADLINE_LISTS = 8 };

struct deadlines {
    uint32_t list_count;
    struct deadline_list {
        uint32_t timeout_ms;
        struct list list;
    } lists[DEADLINE_LISTS];
    struct list roots; // the heap's trees
};

static inline void
hark__deadlines_init(struct deadlines *deadlines)
{
    deadlines->list_count = 0;
    hark__list_init(&deadlines->roots);
}

// The list of that length; NULL: there is none (yet).
static inline struct list *
hark__deadlines_list(struct deadlines *deadlines, uint32_t timeout_ms)
{
    for (uint32_t i = 0; i < deadlines->list_count; i++) {
        if (deadlines->lists[i].timeout_ms == timeout_ms) {
            return &deadlines->lists[i].list;
        }
    }
    return NULL;
}

// Puts a future in that stands nowhere: by_timeout is alone, and later.next NULL.
void hark__deadlines_add(struct deadlines *deadlines, struct future *future);

// Has the children of a future that is about to be taken out, if it has any, stand where
// it stands.
void hark__deadlines_orphan(struct future *future);

// The one that expires first; NULL: there is none.
struct future *hark__deadlines_first(struct deadlines *deadlines);

#endif // FUTURE_DEADLINES_H
