// Gate: who is at an object of hark/control.h, and who stands in line there.
//
// Whoever comes sends two asks, one behind the other: a hark_hold, which stays open for
// as long as he wants something, and what he wants (hark/control.h has the asking
// side). So his cancel, drop, timeout, end, or the loss of his node is seen as the end
// of the hold, of which a gate_gone tells (hark_promise_watch), also if the answer was
// on its way by then.
//
//               hold          an ask, in vain          admitted
//     (none) ---------> HERE ----------------> LINE -------------> INSIDE
//                         \_____________________/____ gone _________/ ---> (none)
//
// One that could not be told that it was admitted is INSIDE with amount 0.

#ifndef ACTORS_GATE_H
#define ACTORS_GATE_H

#include <hark/control.h>
#include <hark/hark.h>

enum { GATE_NAME = 64, GATE_LIMIT = 65536 };

#define GATE_NONE UINT32_MAX

// The hold of that visit is over. Its sender must be the visitor.
HARK_MESSAGE(gate_gone, (u32, index), (u32, generation))

enum visit_state { VISIT_NONE, VISIT_HERE, VISIT_LINE, VISIT_INSIDE };

// Visitors in order of arrival, by their indices.
struct line {
    uint32_t first, last; // GATE_NONE: it is empty
    uint32_t count;
};

struct visit {
    hark_ref who;
    hark_promise hold;
    hark_promise ask;   // LINE
    hark_future handle; // what the visitor calls his hold
    struct line *line;  // HERE, LINE: where it stands
    uint64_t tag;       // the object's own
    uint32_t amount;    // the object's own; what it has of it
    uint32_t prev, next;
    uint32_t generation; // outlives the visit
    uint8_t state;       // enum visit_state
};

struct gate {
    struct visit *visits;
    uint32_t count, free; // places; the first free one
    uint32_t waiting;     // in lines
    uint32_t limit;       // of that
    struct line here;
    const char *kind; // "semaphore"
    char name[GATE_NAME];
};

// The lines of a gate are set up by the actor's start hook, when it has its place.
void hark__line_init(struct line *line);
// kind is static. name may be NULL; it is copied and cut. limit 0: GATE_LIMIT.
void hark__gate_init(struct gate *gate, const char *kind, const char *name,
                     uint32_t limit);
// In a stop hook: fails who stands in line.
void hark__gate_fini(hark_ctx *ctx, struct gate *gate);

// Handles a hark_hold.
void hark__gate_hold(hark_ctx *ctx, struct gate *gate);
// Whose ask is in hand, HERE. NULL: nobody's; it is refused.
struct visit *hark__gate_visit(hark_ctx *ctx, struct gate *gate);
// Puts a visit that is HERE at the end of a line, and defers its ask. False: it is
// refused.
bool hark__gate_wait(hark_ctx *ctx, struct gate *gate, struct visit *visit,
                     struct line *line);
// Takes those out of a line whose holds are over, of which it will be told.
void hark__gate_prune(hark_ctx *ctx, struct gate *gate, struct line *line);
// Answers a visit, HERE (by the ask in hand) or LINE; then it is INSIDE. False: nobody
// waits for the answer, or it could not be sent; its amount is 0.
bool hark__gate_admit(hark_ctx *ctx, struct gate *gate, struct visit *visit,
                      const hark_type *type, const void *value);
// Fails one that is in LINE; then it is INSIDE, with amount 0.
void hark__gate_fail(hark_ctx *ctx, struct gate *gate, struct visit *visit, int code,
                     const char *text);
// Handles a gate_gone: the visit, which was *out_was, is no more. False: it was none.
bool hark__gate_gone(hark_ctx *ctx, struct gate *gate, const gate_gone *gone,
                     struct visit *out_was);
// The first in line; NULL: nobody.
struct visit *hark__gate_first(struct gate *gate, const struct line *line);
// Its name, for outcomes; 0 is none.
uint64_t hark__gate_number(const struct gate *gate, const struct visit *visit);
// NULL: it has gone, or is not of the sender.
struct visit *hark__gate_find(hark_ctx *ctx, struct gate *gate, uint64_t number);

// ---- the asking side ----

// Gives a hold on object: it outlives the request in hand.
hark_future hark__gate_ask_hold(hark_ctx *ctx, const char *site, hark_ref object);
// Asks for what is only waited for: the hold ends with it.
hark_future hark__gate_ask(hark_ctx *ctx, const char *site, uint32_t timeout_ms,
                           hark_ref object, const hark_type *type, const void *value);

#endif // ACTORS_GATE_H
