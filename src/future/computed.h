// Computed: a future that is made from others, the base of every combinator.
//
//   input --ended--\                                 /--> who waits for the result
//   input --ended---> struct computed --settles--> result
//   input --ended--/   (a combinator embeds it)      \--closed: closes the inputs
//
// It owns its inputs: they are kept, and closed when it has no use for them. When the
// result is settled the computed has no more to do and is freed (dissolved) with what
// it still has of inputs; one whose inputs are to be read afterwards stays until the
// result is closed.
//
// Nothing here recurses along a chain. A settled result goes to the table's ready list,
// and the closing of results to its list of the doomed. A callback of the user runs
// only from hark__futures_tell_ready, or where the combinator is made. Any closing may
// run code of the user (destructors), which may close anything. So a computed that is
// at work is busy: when its result is settled or closed meanwhile, it only parts from
// it (future is NULL), and is dissolved when it has done.

#ifndef FUTURE_COMPUTED_H
#define FUTURE_COMPUTED_H

#include "future/future.h"

struct input {
    struct waiter waiter;
    struct computed *of;
    uint64_t id;  // 0: none, or closed
    uint64_t tag; // the combinator's own
    bool lost;    // was closed by somebody else; of is still to be told
};

// How a result hangs on its inputs, for who looks for circles (actor/deadlock.h).
enum needs {
    NEEDS_NOTHING, // it may come by itself, or by an input that is not there yet
    NEEDS_ALL,     // it cannot succeed before all inputs have ended
    NEEDS_ONE,     // one input may do, and there will be no other ones
    NEEDS_FIRST,   // it cannot succeed before the first input has ended
};

struct computed_ops {
    // An input has ended. future: it, until it is closed; NULL: somebody else closed
    // it, which counts as a failure with HARK_ESTALE. The result is open, and computed
    // busy.
    void (*ended)(struct computed *computed, void *turn, struct input *input,
                  struct future *future);
    // Frees what is the combinator's own, but not the struct. May be NULL.
    void (*fini)(struct computed *computed, struct pool *pool, void *turn);
    // The id of the future at index; 0: none. NULL: never any.
    uint64_t (*member)(const struct computed *computed, size_t index);
    enum needs needs;
    bool calls;       // functions of the user, whenever an input has ended
    const char *name; // for hark_dump
};

struct computed {
    const struct computed_ops *ops;
    struct futures *futures;
    struct future *future; // the result; NULL: it is settled or closed
    struct input *inputs;
    size_t input_count;
    struct computed *next_doomed;
    uint8_t size_class;
    bool is_busy; // between enter and leave
};

// The mark of a future that its owner completes itself (hark_future_new).
extern struct computed hark__self_made;

// Gives a struct of size bytes that starts with a struct computed, cleared but for
// that; the inputs follow it, and are none yet. Its future is open. NULL: no memory, or
// the limit. The future belongs to the table, and the computed to the future.
void *hark__computed_new(struct futures *futures, struct pool *pool,
                         const struct computed_ops *ops, size_t size, size_t inputs);
// Watches future, which nobody does, as an input that is none now.
void hark__computed_watch(struct computed *computed, struct input *input,
                          struct future *future);
// True: each of these is there, and nobody watches it.
bool hark__futures_are_free(const struct futures *futures, const hark_future *members,
                            size_t count);
// Watches those, which are free, as all the inputs. One that is named twice is watched
// as the first of the two. Returns how many it watches.
size_t hark__computed_watch_all(struct computed *computed, const hark_future *members);
// Closes an input; nothing if it is none. It is told of no more.
void hark__computed_close_input(struct computed *computed, struct input *input,
                                struct pool *pool, void *turn);

// The result that waiter, of one of its inputs, works for. NULL: it is no such waiter, or
// the result is settled.
struct future *hark__computed_of(const struct waiter *waiter);

// Between these two the struct stays, whatever is done to the result.
void hark__computed_enter(struct computed *computed);
void hark__computed_leave(struct computed *computed, void *turn);

// Each of these settles the result, and with it the computed is over.

// Takes message.
void hark__computed_succeed(struct computed *computed, void *turn,
                            struct hark_message *message);
// text: NULL: the code's own. The result's ended_ns is set before, if it matters.
void hark__computed_fail(struct computed *computed, void *turn, int code,
                         hark_stage stage, const char *text);
// As future ended; NULL: HARK_ESTALE.
void hark__computed_pass(struct computed *computed, void *turn, struct future *future);

// Since when there has been a future, or the first of those that it is made from; 0:
// not known.
int64_t hark__future_since(const struct future *future);

// For hark__future_close: the result is gone.
void hark__computed_close(struct computed *computed, struct futures *futures,
                          struct pool *pool, void *turn);
// For hark__futures_tell_ready: tells of lost inputs.
void hark__computed_wake(struct computed *computed, void *turn);

// ---- callbacks ----

enum outcome_kind { OUTCOME_NONE, OUTCOME_REPLY, OUTCOME_FAILURE, OUTCOME_FUTURE };

// What a callback gives; on the stack of who calls it.
struct outcome {
    struct computed *computed; // for whom it runs
    struct input *input;       // what a future that it gives will be
    struct outcome *outer;     // of the callback that this one runs in
    enum outcome_kind kind;
    int code;                     // FAILURE
    struct hark_message *message; // REPLY; FAILURE: or NULL
};

// Goes around the call of a callback: what it gives is in *outcome. computed is busy.
void hark__outcome_begin(struct outcome *outcome, struct computed *computed,
                         struct input *input);
// False: the result was closed meanwhile.
HARK_CHECKED bool hark__outcome_end(struct outcome *outcome, void *turn);
// Fails the result as outcome, a FAILURE, says.
void hark__outcome_fail(struct outcome *outcome, void *turn);
// Lets go of what outcome holds.
void hark__outcome_free(struct outcome *outcome, void *turn);

static inline struct pool *
hark__turn_pool(const struct computed *computed, void *turn)
{
    return computed->futures->host->pool_of(turn);
}

#endif // FUTURE_COMPUTED_H
