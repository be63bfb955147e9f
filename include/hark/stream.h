// hark/stream.h - many answers to one request: credits from who takes them, one end.
//
// Who asks opens a stream and takes its items one after the other, by waiting
// (hark_stream_await) or as futures (hark_stream_next). Who is asked begins a stream in
// the handler, and writes: in order, and never more than the other side has room for. A
// write with no room waits, so a slow consumer slows its producer and nothing piles up.
//
//     HARK_ON(shop, list) {                                     // answers
//         hark_sink out = hark_stream_begin(ctx);
//         for (int64_t i = 0; i < msg->count; i++) {
//             if (hark_stream_write(ctx, out, article, .id = i) != HARK_OK) {
//                 return;                                       // nobody listens
//             }
//         }
//         hark_stream_end(ctx, out);
//     }
//
//     hark_stream s = hark_stream_open(ctx, shop, list, .count = 5);    // asks
//     const article *a;
//     while ((a = hark_stream_await(ctx, s, article)) != NULL) { ... }
//     if (hark_error_of(ctx)->code != HARK_EEND) { ... }        // it has failed
//
// Each stream ends once, behind its last item: with HARK_EEND, or with an error: the
// producer's (hark_stream_fail, or its end), or the loss of its node. The same on one
// node and over a link. For the ctx of one turn or thread, as everything.

#ifndef HARK_STREAM_H
#define HARK_STREAM_H

#include <hark/base.h>
#include <hark/future.h>
#include <hark/message.h>

HARK_BEGIN_DECLS

// Where items come from. A plain value; stale once it is closed. All zero is none.
typedef struct hark_stream {
    uint64_t owner;
    uint64_t id;
} hark_stream;

// Where items go. A plain value; stale once the stream has ended. All zero is none.
typedef struct hark_sink {
    uint64_t owner;
    uint64_t id;
} hark_sink;

// ---- taking items ----

// How one stream is done. All zero is a good default.
typedef struct hark_stream_options {
    // Items that may be on their way or wait here; 0: 64; at most 65,535.
    uint32_t window;
    // How long one await or next waits; 0: hark_options.ask_timeout_ms.
    // HARK_FOREVER: no limit.
    uint32_t item_ms;
} hark_stream_options;

// Opens a stream: asks `to`, for as long as it takes, or as the request in hand has
// time (hark/cancel.h). value is copied. It always ends; if it could not even be asked,
// it has failed with the reason. It belongs to the handler or continuation that opens
// it, and is closed when that returns, unless it is kept; a thread's until it is closed
// or the thread detaches. {0}: HARK_ENOMEM, HARK_ELIMIT (the future limit; a stream is
// one), or no ctx. options may be NULL; site is shown in errors, and may be NULL.
HARK_CHECKED hark_stream hark_stream_open_at(hark_ctx *ctx, const char *site,
                                             const hark_stream_options *options,
                                             hark_ref to, const hark_type *type,
                                             const void *value);
// hark_stream_open(ctx, to, message, .field = value, ...)
#define hark_stream_open(ctx, to, ...)                                                 \
    hark_stream_open_at(ctx, HARK_HERE, NULL, to, HARK_TYPE_(__VA_ARGS__),             \
                        HARK_VALUE_(__VA_ARGS__))
// hark_stream_open_with(ctx, options, to, message, .field = value, ...), options as
// &(hark_stream_options){.window = 8}.
#define hark_stream_open_with(ctx, options, to, ...)                                   \
    hark_stream_open_at(ctx, HARK_HERE, options, to, HARK_TYPE_(__VA_ARGS__),          \
                        HARK_VALUE_(__VA_ARGS__))

// Waits for the next item, as hark_await does, but for item_ms at most. The item is
// borrowed until the next call for this stream, or its close. NULL: hark_error_of(ctx)
// is HARK_EEND, as often as it is asked, when all items were taken; HARK_ETIMEOUT:
// nothing came in time, nothing is lost, and it may be called again; HARK_ETYPE: the
// item is of another type, and is skipped; HARK_ESTALE: not an open stream of ctx; else
// why the stream, or the wait, has failed. A handler that replies instead (hark_reply)
// gives a stream of that one item.
HARK_CHECKED const void *hark_stream_await_value(hark_ctx *ctx, hark_stream stream,
                                                 const hark_type *type);
