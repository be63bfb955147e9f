// Each chunk is one ask, and each ask ends exactly once: with the counts, which are added
// up, or with a failure, which makes the chunk wait for another worker. So each chunk is
// counted once, whatever happens to the workers.
//
//     free --read--> waiting --ask--> sent --counts--> free
//                       ^              |
//                       +---failure----+
//
// The coordinator never waits. What it does is cut into short turns: `feed` sends one
// chunk at most, and `tick` looks round ten times a second.

#include "coordinator.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "messages.h"

enum {
    TICK_MS = 100,
    REPORT_MS = 10000, // a worker that has not reported by then is lost
    ANSWER_MS = 60000, // a worker that is this slow is lost, too
    MOST_TRIES = 3,    // of one chunk with workers that live on
};

HARK_MESSAGE(feed)
HARK_MESSAGE(tick)

enum chunk_state { CHUNK_FREE, CHUNK_WAITING, CHUNK_SENT };

struct chunk {
    enum chunk_state state;
    uint64_t id;
    hark_buffer *text; // ours, so that it can be sent again
    uint32_t worker;   // whom it was sent to
    uint32_t refusals; // by workers that live on
};

enum worker_state { WORKER_STARTING, WORKER_READY, WORKER_LOST };

struct worker {
    enum worker_state state;
    hark_ref ref;
    int64_t pid;
    uint32_t in_flight;
    hark_promise home; // never kept: it ends with us
};

typedef struct {
    struct job *job;
    struct worker workers[MOST_WORKERS];
    struct chunk *chunks; // as many as can be under way
    uint32_t room;
    uint32_t open; // chunks that are not free
    hark_promise promise;
    uint64_t next_id;
    uint64_t done_bytes;
    uint64_t retried;
    uint32_t lost;
    uint32_t waited_ms;
    bool is_running;
    bool is_feeding; // a `feed` is on its way to us
    bool is_read;    // all of the text was read
    bool has_killed;
} coordinator;

// ---- the end ----

static void
clear_progress(const coordinator *self)
{
    if (self->job->shows_progress) {
        fputs("\r\033[K", stderr);
    }
}

// Work is over. Who has not even reported has nothing to finish, and would only look for
// us until its patience ends.
static void
end_run(coordinator *self)
{
    self->is_running = false;
    clear_progress(self);
    for (uint32_t i = 0; i < self->job->children.count; i++) {
        if (self->workers[i].state == WORKER_STARTING) {
            children_kill(&self->job->children, i);
        }
    }
}

static void
give_up(hark_ctx *ctx, coordinator *self, int code, const char *why)
{
    if (self->is_running) {
        end_run(self);
        hark_break(ctx, self->promise, code, "%s", why);
    }
}

static void
finish_if_done(hark_ctx *ctx, coordinator *self)
{
    if (self->is_running && self->is_read && self->open == 0) {
        end_run(self);
        hark_fulfil(ctx, self->promise, finished, .words = self->job->words.total,
                    .chunks = self->next_id, .retried = self->retried,
                    .lost = self->lost);
    }
}

// ---- workers come and go ----

static void
lose(hark_ctx *ctx, coordinator *self, uint32_t index, const char *why)
{
    struct worker *w = &self->workers[index];
    const uint32_t count = self->job->children.count;

    if (w->state == WORKER_LOST || !self->is_running) {
        return;
    }
    w->state = WORKER_LOST;
    self->lost++;
    clear_progress(self);
    fprintf(stderr, "wordcount: worker %" PRIu32 " is lost: %s\n", index, why);
    if (self->lost == count) {
        hark_str text = hark_format(ctx, "no workers left; the last one: %s", why);

        give_up(ctx, self, HARK_ENONODE, text.ptr);
    }
}

// The ready worker with the least to do; NULL if all have enough.
static struct worker *
idlest(coordinator *self)
{
    struct worker *best = NULL;

    for (uint32_t i = 0; i < self->job->children.count; i++) {
        struct worker *w = &self->workers[i];

        if (w->state == WORKER_READY && w->in_flight < self->job->in_flight
            && (best == NULL || w->in_flight < best->in_flight)) {
            best = w;
        }
    }
    return best;
}

