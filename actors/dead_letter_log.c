#include <hark/actors/dead_letter_log.h>

#include <inttypes.h>

#include <hark/hark.h>

enum {
    DEFAULT_LINES = 10,
    SECOND_MS = 1000,
    MAILBOX = 10000, // letters that wait; a storm of them must not fill our memory
    LINE = 1024,
    REF = 128,
};

// A second is over since the first line of it.
HARK_MESSAGE(dead_letter_log_second)

typedef struct {
    hark_dead_letter_log_options options;
    uint32_t written;  // in this second
    uint64_t left_out; // likewise
    bool is_counting;  // a second is running
} dead_letter_log;

// What a stranger sent may stand in a line, and must not become two, or more than text.
static void
write_line(const dead_letter_log *self, char *line)
{
    for (char *c = line; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f) {
            *c = '?';
        }
    }
    fprintf(self->options.out, "%s%s\n", self->options.prefix, line);
    fflush(self->options.out);
}

static void
write_rest(dead_letter_log *self)
{
    char line[LINE];

    if (self->left_out > 0) {
        snprintf(line, sizeof line, "... and %" PRIu64 " more dead letter%s",
                 self->left_out, self->left_out == 1 ? "" : "s");
        write_line(self, line);
        self->left_out = 0;
    }
}

static void
write_letter(hark_ctx *ctx, const dead_letter_log *self, const hark_dead_letter *letter)
{
    char line[LINE];
    char to[REF] = "nobody";

    if (!hark_ref_is_null(letter->to)) {
        hark_ref_print(ctx, letter->to, to, sizeof to);
    }
    snprintf(line, sizeof line, "dead letter: %s: %s: to %s%s%s",
             hark_err_name(letter->code), letter->reason.ptr, to,
             letter->text.len > 0 ? ": " : "", letter->text.ptr);
    write_line(self, line);
}

HARK_ON(dead_letter_log, hark_dead_letter) {
    if (!self->is_counting) {
        self->is_counting =
            hark_send_after(ctx, SECOND_MS, hark_self(ctx), dead_letter_log_second).id
            != 0;
    }
    if (self->written < self->options.lines_a_second) {
        self->written++;
        write_letter(ctx, self, msg);
    } else {
        self->left_out++;
    }
}

HARK_ON(dead_letter_log, dead_letter_log_second) {
    write_rest(self);
    self->written = 0;
    self->is_counting = false;
}

HARK_HOOK(dead_letter_log, stop) {
    write_rest(self);
}

HARK_ACTOR_WITH(dead_letter_log, (stop), hark_dead_letter, dead_letter_log_second)

hark_ref
hark_dead_letter_log(hark_ctx *ctx, const hark_dead_letter_log_options *options)
{
    static const hark_dead_letter_log_options defaults;
    dead_letter_log state = {.options = options != NULL ? *options : defaults};
    const hark_ref nobody = {0, 0};

    state.options.out = state.options.out != NULL ? state.options.out : stderr;
    state.options.prefix = state.options.prefix != NULL ? state.options.prefix : "";
    if (state.options.lines_a_second == 0) {
        state.options.lines_a_second = DEFAULT_LINES;
    }
    hark_ref log = hark_spawn_ref(ctx, &dead_letter_log_behavior, &state,
                                  &(hark_spawn_options){.mailbox_limit = MAILBOX});

    if (!hark_ref_is_null(log) && hark_dead_letters_subscribe(ctx, log) != HARK_OK) {
        hark_actor_stop(ctx, log);
        return nobody;
    }
    return log;
}
