// Peer: a small node for the multi-process tests, with the public headers only.
//
//     peer serve [ENDPOINT]       listens (tcp://127.0.0.1:0), prints "listening ENDPOINT"
//                                 and the refs of its actors; reads commands from stdin:
//                                 "stats" prints the counts; the end of it stops the node
//     peer ask NAME N...          asks the actor with echo for each N and prints answers
//     peer hang NAME              prints "asking REF", asks what is never answered, and
//                                 prints how that ends
//     peer find NAME              prints the ref
//
// NAME is ENDPOINT/echo. The exit status of serve is hark_stop's code; of the others 0,
// or 1 after a line of error.

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <hark/hark.h>

HARK_MESSAGE(echo, (i64, n))
HARK_MESSAGE(echoed, (i64, n))
HARK_MESSAGE(hang)

enum { HEARTBEAT_MS = 500, CONNECT_MS = 1000, STOP_MS = 10000, HANGING = 64 };

typedef struct {
    hark_promise open[HANGING];
    uint32_t count;
} server;

HARK_ON(server, echo) {
    hark_reply(ctx, echoed, .n = msg->n);
}

HARK_ON(server, hang) {
    self->open[self->count++ % HANGING] = hark_defer(ctx);
}

HARK_ACTOR(server, echo, hang)

static void
print_ref(const char *what, hark_ref ref)
{
    printf("%s %016" PRIx64 "%016" PRIx64 "\n", what, ref.node, ref.actor);
    fflush(stdout);
}

static int
print_error(hark_ctx *me, const char *what)
{
    const hark_error *error = hark_error_of(me);

    printf("%s failed: %s: stage %s: %s\n", what, hark_err_name(error->code),
           hark_stage_name(error->stage), error->text);
    fflush(stdout);
    return 1;
}

// ---- serving ----

static void
print_stats(hark_system *system)
{
    hark_stats stats;

    hark_stats_read(system, &stats);
    printf("stats links %" PRIu64 " frames_rejected %" PRIu64 " dead_letters %" PRIu64
           " actors %" PRIu64 "\n",
           stats.links, stats.frames_rejected, stats.dead_letters, stats.actors);
    fflush(stdout);
}

// An actor that has ended: its ref is stale.
static hark_ref
spawn_stale(hark_ctx *me)
{
    hark_ref stale = hark_spawn(me, server);

    (void)hark_actor_stop(me, stale);
    return stale;
}

static int
serve(hark_system *system, hark_ctx *me, const char *endpoint)
{
    char bound[256];
    char line[64];
    hark_ref actor = hark_spawn(me, server);

    if (hark_register(me, "echo", actor) != HARK_OK
        || hark_listen(me, endpoint, bound, sizeof bound) != HARK_OK) {
        return print_error(me, "serve");
    }
    print_ref("echo", actor);
    print_ref("stale", spawn_stale(me));
    printf("listening %s\n", bound);
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (strcmp(line, "stats\n") == 0) {
            print_stats(system);
        }
    }
    return 0;
}

// ---- asking ----

static int
find(hark_ctx *me, const char *name, hark_ref *out_ref)
{
    *out_ref = hark_lookup(me, name);
    return hark_ref_is_null(*out_ref) ? print_error(me, "lookup") : 0;
}

static int
ask_once(hark_ctx *me, hark_ref actor, int64_t n)
{
    hark_future future = hark_ask(me, actor, echo, .n = n);
    const echoed *answer = hark_await(me, future, echoed);

    if (answer == NULL) {
        return print_error(me, "echo");
    }
    printf("echoed %" PRId64 "\n", answer->n);
    fflush(stdout);
    hark_future_drop(me, future);
    return 0;
}

// Asks for each number; "-" waits for a line on stdin, so that a test can act between.
static int
ask(hark_ctx *me, const char *name, char **numbers)
{
    char line[64];
    hark_ref actor;

    if (find(me, name, &actor) != 0) {
        return 1;
    }
    print_ref("found", actor);
    int failed = 0;
    for (; *numbers != NULL; numbers++) {
        if (strcmp(*numbers, "-") == 0) {
            (void)!fgets(line, sizeof line, stdin);
            continue;
        }
        failed |= ask_once(me, actor, strtoll(*numbers, NULL, 10));
    }
    return failed;
}

static int64_t
now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int
hang_on(hark_ctx *me, const char *name)
{
    hark_ref actor;

    if (find(me, name, &actor) != 0) {
        return 1;
    }
    hark_future future = hark_ask_within(me, HARK_SECONDS(60), actor, hang);
    if (ask_once(me, actor, 1) != 0) { // behind it: now it is in the server's hands
        return 1;
    }
    print_ref("asking", actor);
    (void)!hark_await(me, future, echoed);
    (void)print_error(me, "hang");
    printf("at %" PRId64 "\n", now_ms());
    return 0;
}

// ---- the program ----

static int
run(hark_system *system, hark_ctx *me, int argc, char **argv)
{
    const char *command = argv[1];
    hark_ref found;

    if (strcmp(command, "serve") == 0) {
        return serve(system, me, argc > 2 ? argv[2] : "tcp://127.0.0.1:0");
    }
    if (strcmp(command, "ask") == 0 && argc > 2) {
        return ask(me, argv[2], argv + 3);
    }
    if (strcmp(command, "hang") == 0 && argc > 2) {
        return hang_on(me, argv[2]);
    }
    if (strcmp(command, "find") == 0 && argc > 2) {
        int status = find(me, argv[2], &found);

        if (status == 0) {
            print_ref("found", found);
        }
        return status;
    }
    fprintf(stderr, "peer: no command %s\n", command);
    return 2;
}

int
main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: peer serve [ENDPOINT] | ask|hang|find NAME [N...]\n");
        return 2;
    }
    hark_system *system = hark_start(&(hark_options){
        .workers = 2,
        .name = argv[1],
        .heartbeat_ms = HEARTBEAT_MS,
        .connect_ms = CONNECT_MS,
        .frame_limit_bytes = 4 * 1024 * 1024,
    });
    if (system == NULL) {
        perror("peer: hark_start");
        return 2;
    }
    hark_ctx *me = hark_attach(system);
    int status = me != NULL ? run(system, me, argc, argv) : 2;
    hark_err err = hark_stop(system, STOP_MS);

    if (err != HARK_OK) {
        fprintf(stderr, "peer: hark_stop: %s\n", hark_err_name(err));
    }
    return status != 0 ? status : (int)err;
}
