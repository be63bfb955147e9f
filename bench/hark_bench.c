// hark_bench: how fast hark is, by its public headers alone.
//
//     hark_bench WORKLOAD [--workers N] [--rounds N]    one workload; N is 1 by default
//     hark_bench all [--workers N] [--rounds N]         each in a process of its own
//     hark_bench serve ENDPOINT [--workers N]           the remote ones' second process
//
// Prints `hark WORKLOAD@WORKERS METRIC VALUE UNIT`, medians of the rounds. Every
// workload checks its own result; a wrong one ends the program with status 1.

#include "support/child.h"
#include "support/measure.h"
#include "workloads/ask.h"
#include "workloads/await.h"
#include "workloads/bench.h"
#include "workloads/cliffs.h"
#include "workloads/crowd.h"
#include "workloads/fairness.h"
#include "workloads/idle.h"
#include "workloads/remote.h"
#include "workloads/scale.h"
#include "workloads/talk.h"
#include "workloads/trade.h"

static const struct workload {
    const char *name;
    void (*run)(struct bench *bench);
    bool once; // a second round in the same process would measure what the first left
} workloads[] = {
    {"pingpong", run_pingpong, false},
    {"counting", run_counting, false},
    {"threadring", run_threadring, false},
    {"fjthrput", run_fjthrput, false},
    {"fjcreate", run_fjcreate, false},
    {"spawn", run_spawn, false},
    {"big", run_big, false},
    {"chameneos", run_chameneos, false},
    {"concdict", run_concdict, false},
    {"bank", run_bank, false},
    {"ask_seq", run_ask_seq, false},
    {"ask_100", run_ask_100, false},
    {"await_seq", run_await_seq, false},
    {"await", run_await, false},
    {"suspended", run_suspended, true},
    {"timers_pair", run_timers_pair, false},
    {"mem", run_mem, true},
    {"mem_5M", run_mem_5M, true},
    {"mem_10M", run_mem_10M, true},
    {"pairs", run_pairs, true},
    {"growth", run_growth, true},
    {"ask_open", run_ask_open, true},
    {"timers_armed", run_timers_armed, true},
    {"sizes", run_sizes, true},
    {"delays", run_delays, true},
    {"nodes", run_nodes, true},
    {"broadcast", run_broadcast, true},
    {"thread_ask", run_thread_ask, false},
    {"fairness", run_fairness, false},
    {"idle", run_idle, true},
    {"remote_tell_30B", run_remote_tell_30B, false},
    {"remote_tell_1KB", run_remote_tell_1KB, false},
    {"remote_tell_64KB", run_remote_tell_64KB, false},
    {"remote_ask_seq", run_remote_ask_seq, false},
    {"remote_await_seq", run_remote_await_seq, false},
    {"remote_ask_1000", run_remote_ask_1000, false},
    {"remote_tell_30B_ipc", run_remote_tell_30B_ipc, false},
    {"remote_tell_1KB_ipc", run_remote_tell_1KB_ipc, false},
    {"remote_tell_64KB_ipc", run_remote_tell_64KB_ipc, false},
    {"remote_ask_seq_ipc", run_remote_ask_seq_ipc, false},
    {"remote_await_seq_ipc", run_remote_await_seq_ipc, false},
    {"remote_ask_1000_ipc", run_remote_ask_1000_ipc, false},
};

enum { WORKLOADS = sizeof workloads / sizeof workloads[0] };

__attribute__((noreturn)) static void
fail_with_usage(void)
{
    fputs("usage: hark_bench WORKLOAD|all [--workers N] [--rounds N]\n"
          "       hark_bench serve ENDPOINT [--workers N]\n"
          "workloads:",
          stderr);
    for (int i = 0; i < WORKLOADS; i++) {
        fprintf(stderr, " %s", workloads[i].name);
    }
    fputc('\n', stderr);
    exit(2);
}

// Runs one workload in all its rounds and prints its figures.
static void
run_workload(const struct workload *workload, const struct bench_options *options)
{
    struct figures figures = {0};
    int rounds = workload->once ? 1 : options->rounds;

    for (int round = 0; round < rounds; round++) {
        struct bench bench = bench_open(options->workers, &figures);

        workload->run(&bench);
        bench_close(&bench);
    }
    figures_print(&figures, "hark", options);
}

// Each in a fresh process, so that none finds the memory that another has left.
static void
run_all(const struct bench_options *options)
{
    char workers[16], rounds[16];

    snprintf(workers, sizeof workers, "%d", options->workers);
    snprintf(rounds, sizeof rounds, "%d", options->rounds);
    for (int i = 0; i < WORKLOADS; i++) {
        const char *const arguments[] = {"hark_bench", workloads[i].name, "--workers",
                                         workers,      "--rounds",        rounds,
                                         NULL};

        child_wait(child_spawn(arguments, -1, -1));
    }
}

int
main(int argc, char **argv)
{
    struct bench_options options;

    (void)argc;
    if (!parse_options(argv, &options)) {
        fail_with_usage();
    }
    if (strcmp(options.workload, "all") == 0) {
        run_all(&options);
        return 0;
    }
    if (strcmp(options.workload, "serve") == 0 && options.argument != NULL) {
        serve(&options);
        return 0;
    }
    for (int i = 0; i < WORKLOADS; i++) {
        if (strcmp(options.workload, workloads[i].name) == 0) {
            run_workload(&workloads[i], &options);
            return 0;
        }
    }
    fail_with_usage();
}
