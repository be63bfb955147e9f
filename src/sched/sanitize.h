// Sanitize: what AddressSanitizer and ThreadSanitizer must be told of stacks.
//
// They follow a thread's stack, and would take a switch to another for a disaster.
// Without them all of this is nothing.

#ifndef SCHED_SANITIZE_H
#define SCHED_SANITIZE_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __has_feature
#define SANITIZE_HAS(feature) __has_feature(feature)
#else
#define SANITIZE_HAS(feature) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || SANITIZE_HAS(address_sanitizer)
#define SANITIZE_ADDRESS 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#else
#define SANITIZE_ADDRESS 0
#endif

#if defined(__SANITIZE_THREAD__) || SANITIZE_HAS(thread_sanitizer)
#define SANITIZE_THREAD 1
#include <sanitizer/tsan_interface.h>
#else
#define SANITIZE_THREAD 0
#endif

// Instrumented frames are several times as large.
enum { SANITIZE_STACK_FACTOR = SANITIZE_ADDRESS || SANITIZE_THREAD ? 4 : 1 };

// What the sanitizers keep of one stack.
struct sanitize {
    void *fake; // ASan's other half of the stack, while the stack is left
    void *fiber;
    const void *bottom;
    size_t size;
};

// A stack of these bytes gets used for the first time, or again.
static inline void
sanitize_begin(struct sanitize *stack, void *bottom, size_t size)
{
    *stack = (struct sanitize){.bottom = bottom, .size = size};
#if SANITIZE_ADDRESS
    __asan_unpoison_memory_region(bottom, size); // frames that were never returned from
#endif
#if SANITIZE_THREAD
    stack->fiber = __tsan_create_fiber(0);
#endif
}

// It is given back.
static inline void
sanitize_end(struct sanitize *stack)
{
#if SANITIZE_THREAD
    __tsan_destroy_fiber(stack->fiber);
#endif
    stack->fiber = NULL;
}

// The calling thread's own stack, whose bounds are learned at the first switch.
static inline void
sanitize_begin_home(struct sanitize *home)
{
    *home = (struct sanitize){.bottom = NULL};
#if SANITIZE_THREAD
    home->fiber = __tsan_get_current_fiber();
#endif
}

// Just before the switch. for_good: nobody comes back to `from`. In its caller's frame:
// as a function it would be entered on one stack and left on the other.
static inline __attribute__((always_inline)) void
sanitize_leave(struct sanitize *from, const struct sanitize *to, bool for_good)
{
    (void)from;
    (void)to;
    (void)for_good;
#if SANITIZE_ADDRESS
    __sanitizer_start_switch_fiber(for_good ? NULL : &from->fake, to->bottom, to->size);
#endif
#if SANITIZE_THREAD
    __tsan_switch_to_fiber(to->fiber, 0);
#endif
}

// Just after it, on `to`.
static inline __attribute__((always_inline)) void
sanitize_arrive(struct sanitize *from, struct sanitize *to)
{
    (void)from;
    (void)to;
#if SANITIZE_ADDRESS
    const void *bottom;
    size_t size;

    __sanitizer_finish_switch_fiber(to->fake, &bottom, &size);
    if (from->bottom == NULL) {
        from->bottom = bottom;
        from->size = size;
    }
#endif
}

// Pointers on a stack count for the leak checker, also while it is left.
static inline void
sanitize_register(void *bottom, size_t size)
{
    (void)bottom;
    (void)size;
#if SANITIZE_ADDRESS
    __lsan_register_root_region(bottom, size);
#endif
}

static inline void
sanitize_unregister(void *bottom, size_t size)
{
    (void)bottom;
    (void)size;
#if SANITIZE_ADDRESS
    __lsan_unregister_root_region(bottom, size);
#endif
}

#endif // SCHED_SANITIZE_H
