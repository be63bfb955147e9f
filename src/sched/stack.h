// Stack: what turns run on, kept in a pool.
//
// A worker's loop runs on a pooled stack. A turn that waits leaves the stack as it is,
// and the worker goes on with its loop on another one; later a worker, perhaps another
// one, leaves its own stack to go on there. So a turn that does not wait pays nothing.
//
// loop, turn ---suspend---> left ---resume (by a loop on another stack)---> turn, loop
//               `-> a free stack: first turn, loop        `-> that stack: free, parked
//
// A free stack keeps the loop that it was left by, between two turns: the next to take
// it goes on with that, which costs less than to begin anew.
//
// One range of addresses for all, which grows in steps. Each stack has pages below it
// that no one may touch. `struct stack` stands at the stack's own upper end, so a stack
// that is hardly used costs one page or two. A stack belongs to whoever took it.
//
// The switch itself is Boost.Context's, in C (its own headers are C++).

#ifndef SCHED_STACK_H
#define SCHED_STACK_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sched/sanitize.h"
#include "sched/task.h"

struct worker;

struct stack {
    void *context;         // where it goes on; NULL: it is running, or begins anew
    bool parked;           // a loop left it that goes on for whoever takes the stack
    struct worker *worker; // whose loop runs on it; that worker writes
    struct task *first;    // whom its loop begins with; NULL: nobody
    task_run *run_first;   // and how
    struct stack *next;    // in a list of free ones
    struct stack *from;    // which was left for it last
    void (*entry)(struct stack *stack); // what a fresh one runs; does not return
    uint32_t index;
    struct sanitize sanitize;
};

// How the pages below a stack are closed.
enum stack_guard {
    STACK_GUARD_INSTALL, // by the page tables alone: any number (Linux 6.13)
    STACK_GUARD_PROTECT, // by mappings, of which the kernel allows some 65,000
};

// All stacks of one scheduler.
struct stacks {
    unsigned char *base; // the range
    size_t range_bytes;
    size_t stride;       // from one stack to the next, with its guard
    size_t usable_bytes; // of one
    uint32_t limit;
    enum stack_guard guard;
    pthread_mutex_t lock; // guards all below
    uint32_t open_count;  // stacks whose pages may be used
    uint32_t made;        // stacks that were ever taken
    struct stack *warm;   // free ones, with their pages
    uint32_t warm_count;
    uint32_t *cold; // free ones, without: their indices
    uint32_t cold_count, cold_room;
    size_t deepest_bytes; // as far as was measured
};

// A worker's own stock of free stacks.
struct stack_cache {
    struct stack *first;
    uint32_t count;
};

enum { STACK_CACHE = 32 }; // free stacks of a worker

// size_bytes: usable bytes of each, rounded up to pages. False: no addresses left.
bool hark__stacks_init(struct stacks *stacks, size_t size_bytes, uint32_t limit);
// No stack is in use.
void hark__stacks_fini(struct stacks *stacks);

// Gives a stack that nobody runs on: parked, or to be prepared. NULL: the limit, or no
// memory.
struct stack *hark__stack_take(struct stacks *stacks, struct stack_cache *cache);
// Takes a stack that nobody runs on, and that was left for good or is parked.
void hark__stack_give(struct stacks *stacks, struct stack_cache *cache,
                      struct stack *stack);
// The same two, where a parked stack is the rule.
static inline struct stack *
hark__stack_take_parked(struct stacks *stacks, struct stack_cache *cache)
{
    struct stack *stack = cache->first;

    if (stack == NULL || !stack->parked) {
        return hark__stack_take(stacks, cache);
    }
    cache->first = stack->next;
    cache->count--;
    return stack;
}
static inline void
hark__stack_give_parked(struct stacks *stacks, struct stack_cache *cache,
                        struct stack *stack)
{
    if (cache->count >= STACK_CACHE) {
        hark__stack_give(stacks, cache, stack);
        return;
    }
    stack->next = cache->first;
    cache->first = stack;
    cache->count++;
}
// Hands back a whole cache, whose owner is going.
void hark__stacks_return(struct stacks *stacks, struct stack_cache *cache);

// The most that any stack has needed so far, in whole pages. Looks at each of them:
// some microseconds a stack.
size_t hark__stacks_deepest(struct stacks *stacks);
// Is that address in the closed pages below it? From a signal handler too.
bool hark__stack_is_below(const struct stacks *stacks, const struct stack *stack,
                          const void *address);
// Its lowest usable byte.
void *hark__stack_bottom(const struct stacks *stacks, const struct stack *stack);

// Runs entry(stack) on a fresh stack; the calling stack is `home`, to which some stack
// leaves in the end. Returns then.
void hark__stack_enter(struct stack *home, struct stack *stack,
                       void (*entry)(struct stack *stack));
// Boost.Context's: saves where we are, and goes on at `to` with data. Returns when
// somebody comes back here: from where, and with what.
struct transfer {
    void *from;
    void *data;
};
struct transfer jump_fcontext(void *to, void *data);
// Has it begin with entry(stack), which does not return.
void hark__stack_prepare(struct stack *stack, void (*entry)(struct stack *stack));

// After a switch, on the stack that is arrived at: the one that was left learns where
// it stands.
static inline __attribute__((always_inline)) struct stack *
hark__stack_arrive(struct transfer transfer)
{
    struct stack *to = transfer.data;
    struct stack *from = to->from;

    sanitize_arrive(&from->sanitize, &to->sanitize);
    from->context = transfer.from;
    return from;
}

// Leaves `from` as it is, and goes on with `to`, which was left or prepared. Returns
// when somebody goes on with `from`: gives the stack that was left for that. In its
// caller's frame: each return on another stack than the call was on is a jump that the
// processor cannot foresee.
static inline __attribute__((always_inline)) struct stack *
hark__stack_switch(struct stack *from, struct stack *to)
{
    void *context = to->context;

    to->context = NULL;
    to->from = from;
    sanitize_leave(&from->sanitize, &to->sanitize, false);
    return hark__stack_arrive(jump_fcontext(context, to));
}

// Leaves `from` for good, and goes on with `to`, which gives it back.
_Noreturn void hark__stack_resume(struct stack *from, struct stack *to);

#endif // SCHED_STACK_H
