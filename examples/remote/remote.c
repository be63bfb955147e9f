// The same actor as in hello.c, asked from another process:
//
//     remote serve tcp://127.0.0.1:7000            in one terminal, until Ctrl-D
//     remote ask tcp://127.0.0.1:7000/greeter Ann  in another

#include <hark/actors/dead_letter_log.h>
#include <hark/hark.h>
#include <stdio.h>
#include <string.h>

HARK_MESSAGE(greet, (str, name))
HARK_MESSAGE(greeting, (str, text), (u32, count))

typedef struct {
    uint32_t count;
} greeter;

HARK_ON(greeter, greet) {
    hark_str text = hark_format(ctx, "Hello, %s!", msg->name.ptr);
    hark_reply(ctx, greeting, .text = text, .count = ++self->count);
}
HARK_ACTOR(greeter, greet)

// Prints why the last call failed. Returns the exit status for it.
static int
complain(hark_ctx *me)
{
    char text[2048];

    hark_error_print(me, hark_error_of(me), text, sizeof text);
    fprintf(stderr, "remote: %s\n", text);
    return 1;
}

static int
serve(hark_ctx *me, const char *endpoint)
{
    char bound[256];
    hark_ref g = hark_spawn(me, greeter);

    // Whatever goes astray here is told on stderr.
    hark_dead_letter_log(me, &(hark_dead_letter_log_options){.prefix = "remote: "});
    if (hark_register(me, "greeter", g) != HARK_OK
        || hark_listen(me, endpoint, bound, sizeof bound) != HARK_OK) {
        return complain(me);
    }
    puts(bound); // port 0 in endpoint has become a real one
    fflush(stdout);
    while (getchar() != EOF) {
    }
    return 0;
}

static int
ask(hark_ctx *me, const char *whom, const char *name)
{
    hark_ref g = hark_lookup(me, whom); // the only line that knows of the network

    if (hark_ref_is_null(g)) {
        return complain(me);
    }
    hark_future f = hark_ask(me, g, greet, .name = hark_str_of(name));
    const greeting *answer = hark_await(me, f, greeting);

    if (answer == NULL) {
        return complain(me);
    }
    printf("%s (greeting %u)\n", answer->text.ptr, answer->count);
    return 0;
}

int
main(int argc, char **argv)
{
    bool serves = argc == 3 && strcmp(argv[1], "serve") == 0;
    bool asks = argc == 4 && strcmp(argv[1], "ask") == 0;

    if (!serves && !asks) {
        fputs("usage: remote serve ENDPOINT | remote ask ENDPOINT/greeter NAME\n",
              stderr);
        return 2;
    }
    hark_system *system =
        hark_start(&(hark_options){.name = serves ? "server" : "client"});
    hark_ctx *me = hark_attach(system);

    if (me == NULL) {
        perror("remote");
        return 1;
    }
    int status = serves ? serve(me, argv[2]) : ask(me, argv[2], argv[3]);

    return hark_stop(system, HARK_SECONDS(5)) != HARK_OK ? 1 : status;
}
