#include "actor/letters.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "actor/ctx.h"
#include "actor/owed.h"
#include "hark/system.h"

enum { LETTER_TEXT = 256 };

struct letters {
    pthread_mutex_t lock;    // guards the subscribers
    _Atomic(unsigned) count; // written under the lock; read by anyone as a hint
    hark_ref subscribers[LETTERS_SUBSCRIBERS];
};

struct letters *
hark__letters_new(void)
{
    struct letters *letters = calloc(1, sizeof *letters);

    if (letters != NULL) {
        pthread_mutex_init(&letters->lock, NULL);
    }
    return letters;
}

void
hark__letters_free(struct letters *letters)
{
    if (letters != NULL) {
        pthread_mutex_destroy(&letters->lock);
        free(letters);
    }
}

// Its place, or count. The lock is held.
static unsigned
find(const struct letters *letters, unsigned count, hark_ref subscriber)
{
    unsigned i = 0;

    while (i < count && !hark_ref_equal(letters->subscribers[i], subscriber)) {
        i++;
    }
    return i;
}

hark_err
hark__letters_add(struct letters *letters, hark_ref subscriber)
{
    hark_err err = HARK_OK;

    pthread_mutex_lock(&letters->lock);
    // relaxed: exact under the lock.
    unsigned count = atomic_load_explicit(&letters->count, memory_order_relaxed);
    if (find(letters, count, subscriber) == count) {
        if (count == LETTERS_SUBSCRIBERS) {
            err = HARK_ELIMIT;
        } else {
            letters->subscribers[count] = subscriber;
            // relaxed: readers take the lock before they look at a subscriber.
            atomic_store_explicit(&letters->count, count + 1, memory_order_relaxed);
        }
    }
    pthread_mutex_unlock(&letters->lock);
    return err;
}

void
hark__letters_remove(struct letters *letters, hark_ref subscriber)
{
    pthread_mutex_lock(&letters->lock);
    // relaxed, twice: exact under the lock; see add.
    unsigned count = atomic_load_explicit(&letters->count, memory_order_relaxed);
    unsigned at = find(letters, count, subscriber);
    if (at < count) {
        letters->subscribers[at] = letters->subscribers[count - 1];
        atomic_store_explicit(&letters->count, count - 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&letters->lock);
}

bool
hark__letters_wanted(struct letters *letters)
{
    // relaxed: who subscribes meanwhile hears of later ones.
    return atomic_load_explicit(&letters->count, memory_order_relaxed) > 0;
}

unsigned
hark__letters_read(struct letters *letters, hark_ref *out)
{
    if (!hark__letters_wanted(letters)) {
        return 0;
    }
    pthread_mutex_lock(&letters->lock);
    unsigned count =
        atomic_load_explicit(&letters->count, memory_order_relaxed); // relaxed: locked
    memcpy(out, letters->subscribers, count * sizeof *out);
    pthread_mutex_unlock(&letters->lock);
    return count;
}

// ---- dead letters themselves ----

static void
tell_subscribers(hark_ctx *ctx, const hark_dead_letter *letter)
{
    struct letters *letters = ctx->node->letters;
    hark_ref subscribers[LETTERS_SUBSCRIBERS];
    unsigned count = hark__letters_read(letters, subscribers);

    for (unsigned i = 0; i < count; i++) {
        struct hark_message *message =
            hark__message_new(ctx_pool(ctx), &hark_dead_letter_type, letter);

        if (message == NULL) {
            return; // it stays counted
        }
        if (hark__send(ctx, subscribers[i], message) == HARK_ENOACTOR) {
            hark__letters_remove(letters, subscribers[i]);
        }
    }
}

// A dead letter about a dead letter is only counted: no subscriber can cause a storm.
static bool
is_letter(const char *type)
{
    return type != NULL && strcmp(type, hark_dead_letter_type.name) == 0;
}

void
hark__letter(hark_ctx *ctx, hark_ref to, hark_ref from, const char *type, int code,
             const char *text)
{
    hark__seat_count(&ctx->seat->dead_letters);
    if (!is_letter(type)) {
        tell_subscribers(ctx, &(hark_dead_letter){
                                  .code = code,
                                  .reason = hark_str_of(hark_err_text(code)),
                                  .type = hark_str_of(type),
                                  .text = hark_str_of(text),
                                  .to = to,
                                  .from = from,
                              });
    }
}

// A message that nobody will handle. text says why if it is more than the code says.
static void
letter_of(hark_ctx *ctx, hark_ref to, const struct outgoing *what, int code,
          const char *text)
{
    char printed[LETTER_TEXT];

    if (what->type == NULL) { // a failure that came too late: it says nothing new
        return;
    }
    hark__seat_count(&ctx->seat->dead_letters);
    if (hark__letters_wanted(ctx->node->letters) && !is_letter(what->type->name)) {
        hark_print(printed, sizeof printed, what->type, what->value);
        tell_subscribers(
            ctx, &(hark_dead_letter){
                     .code = code,
                     .reason = hark_str_of(text != NULL ? text : hark_err_text(code)),
                     .type = hark_str_of(what->type->name),
                     .text = hark_str_of(printed),
                     .to = to,
                     .from = what->from,
                 });
    }
}

void
hark__bounce(hark_ctx *ctx, hark_ref to, const struct outgoing *what, int code,
             hark_stage stage, const char *text)
{
    if (what->kind == MESSAGE_ASK) {
        hark__fail(ctx, what->from, what->correlation, code, stage, text);
    } else if (what->kind != MESSAGE_SYSTEM) {
        letter_of(ctx, to, what, code, text);
    }
}

void
hark__bounce_message(hark_ctx *ctx, hark_ref to, struct hark_message *message, int code,
                     hark_stage stage, const char *text)
{
    struct outgoing what = hark__outgoing_of(message);

    if (message->kind == MESSAGE_ASK) {
        hark__fail_ask(ctx, message, code, stage, text);
        return;
    }
    if (message->kind == MESSAGE_SYSTEM && message->from.node != ctx->node->id) {
        hark__foreign_out(ctx->node); // a probe
    }
    hark__bounce(ctx, to, &what, code, stage, text);
}

hark_err
hark_dead_letters_subscribe(hark_ctx *ctx, hark_ref subscriber)
{
    if (ctx == NULL || hark_ref_is_null(subscriber)) {
        return hark__ctx_error(ctx, HARK_EINVAL,
                               "hark_dead_letters_subscribe: null argument");
    }
    hark_err err = hark__letters_add(ctx->node->letters, subscriber);
    return err == HARK_OK ? HARK_OK
                          : hark__ctx_error(
                              ctx, err,
                              "hark_dead_letters_subscribe: there are %u subscribers "
                              "already",
                              (unsigned)LETTERS_SUBSCRIBERS);
}
