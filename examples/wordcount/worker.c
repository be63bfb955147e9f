#include "worker.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "job.h"
#include "messages.h"
#include "words.h"

// ---- the actor that counts ----

typedef struct {
    struct words words; // of one chunk
} counter;

// Lists the chunk's words in memory that lasts as long as this turn. NULL: none left.
static word_count *
list_words(hark_ctx *ctx, const struct words *words)
{
    word_count *list = hark_alloc(ctx, (words->distinct + 1) * sizeof *list);
    size_t count = 0;

    for (size_t i = 0; list != NULL && i < words->size; i++) {
        const struct word *w = &words->table[i];

        if (w->text != NULL) {
            list[count] = (word_count){.word = {w->text, w->len}, .count = w->count};
            count++;
        }
    }
    return list;
}

HARK_ON(counter, count_chunk) {
    words_clear(&self->words);
    if (!words_add_text(&self->words, msg->text.ptr, msg->text.len)) {
        hark_refuse(ctx, HARK_ENOMEM, "no memory for the words");
        return;
    }
    word_count *list = list_words(ctx, &self->words);

    if (list == NULL) {
        hark_refuse(ctx, HARK_ENOMEM, "no memory for the answer");
        return;
    }
    hark_reply(ctx, chunk_counts, .id = msg->id, .words = self->words.total,
               .counts = {list, self->words.distinct});
}
HARK_HOOK(counter, stop) {
    words_fini(&self->words);
}
HARK_ACTOR_WITH(counter, (stop), count_chunk)

// ---- the process around it ----

static int
complain(hark_ctx *me, const char *index)
{
    char line[512];

    hark_error_line(me, hark_error_of(me), line, sizeof line);
    fprintf(stderr, "wordcount: worker %s: %s\n", index, line);
    return 1;
}

// Offers to work, and waits until the coordinator is gone: that ends the ask.
static int
work(hark_ctx *me, const char *endpoint, const char *index)
{
    char name[512];

    snprintf(name, sizeof name, "%s/coordinator", endpoint);
    hark_ref coordinator = hark_lookup(me, name);

    if (hark_ref_is_null(coordinator)) {
        return complain(me, index);
    }
    hark_ref worker = hark_spawn(me, counter);
    hark_future f =
        hark_ask_within(me, HARK_FOREVER, coordinator, worker_ready, .worker = worker,
                        .index = (uint32_t)strtoul(index, NULL, 10), .pid = getpid());

    (void)!hark_await(me, f, go_home);
    return 0;
}

int
worker_main(const char *endpoint, const char *index)
{
    // The kernel kills us when the thread that started us ends, whatever ended it.
    prctl(PR_SET_PDEATHSIG, SIGKILL);

    hark_system *system =
        hark_start(&(hark_options){.name = "worker", .heartbeat_ms = JOB_HEARTBEAT_MS});
    hark_ctx *me = hark_attach(system);

    if (me == NULL) {
        perror("wordcount: worker");
        return 1;
    }
    int status = work(me, endpoint, index);

    return hark_stop(system, HARK_SECONDS(2)) != HARK_OK ? 1 : status;
}
