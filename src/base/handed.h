// Handed: what ThreadSanitizer must be told of memory that goes to another thread through
// a library that it does not see into.
//
// libzmq orders what we do before a send before what it does with the message, by atomics
// of its own; only where it also writes a descriptor on the way does the sanitizer see
// that. Who gives memory away says so, and who gets it back on libzmq's thread. Without
// the sanitizer both are nothing.

#ifndef BASE_HANDED_H
#define BASE_HANDED_H

#ifdef __has_feature
#define HANDED_HAS(feature) __has_feature(feature)
#else
#define HANDED_HAS(feature) 0
#endif

#if defined(__SANITIZE_THREAD__) || HANDED_HAS(thread_sanitizer)
#define HANDED_IS_SEEN 1
#include <sanitizer/tsan_interface.h>
#else
#define HANDED_IS_SEEN 0
#endif

// What this thread has done so far is done before hark__handed_back of the same address.
static inline void
hark__handed_over(const void *data)
{
    (void)data;
#if HANDED_IS_SEEN
    __tsan_release((void *)(__UINTPTR_TYPE__)data);
#endif
}

static inline void
hark__handed_back(const void *data)
{
    (void)data;
#if HANDED_IS_SEEN
    __tsan_acquire((void *)(__UINTPTR_TYPE__)data);
#endif
}

#endif // BASE_HANDED_H
