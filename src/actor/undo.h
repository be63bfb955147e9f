// Undo: what a handler undoes last in, first out, when it leaves a scope or is over.

#ifndef ACTOR_UNDO_H
#define ACTOR_UNDO_H

#include "hark/scope.h"
#include "message/message.h"

enum undo_kind { UNDO_CLEANUP, UNDO_TIMER, UNDO_ACTOR };

struct undo {
    struct undo *next; // came before
    hark_cleanup *run;
    void *arg;
    hark_timer timer;
    hark_ref actor;
    struct hark_message *stop; // to send to it
    uint64_t ended;            // the future of its end; 0: none
    uint8_t kind;              // enum undo_kind
    uint8_t size_class;
};

// Each list of these starts with the last one.

// Gives one. NULL: no memory.
struct undo *hark__undo_new(hark_ctx *ctx, enum undo_kind kind);
void hark__undo_free(hark_ctx *ctx, struct undo *undo);

static inline void
hark__undo_push(struct undo **list, struct undo *undo)
{
    undo->next = *list;
    *list = undo;
}

// Undoes the last one; of actors, those that are last, side by side. There is one.
void hark__undo_last(hark_ctx *ctx, struct undo **list);

// scope_end.c

// Runs a cleanup in a shield, and leaves what it has opened.
void hark__scope_clean(hark_ctx *ctx, const struct undo *undo);

#endif // ACTOR_UNDO_H