// The ready worker with the most to do; NULL if none has anything.
static struct worker *
busiest(coordinator *self)
{
    struct worker *best = NULL;

    for (uint32_t i = 0; i < self->job->children.count; i++) {
        struct worker *w = &self->workers[i];

        if (w->state == WORKER_READY && w->in_flight > 0
            && (best == NULL || w->in_flight > best->in_flight)) {
            best = w;
        }
    }
    return best;
}

// With --kill-one: a third of the text is counted, so one worker dies of it.
static void
kill_one_in_time(coordinator *self)
{
    struct worker *victim = NULL;

    if (!self->job->kills_one || self->has_killed
        || self->done_bytes < self->job->expected_bytes / 3) {
        return;
    }
    victim = busiest(self);
    if (victim != NULL) {
        self->has_killed = true;
        clear_progress(self);
        fprintf(stderr,
                "wordcount: killing worker %td (pid %" PRId64 ") with %" PRIu32
                " chunks under way\n",
                victim - self->workers, victim->pid, victim->in_flight);
        children_kill(&self->job->children, (uint32_t)(victim - self->workers));
    }
}

// ---- chunks go out ----

static void
feed_later(hark_ctx *ctx, coordinator *self)
{
    if (self->is_running && !self->is_feeding) {
        self->is_feeding = hark_tell(ctx, hark_self(ctx), feed) == HARK_OK;
    }
}

static struct chunk *
chunk_in(coordinator *self, enum chunk_state state)
{
    for (uint32_t i = 0; i < self->room; i++) {
        if (self->chunks[i].state == state) {
            return &self->chunks[i];
        }
    }
    return NULL;
}

static void
chunk_free(coordinator *self, struct chunk *chunk)
{
    hark_buffer_release(chunk->text);
    *chunk = (struct chunk){.state = CHUNK_FREE};
    self->open--;
}

// Reads a new chunk. NULL: all was read, or it failed and the run was given up.
static struct chunk *
read_chunk(hark_ctx *ctx, coordinator *self)
{
    struct chunk *chunk = chunk_in(self, CHUNK_FREE);
    hark_buffer *text = NULL;

    if (chunk == NULL || self->is_read) {
        return NULL;
    }
    switch (reader_next(&self->job->reader, &text)) {
    case READ_CHUNK:
        *chunk =
            (struct chunk){.state = CHUNK_WAITING, .id = self->next_id++, .text = text};
        self->open++;
        return chunk;
    case READ_END:
        self->is_read = true;
        finish_if_done(ctx, self);
        return NULL;
    case READ_LONG_WORD:
        give_up(ctx, self, HARK_ETOOBIG, "a word is too long to be sent");
        return NULL;
    case READ_NO_MEMORY:
        give_up(ctx, self, HARK_ENOMEM, "no memory for a chunk");
        return NULL;
    }
    return NULL;
}

// Does a failure tell of the worker, and not of the chunk?
static bool
means_lost(int code)
{
    return code == HARK_ENONODE || code == HARK_ENOACTOR || code == HARK_ESTOPPED
           || code == HARK_ETIMEOUT;
}

HARK_THEN(coordinator, count, chunk_counts) {
    struct chunk *chunk = arg;

    self->workers[chunk->worker].in_flight--;
    for (size_t i = 0; i < msg->counts.count; i++) {
        const word_count *w = &msg->counts.items[i];

        if (!words_add(&self->job->words, w->word.ptr, w->word.len, w->count)) {
            give_up(ctx, self, HARK_ENOMEM, "no memory for the words");
        }
    }
    self->done_bytes += hark_buffer_size(chunk->text);
    chunk_free(self, chunk);
    kill_one_in_time(self);
    finish_if_done(ctx, self);
    feed_later(ctx, self);
}
HARK_ELSE(coordinator, count) {
    struct chunk *chunk = arg;
    uint32_t index = chunk->worker;
    char line[512];

    hark_error_line(ctx, error, line, sizeof line);
    self->workers[index].in_flight--;
    chunk->state = CHUNK_WAITING; // for another worker
    self->retried++;
    if (means_lost(error->code) || !hark_is_alive(ctx, self->workers[index].ref)) {
        lose(ctx, self, index, error->text);
    } else if (++chunk->refusals == MOST_TRIES) {
        give_up(ctx, self, error->code, line);
    }
    feed_later(ctx, self);
}
HARK_CONTINUATION(coordinator, count, chunk_counts)

