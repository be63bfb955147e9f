// wordcount: counts words with several processes, and gets the count right even when one
// of them is killed on the way.
//
//     main ---run---> coordinator ---count_chunk---> worker process 0: counter
//          <-finished-            <--chunk_counts---
//                                 ---count_chunk---> worker process 1: counter
//                                 ...
//
// main starts a system with the coordinator in it, and then itself again as each worker,
// which finds the coordinator by its name.

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <hark/hark.h>

#include "coordinator.h"
#include "files.h"
#include "job.h"
#include "messages.h"
#include "options.h"
#include "report.h"
#include "worker.h"

// Lock-free, so a signal handler may write it; any thread may be the one interrupted.
static _Atomic(bool) interrupted;

static void
interrupt(int number)
{
    (void)number;
    // relaxed: pairs with the coordinator's tick; nothing else comes with it.
    atomic_store_explicit(&interrupted, true, memory_order_relaxed);
}

// The first Ctrl-C lets us clean up; a second one ends us at once.
static void
catch_interrupts(void)
{
    const struct sigaction action = {.sa_handler = interrupt, .sa_flags = SA_RESETHAND};

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

// A private folder for the socket of --transport ipc.
struct folder {
    char path[256];
    char socket[300];
};

static bool
folder_open(struct folder *folder)
{
    const char *tmp = getenv("TMPDIR");

    snprintf(folder->path, sizeof folder->path, "%s/wordcount.XXXXXX",
             tmp != NULL && tmp[0] != '\0' ? tmp : "/tmp");
    if (mkdtemp(folder->path) == NULL) {
        fprintf(stderr, "wordcount: %s: %s\n", folder->path, strerror(errno));
        return false;
    }
    snprintf(folder->socket, sizeof folder->socket, "%s/link", folder->path);
    return true;
}

static void
folder_close(const struct folder *folder)
{
    unlink(folder->socket); // the system may have done so
    rmdir(folder->path);
}

static int
complain(hark_ctx *me)
{
    fprintf(stderr, "wordcount: %s\n", hark_error_of(me)->text);
    return 1;
}

// ---- one run ----

// Lets the coordinator work, and waits for it. Returns the exit status.
static int
coordinate(hark_ctx *me, struct job *job, const char *endpoint, uint32_t workers,
           struct totals *out_totals)
{
    char bound[512];
    hark_ref c = coordinator_spawn(me, job);

    if (hark_register(me, "coordinator", c) != HARK_OK
        || hark_listen(me, endpoint, bound, sizeof bound) != HARK_OK) {
        return complain(me);
    }
    for (uint32_t i = 0; i < workers; i++) {
        if (!children_start(&job->children, bound)) {
            perror("wordcount: cannot start a worker");
            return 1;
        }
    }
    hark_future f = hark_ask_within(me, HARK_FOREVER, c, run);
    const finished *done = hark_await(me, f, finished);

    if (done == NULL) {
        return complain(me);
    }
    out_totals->words = done->words;
    out_totals->chunks = done->chunks;
    out_totals->retried = done->retried;
    out_totals->lost = done->lost;
    return 0;
}

// Starts a system, works, and leaves nothing behind: no thread, process or file.
static int
run_job(const struct options *options, struct job *job, struct totals *out_totals)
{
    struct folder folder = {.path = ""};
    char endpoint[320] = "tcp://127.0.0.1:0";
    int status = 1;

    catch_interrupts();
    if (options->over_ipc) {
        if (!folder_open(&folder)) {
            return 1;
        }
        snprintf(endpoint, sizeof endpoint, "ipc://%s", folder.socket);
    }
    hark_system *system = hark_start(&(hark_options){
        .name = "coordinator",
        .heartbeat_ms = JOB_HEARTBEAT_MS,
        .link_limit_bytes = (options->in_flight + 4) * ((size_t)32 << 20),
    });
    hark_ctx *me = hark_attach(system);

    if (me != NULL) {
        status = coordinate(me, job, endpoint, options->workers, out_totals);
    } else {
        perror("wordcount");
    }
    // The workers see their link end and go home. The job is ours again after this.
    bool is_stopped = hark_stop(system, HARK_SECONDS(10)) == HARK_OK;

    children_wait(&job->children, HARK_SECONDS(3));
    if (options->over_ipc) {
        folder_close(&folder);
    }
    if (!is_stopped) {
        fputs("wordcount: the system did not stop in time\n", stderr);
        _exit(1); // its threads may still use the job
    }
    return status;
}

// ---- before and after ----

static double
seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int
print_result(const struct options *options, FILE *all, const struct words *words,
             const struct totals *totals)
{
    const struct word **sorted = words_sorted(words);
    FILE *out = all == stdout ? stderr : stdout;

    if (sorted == NULL) {
        perror("wordcount");
        return 1;
    }
    if (all != NULL) {
        report_all(all, sorted, words->distinct);
    }
    report_summary(out, sorted, options->top, totals);
    free(sorted);
    if (fflush(stdout) != 0 || (all != NULL && fflush(all) != 0)) {
        perror("wordcount: cannot write the result");
        return 1;
    }
    return 0;
}

static int
count(const struct options *options, struct files *files, FILE *all)
{
    struct totals totals = {.words = 0};
    struct job job = {
        .expected_bytes = files->bytes,
        .in_flight = options->in_flight,
        .kills_one = options->kills_one,
        .shows_progress = isatty(STDERR_FILENO),
        .interrupted = &interrupted,
    };
    double start = seconds_now();

    words_init(&job.words);
    reader_init(&job.reader, files, options->chunk_bytes);
    int status = run_job(options, &job, &totals);

    totals.seconds = seconds_now() - start;
    totals.distinct = job.words.distinct;
    totals.files = job.reader.opened;
    totals.skipped = files->skipped;
    totals.bytes = job.reader.bytes;
    if (status == 0) {
        status = print_result(options, all, &job.words, &totals);
    }
    reader_fini(&job.reader);
    words_fini(&job.words);
    return status;
}

static void
list_files(const struct options *options, const struct files *files)
{
    for (size_t i = 0; i < files->count; i++) {
        printf("%s%c", files->paths[i], options->lists_with_nul ? '\0' : '\n');
    }
}

// Opens what --all names, before any work. False: says why not.
static bool
open_all(const struct options *options, FILE **out_all)
{
    if (options->all != NULL) {
        *out_all = strcmp(options->all, "-") == 0 ? stdout : fopen(options->all, "we");
        if (*out_all == NULL) {
            fprintf(stderr, "wordcount: %s: %s\n", options->all, strerror(errno));
            return false;
        }
    }
    return true;
}

static int
wordcount(const struct options *options, struct files *files)
{
    FILE *all = NULL;

    for (size_t i = 0; i < options->path_count; i++) {
        if (!files_add(files, options->paths[i])) {
            return 2;
        }
    }
    if (options->lists_files) {
        list_files(options, files);
        return 0;
    }
    if (!open_all(options, &all)) {
        return 2;
    }
    int status = count(options, files, all);

    if (all != NULL && all != stdout && fclose(all) != 0) {
        perror("wordcount: cannot write the result");
        status = 1;
    }
    return status;
}

int
main(int argc, char **argv)
{
    struct options options;
    struct files files;

    if (argc == 4 && strcmp(argv[1], "worker") == 0) {
        return worker_main(argv[2], argv[3]);
    }
    options_parse(argc, argv, &options);
    files_init(&files);
    int status = wordcount(&options, &files);

    files_fini(&files);
    return status;
}
