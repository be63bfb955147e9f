#include "sched/stack.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 // Linux 6.13
#endif

enum {
    PAGE = 4096, // at least; sizes are rounded up to the machine's
    GUARD_BYTES = 16 * 1024,
    STEP = 64,           // stacks that are opened at once
    WARM = 1024,         // free stacks that keep their pages
    PROTECTED = 16000,   // guards by mappings: far enough from the kernel's limit
    LEAST_BYTES = 16384, // a signal's frame and printf fit
};

// Boost.Context's: gives a context that begins with entry on the stack that ends at
// top.
void *make_fcontext(void *top, size_t size, void (*entry)(struct transfer));

// ---- memory ----

static size_t
round_up(size_t bytes, size_t to)
{
    return (bytes + to - 1) / to * to;
}

bool
hark__stacks_init(struct stacks *stacks, size_t size_bytes, uint32_t limit)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t wanted = size_bytes < LEAST_BYTES ? LEAST_BYTES : size_bytes;

    *stacks = (struct stacks){.limit = limit};
    stacks->usable_bytes = round_up(wanted * SANITIZE_STACK_FACTOR, page);
    stacks->stride = stacks->usable_bytes + round_up(GUARD_BYTES, page);
    // Half as many will do where addresses are limited (RLIMIT_AS).
    for (;; stacks->limit /= 2) {
        if (stacks->limit < STEP) {
            return false;
        }
        if (stacks->limit > SIZE_MAX / stacks->stride) {
            continue;
        }
        stacks->range_bytes = stacks->limit * stacks->stride;
        stacks->base = mmap(NULL, stacks->range_bytes, PROT_NONE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (stacks->base != MAP_FAILED) {
            break;
        }
    }
    // Advice: a huge page would give each stack the memory of thirty.
    (void)madvise(stacks->base, stacks->range_bytes, MADV_NOHUGEPAGE);
    pthread_mutex_init(&stacks->lock, NULL);
    return true;
}

static unsigned char *
bottom_of(const struct stacks *stacks, uint32_t index)
{
    return stacks->base + (index + 1) * stacks->stride - stacks->usable_bytes;
}

static struct stack *
at(const struct stacks *stacks, uint32_t index)
{
    return (struct stack *)(bottom_of(stacks, index) + stacks->usable_bytes) - 1;
}

void *
hark__stack_bottom(const struct stacks *stacks, const struct stack *stack)
{
    return bottom_of(stacks, stack->index);
}

bool
hark__stack_is_below(const struct stacks *stacks, const struct stack *stack,
                     const void *address)
{
    uintptr_t bottom = (uintptr_t)bottom_of(stacks, stack->index);
    uintptr_t guard = stacks->stride - stacks->usable_bytes;

    return (uintptr_t)address < bottom && (uintptr_t)address >= bottom - guard;
}

// Nobody goes on with a parked loop any more.
static void
forget_loop(struct stack *stack)
{
    if (stack->parked) {
        stack->parked = false;
        sanitize_end(&stack->sanitize);
    }
}

void
hark__stacks_fini(struct stacks *stacks)
{
    for (struct stack *stack = stacks->warm; stack != NULL; stack = stack->next) {
        forget_loop(stack);
    }
    for (uint32_t i = 0; i < stacks->made; i++) {
        sanitize_unregister(bottom_of(stacks, i), stacks->usable_bytes);
    }
    munmap(stacks->base, stacks->range_bytes);
    free(stacks->cold);
    pthread_mutex_destroy(&stacks->lock);
}

// Closes the pages below a stack. False: the kernel has no room for that.
static bool
close_guard(struct stacks *stacks, uint32_t index)
{
    unsigned char *guard = stacks->base + index * stacks->stride;
    size_t bytes = stacks->stride - stacks->usable_bytes;

    // The leak checker reads stacks by the list of mappings, which knows nothing of
    // installed guards; it never reads guards, though, so these are all right.
    if (stacks->guard == STACK_GUARD_INSTALL
        && madvise(guard, bytes, MADV_GUARD_INSTALL) == 0) {
        return true;
    }
    stacks->guard = STACK_GUARD_PROTECT;
    return index < PROTECTED && mprotect(guard, bytes, PROT_NONE) == 0;
}

// Opens the next step's pages. The lock is held.
static bool
grow(struct stacks *stacks)
{
    uint32_t more = stacks->limit - stacks->open_count;

    more = more < STEP ? more : STEP;
    if (more == 0) {
        return false;
    }
    if (stacks->open_count + more > stacks->cold_room) {
        // Room for each to lie here, so that giving one back cannot fail.
        uint32_t room = (stacks->open_count + more) * 2;
        uint32_t *cold = realloc(stacks->cold, room * sizeof *cold);

        if (cold == NULL) {
            return false;
        }
        stacks->cold = cold;
        stacks->cold_room = room;
    }
    if (mprotect(stacks->base + stacks->open_count * stacks->stride,
                 more * stacks->stride, PROT_READ | PROT_WRITE)
        != 0) {
        return false;
    }
    stacks->open_count += more;
    return true;
}