static void
send_chunk(hark_ctx *ctx, coordinator *self, struct chunk *chunk, struct worker *to)
{
    hark_future f =
        hark_ask_within(ctx, ANSWER_MS, to->ref, count_chunk, .id = chunk->id,
                        .text = hark_bytes_of_buffer(chunk->text));

    chunk->state = CHUNK_SENT;
    chunk->worker = (uint32_t)(to - self->workers);
    to->in_flight++;
    if (hark_then(ctx, f, coordinator, count, chunk) != HARK_OK) {
        give_up(ctx, self, HARK_ENOMEM, "no memory for an ask");
    }
}

HARK_ON(coordinator, feed) {
    self->is_feeding = false;
    struct worker *to = self->is_running ? idlest(self) : NULL;
    struct chunk *chunk = to != NULL ? chunk_in(self, CHUNK_WAITING) : NULL;

    if (to != NULL && chunk == NULL) {
        chunk = read_chunk(ctx, self);
    }
    if (chunk != NULL) {
        send_chunk(ctx, self, chunk, to);
        feed_later(ctx, self);
    }
}

// ---- what the others say ----

HARK_ON(coordinator, worker_ready) {
    struct worker *w = msg->index < MOST_WORKERS ? &self->workers[msg->index] : NULL;

    if (w == NULL || w->state != WORKER_STARTING) {
        hark_refuse(ctx, HARK_EINVAL, "no such worker is awaited");
        return;
    }
    *w = (struct worker){
        .state = WORKER_READY,
        .ref = msg->worker,
        .pid = msg->pid,
        .home = hark_defer(ctx),
    };
    feed_later(ctx, self);
}

static void
show_progress(const coordinator *self)
{
    uint64_t whole = self->job->expected_bytes;
    double share = whole > 0 ? (double)self->done_bytes / (double)whole : 1;

    if (self->job->shows_progress) {
        fprintf(stderr, "\r\033[K%3.0f %%  %zu distinct words, %" PRIu32 " chunks open",
                share < 1 ? share * 100 : 100, self->job->words.distinct, self->open);
    }
}

static void
look_at(hark_ctx *ctx, coordinator *self, uint32_t index)
{
    const struct worker *w = &self->workers[index];

    if (w->state == WORKER_READY && !hark_is_alive(ctx, w->ref)) {
        lose(ctx, self, index, "its link is down");
    } else if (w->state == WORKER_STARTING
               && !children_runs(&self->job->children, index)) {
        lose(ctx, self, index, "it ended before it reported");
    } else if (w->state == WORKER_STARTING && self->waited_ms > REPORT_MS) {
        lose(ctx, self, index, "it never reported");
    }
}

HARK_ON(coordinator, tick) {
    if (!self->is_running) {
        return;
    }
    self->waited_ms += TICK_MS;
    for (uint32_t i = 0; i < self->job->children.count; i++) {
        look_at(ctx, self, i);
    }
    show_progress(self);
    // relaxed: nothing else comes with it.
    if (atomic_load_explicit(self->job->interrupted, memory_order_relaxed)) {
        give_up(ctx, self, HARK_ECANCELLED, "interrupted");
    }
    feed_later(ctx, self);
    hark_send_after(ctx, TICK_MS, hark_self(ctx), tick);
}

HARK_ON(coordinator, run) {
    self->room = self->job->children.count * self->job->in_flight;
    self->chunks = calloc(self->room, sizeof *self->chunks);
    if (self->chunks == NULL) {
        hark_refuse(ctx, HARK_ENOMEM, "no memory for %" PRIu32 " chunks", self->room);
        return;
    }
    self->promise = hark_defer(ctx);
    self->is_running = true;
    feed_later(ctx, self);
    hark_send_after(ctx, TICK_MS, hark_self(ctx), tick);
}

HARK_HOOK(coordinator, stop) {
    for (uint32_t i = 0; i < self->room; i++) {
        hark_buffer_release(self->chunks[i].text);
    }
    free(self->chunks);
}
HARK_ACTOR_WITH(coordinator, (stop), run, worker_ready, feed, tick)

hark_ref
coordinator_spawn(hark_ctx *ctx, struct job *job)
{
    return hark_spawn(ctx, coordinator, .job = job);
}
