// The stock actor that writes dead letters to a file.

#include "api/world.h"

#include <hark/actors/dead_letter_log.h>

HARK_MESSAGE(parcel, (i64, n), (str, label))

typedef struct {
    char unused;
} addressee;

HARK_ON(addressee, parcel) {
}
HARK_ACTOR(addressee, parcel)

// A world, and a pipe that a log writes to.
struct logged {
    struct world *world;
    hark_ref gone; // an actor that has ended
    FILE *in, *out;
};

static int
setup(void **state)
{
    struct logged *l = calloc(1, sizeof *l);
    int ends[2];

    assert_non_null(l);
    l->world = world_open(REACH_LOCAL, NULL);
    assert_int_equal(pipe(ends), 0);
    l->in = fdopen(ends[0], "r");
    l->out = fdopen(ends[1], "w");
    assert_non_null(l->in);
    assert_non_null(l->out);
    l->gone = hark_spawn(l->world->here, addressee);
    assert_int_equal(hark_actor_stop(l->world->here, l->gone), HARK_OK);
    while (hark_is_alive(l->world->here, l->gone)) {
        assert_null(hark_receive(l->world->here, 1));
    }
    *state = l;
    return 0;
}

static int
teardown(void **state)
{
    struct logged *l = *state;

    if (l->world != NULL) {
        world_close(l->world);
    }
    fclose(l->out);
    fclose(l->in);
    free(l);
    return 0;
}

static hark_ref
start_log(struct logged *l, uint32_t lines)
{
    hark_ref log = hark_dead_letter_log(
        l->world->here,
        &(hark_dead_letter_log_options){
            .out = l->out, .prefix = "post: ", .lines_a_second = lines});

    assert_false(hark_ref_is_null(log));
    return log;
}

static void
lose_parcel(struct logged *l, int64_t n, const char *label)
{
    assert_int_equal(
        hark_tell(l->world->here, l->gone, parcel, .n = n, .label = hark_str_of(label)),
        HARK_ENOACTOR);
}

// Waits for a line, and cuts its end off.
static const char *
next_line(struct logged *l, char *line, size_t size)
{
    assert_non_null(fgets(line, (int)size, l->in));
    char *end = strchr(line, '\n');
    assert_non_null(end);
    *end = '\0';
    return line;
}

static void
line_tells_reason_target_and_message(void **state)
{
    struct logged *l = *state;
    char line[1100];
    char expected[1100];
    char to[128];

    (void)start_log(l, 0);
    lose_parcel(l, 7, "fragile");
    hark_ref_print(l->world->here, l->gone, to, sizeof to);
    snprintf(expected, sizeof expected,
             "post: dead letter: HARK_ENOACTOR: %s: to %s: "
             "parcel{n: 7, label: \"fragile\"}",
             hark_err_text(HARK_ENOACTOR), to);
    assert_string_equal(next_line(l, line, sizeof line), expected);
}

static void
letters_over_the_limit_are_counted_in_one_line(void **state)
{
    enum { LETTERS = 1000, LIMIT = 3 };
    struct logged *l = *state;
    unsigned long told = 0;
    unsigned seconds = 0;
    unsigned written = 0;
    char line[1100];

    (void)start_log(l, LIMIT);
    for (int i = 0; i < LETTERS; i++) {
        lose_parcel(l, i, "");
    }
    while (written + told < LETTERS) {
        unsigned long more;

        if (sscanf(next_line(l, line, sizeof line), "post: ... and %lu more", &more)
            == 1) {
            told += more;
            seconds++;
        } else {
            written++;
        }
    }
    assert_int_equal(written + told, LETTERS);
    assert_in_range(written, LIMIT, LIMIT * (seconds + 1));
    assert_true(told > 0);
    lose_parcel(l, LETTERS, "a new second");
    assert_non_null(strstr(next_line(l, line, sizeof line), "a new second"));
}

static void
what_was_left_out_is_told_when_it_stops(void **state)
{
    struct logged *l = *state;
    char line[1100];

    hark_ref log = start_log(l, 1);
    lose_parcel(l, 0, "first");
    assert_non_null(strstr(next_line(l, line, sizeof line), "first"));
    lose_parcel(l, 1, "second");
    // A stop overtakes what waits; an answer, even this one, comes behind it.
    hark_future f = hark_ask(l->world->here, log, parcel);
    assert_null(hark_await(l->world->here, f, parcel));
    assert_int_equal(hark_error_of(l->world->here)->code, HARK_ENOHANDLER);
    world_close(l->world);
    l->world = NULL;
    next_line(l, line, sizeof line);
    // Unless the machine was so slow that a new second had begun.
    assert_true(strcmp(line, "post: ... and 1 more dead letter") == 0
                || strstr(line, "second") != NULL);
}

static void
strangers_text_stays_in_its_line(void **state)
{
    struct logged *l = *state;
    char line[1100];

    (void)start_log(l, 0);
    lose_parcel(l, 1, "a\nb\r\033[31m");
    next_line(l, line, sizeof line);
    for (const char *c = line; *c != '\0'; c++) {
        assert_true((unsigned char)*c >= ' ');
    }
    lose_parcel(l, 2, "next");
    assert_non_null(strstr(next_line(l, line, sizeof line), "next"));
}

static void
long_message_is_cut(void **state)
{
    struct logged *l = *state;
    char line[1100];
    char *label = calloc(1, 100001);

    assert_non_null(label);
    memset(label, 'x', 100000);
    (void)start_log(l, 0);
    lose_parcel(l, 1, label);
    assert_non_null(strstr(next_line(l, line, sizeof line), "parcel{n: 1"));
    free(label);
}

static void
log_that_was_stopped_writes_no_more(void **state)
{
    struct logged *l = *state;
    hark_ctx *me = l->world->here;
    char line[1100];
    hark_ref log = start_log(l, 0);

    assert_int_equal(hark_actor_stop(me, log), HARK_OK);
    while (hark_is_alive(me, log)) {
        assert_null(hark_receive(me, 1));
    }
    lose_parcel(l, 1, "unseen");
    (void)start_log(l, 0);
    lose_parcel(l, 2, "seen");
    assert_non_null(strstr(next_line(l, line, sizeof line), "\"seen\""));
}

static void
impossible_logs_are_refused(void **state)
{
    struct logged *l = *state;
    hark_ctx *me = l->world->here;
    hark_ref log = {0, 1};

    assert_true(hark_ref_is_null(hark_dead_letter_log(NULL, NULL)));
    for (int i = 0; i < 17; i++) {
        log = hark_dead_letter_log(me, NULL);
    }
    assert_true(hark_ref_is_null(log)); // 16 subscribers are the most
    assert_int_equal(hark_error_of(me)->code, HARK_ELIMIT);
    assert_non_null(strstr(hark_error_of(me)->text, "hark_dead_letters_subscribe"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(line_tells_reason_target_and_message),
        TEST(letters_over_the_limit_are_counted_in_one_line),
        TEST(what_was_left_out_is_told_when_it_stops),
        TEST(strangers_text_stays_in_its_line),
        TEST(long_message_is_cut),
        TEST(log_that_was_stopped_writes_no_more),
        TEST(impossible_logs_are_refused),
    };
    return cmocka_run_group_tests_name("api/dead_letter_log", tests, NULL, NULL);
}
