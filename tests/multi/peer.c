// Peer: a small node for the multi-process tests, with the public headers only.
//
//     peer serve [ENDPOINT]       listens (tcp://127.0.0.1:0), prints "listening ENDPOINT"
//                                 and the refs of its actors; reads commands from stdin:
//                                 "stats" prints the counts; the end of it stops the node
//     peer ask NAME ITEM...       prints "found REF"; ITEM is a number, which the actor
//                                 echoes; "-": waits for a line on stdin; "?": looks NAME
//                                 up again
//     peer hang NAME [COUNT]      asks COUNT times (1) what is never answered, prints
//                                 "asking REF", and prints how each of them ends
//     peer find NAME              prints "found REF"
//     peer introduce NAME OTHER N makes the actor at NAME ask the one at OTHER for the echo
//                                 of N, and remember it; "-" as OTHER: the remembered one
//
// NAME is ENDPOINT/echo. The exit status of serve is hark_stop's code; of the others 0,
// or 1 after a line of error. In the environment, PEER_HEARTBEAT_MS, PEER_CONNECT_MS
// and PEER_LINK_BYTES set what their names say.

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <hark/hark.h>

HARK_MESSAGE(echo, (i64, n))
HARK_MESSAGE(echoed, (i64, n))
HARK_MESSAGE(hang)
HARK_MESSAGE(ask_other, (ref, other), (i64, n))
HARK_MESSAGE(refuse, (i32, code), (str, text))
HARK_MESSAGE(count_to, (i64, n)) // a stream of echoed
HARK_MESSAGE(stream_other, (ref, other), (u32, window))
HARK_MESSAGE(streamed, (i64, items), (i32, code), (str, text))
HARK_MESSAGE(whence)
HARK_MESSAGE(so_far, (str, text)) // the calls that led to it
HARK_MESSAGE(spot, (f64, x), (f64, y))
HARK_MESSAGE(mirror, (bool, yes), (i8, small), (u64, large), (f32, half), (str, text),
             (bytes, data), (ref, whom), (message, spot, at), (list, i16, numbers),
             (list, message, spot, others))

enum { HEARTBEAT_MS = 500, CONNECT_MS = 10000, STOP_MS = 10000 };

typedef struct {
    hark_promise last_hang; // never kept
    hark_promise asked;     // by ask_other, one at a time
    hark_ref other;
} server;

HARK_ON(server, echo) {
    hark_reply(ctx, echoed, .n = msg->n);
}

HARK_ON(server, hang) {
    self->last_hang = hark_defer(ctx);
}

HARK_THEN(server, other, echoed) {
    hark_fulfil(ctx, self->asked, echoed, .n = msg->n);
}
HARK_ELSE(server, other) {
    hark_break(ctx, self->asked, error->code, "%s", error->text);
}
HARK_CONTINUATION(server, other, echoed)

HARK_ON(server, ask_other) {
    if (!hark_ref_is_null(msg->other)) {
        self->other = msg->other;
    }
    self->asked = hark_defer(ctx);
    hark_future future = hark_ask(ctx, self->other, echo, .n = msg->n);

    if (hark_then(ctx, future, server, other, NULL) != HARK_OK) {
        hark_break(ctx, self->asked, HARK_ENOMEM, "no memory for an ask");
    }
}

HARK_ON(server, refuse) {
    hark_refuse(ctx, msg->code, "%s", msg->text.ptr);
}

HARK_ON(server, count_to) {
    hark_sink out = hark_stream_begin(ctx);

    for (int64_t i = 0; i < msg->n; i++) {
        if (hark_stream_write(ctx, out, echoed, .n = i) != HARK_OK) {
            return;
        }
    }
    (void)hark_stream_end(ctx, out); // who has gone needs no end
}

HARK_ON(server, stream_other) {
    hark_stream in =
        hark_stream_open_with(ctx, &(hark_stream_options){.window = msg->window},
                              msg->other, count_to, .n = 1);
    int64_t items = 0;

    while (hark_stream_await(ctx, in, echoed) != NULL) {
        items++;
    }
    const hark_error *error = hark_error_of(ctx);
    hark_reply(ctx, streamed, .items = items, .code = error->code,
               .text = hark_str_of(error->text));
}

HARK_ON(server, mirror) {
    hark_reply_value(ctx, &mirror_type, msg);
}

