// hark/base.h - what every other header needs: export marks, errors, durations, refs.
//
// Everything here is a plain value; safe from any thread.

#ifndef HARK_BASE_H
#define HARK_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Around declarations of C functions, for C++.
#ifdef __cplusplus
#define HARK_BEGIN_DECLS extern "C" {
#define HARK_END_DECLS }
#else
#define HARK_BEGIN_DECLS
#define HARK_END_DECLS
#endif

// What libhark.so lets programs see.
#define HARK_API __attribute__((visibility("default")))
// A result that must be looked at.
#define HARK_CHECKED HARK_API __attribute__((warn_unused_result))
// Arguments that the compiler checks as printf's: those from `first` on, by the format
// at place `at`; both count from 1.
#define HARK_PRINTF(at, first) __attribute__((format(printf, at, first)))

#define HARK_STRINGIFY_(x) #x
#define HARK_STRINGIFY(x) HARK_STRINGIFY_(x)
// "file:line" of the call, as one static string.
#define HARK_HERE __FILE__ ":" HARK_STRINGIFY(__LINE__)

// Durations are given in milliseconds; n seconds, up to 4,294,966.
#define HARK_SECONDS(n) ((uint32_t)((n)*1000))
#define HARK_MILLISECONDS(n) ((uint32_t)(n))
// Waits without limit.
#define HARK_FOREVER UINT32_MAX

HARK_BEGIN_DECLS

// What went wrong. 0 is success. The numbers are part of the wire protocol and never
// change their meaning; an application's own refusals start at HARK_EUSER.
typedef enum hark_err {
    HARK_OK = 0,
    HARK_EINVAL = 1,      // an argument that cannot be
    HARK_ENOMEM = 2,      // no memory
    HARK_ETIMEOUT = 3,    // the time allowed ran out
    HARK_ESTOPPED = 4,    // the target stopped before it answered, or the system stops
    HARK_ENOACTOR = 5,    // the ref is stale: its actor has ended, or never was
    HARK_ENOREPLY = 6,    // the handler returned without answering
    HARK_ENOHANDLER = 7,  // the actor has no handler for this type of message
    HARK_ETYPE = 8,       // the type is unknown at the peer, or has other fields there
    HARK_ENONODE = 9,     // the node is not known, or its link is down
    HARK_ENONAME = 10,    // no actor has that name
    HARK_EEXIST = 11,     // the name or the address is taken
    HARK_ELIMIT = 12,     // a bound that the user set was reached
    HARK_EPROTO = 13,     // the peer does not speak our protocol or version
    HARK_EENDPOINT = 14,  // the endpoint is malformed, or cannot be used
    HARK_ECANCELLED = 15, // cancelled or dropped: nobody waits for it any more
    HARK_ESTALE = 16,     // the future or promise has ended, or is not yours
    HARK_ENOASK = 17,     // a reply to a message that was no ask
    HARK_ENOTSUP = 18,    // not possible here
    HARK_EDECODE = 19,    // bytes that are not the message they claim to be
    HARK_ETOOBIG = 20,    // larger than the limit for one message
    HARK_EDEADLK = 21,    // handlers would wait for each other in a circle
    HARK_EEND = 22,       // the stream has no more items
    HARK_EAGAIN = 23,     // not now: there is no room yet
    HARK_EUSER = 1000,    // the first code free for an application's own refusals
} hark_err;

// The symbolic name, such as "HARK_ETIMEOUT"; codes from HARK_EUSER on give
// "HARK_EUSER".
HARK_API const char *hark_err_name(int code);

// One short English phrase, such as "timed out". Never NULL.
HARK_API const char *hark_err_text(int code);

// How far a request got before it failed.
typedef enum hark_stage {
    HARK_STAGE_NOT_SENT, // it never left the sender
    HARK_STAGE_SENT,     // it left; nothing is known of its arrival
    HARK_STAGE_QUEUED,   // it came to the target's mailbox, at least (what ends by its
                         // time or a cancel is not asked how far it is)
    HARK_STAGE_RUNNING,  // the target had begun, or finished, its handler
    HARK_STAGE_REPLY_LOST, // an answer came that could not be used
} hark_stage;

// "not sent", "sent", "queued", "running" or "reply lost".
HARK_API const char *hark_stage_name(hark_stage stage);

// Names an actor on this node or on another. A plain value: copy it, keep it, put it in
// a message. It may outlive its actor; then whatever is sent to it fails with a code.
// All zero names nobody.
typedef struct hark_ref {
    uint64_t node;  // the node's incarnation
    uint64_t actor; // slot and generation there
} hark_ref;

// True if both name the same actor.
static inline bool
hark_ref_equal(hark_ref a, hark_ref b)
{
    return a.node == b.node && a.actor == b.actor;
}

// True if ref names nobody.
static inline bool
hark_ref_is_null(hark_ref ref)
{
    return ref.actor == 0;
}

// A running system: its actors, workers and links. Opaque.
typedef struct hark_system hark_system;

// Who speaks: an actor in its handler, or an attached thread. It belongs to the turn or
// thread that was given it and must not be used by another. Opaque.
typedef struct hark_ctx hark_ctx;

HARK_END_DECLS

#endif // HARK_BASE_H