// hark_stream_await(ctx, stream, message): the same, typed.
#define hark_stream_await(ctx, stream, message)                                        \
    ((const message *)hark_stream_await_value(ctx, stream, &message##_type))

// The next item as a future, which may be continued and combined as any other. It may
// be called ahead: each gets its own item, in the order of the calls; an item for one
// that was dropped or has ended goes to the next, but one that it has got already is
// its own, and gone with it (so do not race two of one stream). They fail as above:
// after the last item with HARK_EEND; with HARK_ECANCELLED when the stream is closed;
// with HARK_ENOMEM, too, if the producer could not be told to go on: the next call
// tries again. {0}:
// HARK_ENOMEM, HARK_ELIMIT.
HARK_CHECKED hark_future hark_stream_next(hark_ctx *ctx, hark_stream stream);

// Keeps a stream beyond the handler or continuation that opened it, until it is closed
// or the actor ends. HARK_ESTALE: it is not (or no longer) of ctx.
HARK_API hark_err hark_stream_keep(hark_ctx *ctx, hark_stream stream);

// Closes a stream, whether or not it has ended, with what it holds. The producer of an
// open one hears of it; items on their way become dead letters. HARK_ESTALE likewise.
HARK_API hark_err hark_stream_close(hark_ctx *ctx, hark_stream stream);

// ---- giving items ----

// Takes the ask in hand off the turn: this actor answers it with a stream, in this
// handler or in later turns. If the actor ends first, the stream fails with
// HARK_ESTOPPED. {0}: HARK_ENOASK (nothing was asked, or it is answered); HARK_ENOTSUP
// (it was asked by hark_ask, which takes one reply: it is refused with that);
// HARK_ENOMEM (the same).
HARK_CHECKED hark_sink hark_stream_begin(hark_ctx *ctx);

// Writes an item; value is copied. Without room it waits, as hark_await does (so it
// must not be called in a callback), until the consumer has taken some.
// HARK_ECANCELLED: the consumer has closed the stream or has ended, or its node is
// lost. HARK_ESTALE: the stream has ended, or is not of this actor. HARK_EINVAL,
// HARK_ETOOBIG, HARK_ENOMEM: as hark_tell_value; the stream has failed with that. After
// each of these there is no sink any more (but after a null argument). Else why the
// wait has ended, such as HARK_ESTOPPED: the item was not written.
HARK_API hark_err hark_stream_write_value(hark_ctx *ctx, hark_sink sink,
                                          const hark_type *type, const void *value);
// hark_stream_write(ctx, sink, message, .field = value, ...)
#define hark_stream_write(ctx, sink, ...)                                              \
    hark_stream_write_value(ctx, sink, HARK_TYPE_(__VA_ARGS__),                        \
                            HARK_VALUE_(__VA_ARGS__))

// The same, and never waits. HARK_EAGAIN: there is no room, and nothing was written.
HARK_API hark_err hark_stream_try_write_value(hark_ctx *ctx, hark_sink sink,
                                              const hark_type *type, const void *value);
// hark_stream_try_write(ctx, sink, message, .field = value, ...)
#define hark_stream_try_write(ctx, sink, ...)                                          \
    hark_stream_try_write_value(ctx, sink, HARK_TYPE_(__VA_ARGS__),                    \
                                HARK_VALUE_(__VA_ARGS__))

// What hark_stream_ready's future succeeds with.
HARK_MESSAGE(hark_stream_room, (u32, items))

// A future that succeeds when there is room, or at once if there is. It fails with
// HARK_ECANCELLED when nobody listens any more, and with HARK_ESTALE when the stream
// has ended or is not of this actor. It has no timeout. {0}: HARK_ENOMEM, HARK_ELIMIT.
HARK_CHECKED hark_future hark_stream_ready(hark_ctx *ctx, hark_sink sink);

// Ends a stream: the consumer gets what was written, and then HARK_EEND. HARK_ESTALE,
// HARK_ECANCELLED as above.
HARK_API hark_err hark_stream_end(hark_ctx *ctx, hark_sink sink);
// Ends it with an error, as hark_refuse. HARK_ESTALE, HARK_ECANCELLED, HARK_EINVAL.
HARK_API hark_err hark_stream_fail(hark_ctx *ctx, hark_sink sink, int code,
                                   const char *format, ...) HARK_PRINTF(4, 5);

// True if nobody listens any more, or it is no sink of this actor. Looks for news, as
// hark_cancelled.
HARK_API bool hark_stream_cancelled(hark_ctx *ctx, hark_sink sink);

HARK_END_DECLS

#endif // HARK_STREAM_H