HARK_ON(server, whence) {
    char text[20000];

    hark_backtrace(ctx, text, sizeof text);
    hark_reply(ctx, so_far, .text = hark_str_of(text));
}

HARK_ACTOR(server, echo, hang, ask_other, refuse, count_to, stream_other, mirror,
           whence)

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
    while (hark_is_alive(me, stale)) { // it ends in a turn of its own
    }
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
find_and_print(hark_ctx *me, const char *name, hark_ref *out_ref)
{
    int status = find(me, name, out_ref);

    if (status == 0) {
        print_ref("found", *out_ref);
    }
    return status;
}

static int
print_echoed(hark_ctx *me, hark_future future)
{
    const echoed *answer = hark_await(me, future, echoed);

    if (answer == NULL) {
        return print_error(me, "echo");
    }
    printf("echoed %" PRId64 "\n", answer->n);
    fflush(stdout);
    hark_future_drop(me, future);
    return 0;
}

static int
ask_once(hark_ctx *me, hark_ref actor, int64_t n)
{
    return print_echoed(me, hark_ask(me, actor, echo, .n = n));
}

static int
ask_item(hark_ctx *me, const char *name, hark_ref *actor, const char *item)
{
    char line[64];

    if (strcmp(item, "-") == 0) { // so that a test can act between
        (void)!fgets(line, sizeof line, stdin);
        return 0;
    }
    if (strcmp(item, "?") == 0) {
        return find_and_print(me, name, actor);
    }
    return ask_once(me, *actor, strtoll(item, NULL, 10));
}

static int
ask(hark_ctx *me, const char *name, char **items)
{
    hark_ref actor;
    int failed = 0;

    if (find_and_print(me, name, &actor) != 0) {
        return 1;
    }
    for (; *items != NULL; items++) {
        failed |= ask_item(me, name, &actor, *items);
    }
    return failed;
}

static int
introduce(hark_ctx *me, const char *name, const char *other_name, const char *n)
{
    hark_ref actor;
    hark_ref other = {0, 0};

    if (find(me, name, &actor) != 0
        || (strcmp(other_name, "-") != 0 && find(me, other_name, &other) != 0)) {
        return 1;
    }
    return print_echoed(
        me, hark_ask(me, actor, ask_other, .other = other, .n = strtoll(n, NULL, 10)));
}

static int64_t
now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// Prints how each of the asks ends, and when the last one has.
static void
await_all(hark_ctx *me, const hark_future *futures, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        (void)!hark_await(me, futures[i], echoed);
        (void)print_error(me, "hang");
    }
    printf("at %" PRId64 "\n", now_ms());
    fflush(stdout);
}

static int
hang_on(hark_ctx *me, const char *name, size_t count)
{
    hark_ref actor;
    hark_future *futures = calloc(count + 1, sizeof *futures);

    if (futures == NULL || find(me, name, &actor) != 0) {
        free(futures);
        return 1;
    }
    for (size_t i = 0; i < count; i++) {
        futures[i] = hark_ask_within(me, HARK_SECONDS(90), actor, hang);
    }
    int status = ask_once(me, actor, 1); // behind them: now the server has them all

    if (status == 0) {
        print_ref("asking", actor);
        await_all(me, futures, count);
    }
    free(futures);
    return status;
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
        return hang_on(me, argv[2], argc > 3 ? strtoul(argv[3], NULL, 10) : 1);
    }
    if (strcmp(command, "find") == 0 && argc > 2) {
        return find_and_print(me, argv[2], &found);
    }
    if (strcmp(command, "introduce") == 0 && argc > 4) {
        return introduce(me, argv[2], argv[3], argv[4]);
    }
    fprintf(stderr, "peer: no command %s\n", command);
    return 2;
}

static uint32_t
setting(const char *name, uint32_t preset)
{
    const char *value = getenv(name);

    return value != NULL ? (uint32_t)strtoul(value, NULL, 10) : preset;
}

int
main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: peer serve [ENDPOINT] | ask|hang|find|introduce ...\n");
        return 2;
    }
    hark_system *system = hark_start(&(hark_options){
        .workers = 2,
        .name = argv[1],
        .heartbeat_ms = setting("PEER_HEARTBEAT_MS", HEARTBEAT_MS),
        .connect_ms = setting("PEER_CONNECT_MS", CONNECT_MS),
        .link_limit_bytes = setting("PEER_LINK_BYTES", 0),
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