// A stack that never was. The lock is held.
static struct stack *
make(struct stacks *stacks)
{
    if (stacks->made == stacks->open_count && !grow(stacks)) {
        return NULL;
    }
    uint32_t index = stacks->made;
    if (!close_guard(stacks, index)) {
        return NULL;
    }
    stacks->made++;
    sanitize_register(bottom_of(stacks, index), stacks->usable_bytes);
    struct stack *stack = at(stacks, index);
    stack->index = index;
    return stack;
}

// The lock is held.
static struct stack *
take_shared(struct stacks *stacks)
{
    struct stack *stack = stacks->warm;

    if (stack != NULL) {
        stacks->warm = stack->next;
        stacks->warm_count--;
    } else if (stacks->cold_count > 0) {
        uint32_t index = stacks->cold[--stacks->cold_count];

        stack = at(stacks, index);
        stack->index = index; // its pages were dropped
    } else {
        stack = make(stacks);
    }
    return stack;
}

struct stack *
hark__stack_take(struct stacks *stacks, struct stack_cache *cache)
{
    struct stack *stack = cache->first;

    if (stack != NULL) {
        cache->first = stack->next;
        cache->count--;
    } else {
        pthread_mutex_lock(&stacks->lock);
        stack = take_shared(stacks);
        pthread_mutex_unlock(&stacks->lock);
    }
    if (stack != NULL && !stack->parked) {
        stack->context = NULL;
        sanitize_begin(&stack->sanitize, bottom_of(stacks, stack->index),
                       stacks->usable_bytes);
    }
    return stack;
}

// ---- how deep ----

// Pages are touched from the top down: how far down is one in place?
static size_t
depth_of(const struct stacks *stacks, uint32_t index)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *bottom = bottom_of(stacks, index);
    unsigned char in_place[256];
    size_t step = sizeof in_place * page;

    for (size_t from = 0; from < stacks->usable_bytes; from += step) {
        size_t left = stacks->usable_bytes - from;
        size_t bytes = left < step ? left : step;

        if (mincore(bottom + from, bytes, in_place) != 0) {
            return 0;
        }
        for (size_t i = 0; i < bytes / page; i++) {
            if (in_place[i] & 1) {
                return left - i * page;
            }
        }
    }
    return 0;
}

static void
measure(struct stacks *stacks, uint32_t index)
{
    size_t depth = depth_of(stacks, index);

    if (depth > stacks->deepest_bytes) {
        stacks->deepest_bytes = depth;
    }
}

size_t
hark__stacks_deepest(struct stacks *stacks)
{
    pthread_mutex_lock(&stacks->lock);
    for (uint32_t i = 0; i < stacks->made; i++) {
        measure(stacks, i);
    }
    size_t deepest = stacks->deepest_bytes;
    pthread_mutex_unlock(&stacks->lock);
    return deepest;
}

// ---- giving back ----

// The lock is held.
static void
give_shared(struct stacks *stacks, struct stack *stack)
{
    if (stacks->warm_count < WARM) {
        stack->next = stacks->warm;
        stacks->warm = stack;
        stacks->warm_count++;
        return;
    }
    uint32_t index = stack->index;
    forget_loop(stack);
    measure(stacks, index);
    // Without it they stay: no harm.
    (void)madvise(bottom_of(stacks, index), stacks->usable_bytes, MADV_DONTNEED);
    stacks->cold[stacks->cold_count++] = index;
}

static void
give_some(struct stacks *stacks, struct stack_cache *cache, uint32_t count)
{
    pthread_mutex_lock(&stacks->lock);
    for (; count > 0; count--) {
        struct stack *stack = cache->first;

        cache->first = stack->next;
        cache->count--;
        give_shared(stacks, stack);
    }
    pthread_mutex_unlock(&stacks->lock);
}

void
hark__stack_give(struct stacks *stacks, struct stack_cache *cache, struct stack *stack)
{
    if (!stack->parked) {
        sanitize_end(&stack->sanitize);
    }
    if (cache->count >= STACK_CACHE) {
        give_some(stacks, cache, STACK_CACHE / 2);
    }
    stack->next = cache->first;
    cache->first = stack;
    cache->count++;
}

void
hark__stacks_return(struct stacks *stacks, struct stack_cache *cache)
{
    give_some(stacks, cache, cache->count);
}

// ---- switching ----

static void
begin(struct transfer transfer)
{
    struct stack *stack = transfer.data;

    (void)hark__stack_arrive(transfer);
    stack->entry(stack);
    abort(); // an entry leaves its stack, and never returns
}

void
hark__stack_prepare(struct stack *stack, void (*entry)(struct stack *stack))
{
    // 64: what the calling convention may want above the first frame.
    uintptr_t top = (uintptr_t)stack - 64;

    stack->entry = entry;
    stack->context = make_fcontext((void *)(top & ~(uintptr_t)63), LEAST_BYTES, begin);
}

void
hark__stack_enter(struct stack *home, struct stack *stack,
                  void (*entry)(struct stack *stack))
{
    *home = (struct stack){.context = NULL};
    sanitize_begin_home(&home->sanitize);
    hark__stack_prepare(stack, entry);
    (void)hark__stack_switch(home, stack);
}

_Noreturn void
hark__stack_resume(struct stack *from, struct stack *to)
{
    void *context = to->context;

    assert(context != NULL);
    to->context = NULL;
    to->from = from;
    sanitize_leave(&from->sanitize, &to->sanitize, true);
    (void)jump_fcontext(context, to);
    abort(); // nobody comes back to a stack that was left for good
}
