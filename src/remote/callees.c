#include "remote/callees.h"

#include <stdlib.h>
#include <string.h>

// ---- what we have heard ----

void
hark__callees_init(struct callees *callees)
{
    callees->rows = NULL;
    pthread_mutex_init(&callees->lock, NULL);
}

void
hark__callees_fini(struct callees *callees)
{
    pthread_mutex_destroy(&callees->lock);
    free(callees->rows);
}

// Incarnations are random, and slots are given in order.
static struct callee *
set_of(const struct callees *callees, hark_ref actor)
{
    uint64_t set = (actor.node ^ (uint32_t)actor.actor) % CALLEE_SETS;

    return &callees->rows[set * CALLEES_OF_SET];
}

// The place of actor in its set, or of the oldest there, which a free one is.
static uint32_t
place_of(const struct callee *set, hark_ref actor)
{
    uint32_t i = 0;

    while (i < CALLEES_OF_SET - 1 && !hark_ref_equal(set[i].actor, actor)) {
        i++;
    }
    return i;
}

// A peer's text, fit to be printed in one line.
static void
copy_name(char out[CALLED_SIZE], hark_str name)
{
    size_t size = name.len < CALLED_SIZE ? name.len : CALLED_SIZE - 1;

    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)name.ptr[i];

        out[i] = byte < 0x20 || byte == 0x7f ? '?' : (char)byte;
    }
    out[size] = '\0';
}

void
hark__callees_learn(struct callees *callees, hark_ref actor, hark_str name)
{
    if (name.len == 0 || hark_ref_is_null(actor)) {
        return;
    }
    pthread_mutex_lock(&callees->lock);
    if (callees->rows == NULL) {
        callees->rows =
            calloc((size_t)CALLEE_SETS * CALLEES_OF_SET, sizeof *callees->rows);
    }
    if (callees->rows != NULL) {
        struct callee *set = set_of(callees, actor);
        uint32_t place = place_of(set, actor);

        memmove(&set[1], &set[0], place * sizeof *set);
        set[0].actor = actor;
        copy_name(set[0].name, name);
    }
    pthread_mutex_unlock(&callees->lock);
}

bool
hark__callees_find(struct callees *callees, hark_ref actor, char out[CALLED_SIZE])
{
    bool is_known = false;

    pthread_mutex_lock(&callees->lock);
    if (callees->rows != NULL) {
        const struct callee *set = set_of(callees, actor);
        const struct callee *callee = &set[place_of(set, actor)];

        is_known = hark_ref_equal(callee->actor, actor);
        if (is_known) {
            memcpy(out, callee->name, CALLED_SIZE);
        }
    }
    pthread_mutex_unlock(&callees->lock);
    return is_known;
}

// ---- what we have asked ----

void
hark__callees_out_fini(struct callees_out *out)
{
    free(out->asked);
    out->asked = NULL;
}

void
hark__callees_ask(struct callees_out *out, uint64_t actor, struct bytes *bytes)
{
    if (out->asked == NULL) {
        out->asked = calloc(CALLEES_ASKED, sizeof *out->asked);
    }
    if (out->asked == NULL) {
        return; // perhaps with the next message
    }
    size_t start = bytes->size;

    hark__entry_who(bytes, actor);
    if (bytes->failed) {
        hark__bytes_truncate(bytes, start);
        return; // likewise
    }
    out->asked[actor % CALLEES_ASKED] = actor;
    out->left--;
}
