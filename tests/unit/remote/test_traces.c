// Traces: what we declare of ours on a link, and what we make of a peer's. Its allocations
// fail when it wants them to (tests/CMakeLists.txt).

#include <stdbool.h>

#include "unit/wire/values.h"

#include "remote/traces.h"

static _Thread_local long left = -1; // allocations until one fails; -1: none does

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);

static bool
is_out_of_memory(void)
{
    return left >= 0 && left-- == 0;
}

void *
__wrap_malloc(size_t size)
{
    return is_out_of_memory() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t count, size_t size)
{
    return is_out_of_memory() ? NULL : __real_calloc(count, size);
}

void *
__wrap_realloc(void *memory, size_t size)
{
    return is_out_of_memory() ? NULL : __real_realloc(memory, size);
}

// One side: its rows, and what it has heard.
struct side {
    const char *name;
    struct traces traces;
    struct traces_out out;
    struct traces_in in;
    uint32_t room; // for the other's rows
};

struct bench {
    struct side east, west;
    struct bytes bytes;
};

static void
side_init(struct side *side, const char *name)
{
    *side = (struct side){.name = name, .room = TRACES_OF_PEER};
    assert_true(hark__traces_init(&side->traces));
}

static void
side_fini(struct side *side)
{
    hark__traces_out_fini(&side->out);
    hark__traces_in_fini(&side->in);
    hark__traces_fini(&side->traces);
}

static int
setup(void **state)
{
    static struct bench bench;

    left = -1;
    side_init(&bench.east, "east");
    side_init(&bench.west, "west");
    hark__bytes_init(&bench.bytes);
    *state = &bench;
    return 0;
}

static int
teardown(void **state)
{
    struct bench *bench = *state;

    side_fini(&bench->east);
    side_fini(&bench->west);
    hark__bytes_fini(&bench->bytes);
    return 0;
}

// ---- what happens between two sides ----

static void
take(struct side *to, const char *from, const struct trace_decl *declared)
{
    const struct trace_source source = {&to->traces, to->name, from, &to->room};

    hark__traces_in_declare(&to->in, &source, declared);
}

// Everything that was declared arrives. Returns how many rows.
static uint32_t
arrive(struct bench *bench, struct side *to, const char *from)
{
    struct reader in = hark__reader_of(bench->bytes.data, bench->bytes.size);
    struct entry entry = {0};
    char error[100];
    uint32_t count = 0;
    hark_err err;

    while (hark__entry_next(&in, &entry, &err, error, sizeof error)) {
        assert_int_equal(err, HARK_OK);
        assert_int_equal(entry.kind, ENTRY_TRACE);
        take(to, from, &entry.trace);
        count++;
    }
    hark__bytes_truncate(&bench->bytes, 0);
    return count;
}

// A message with that trace goes from one side to the other. Gives its number there.
static uint16_t
send(struct bench *bench, struct side *from, struct side *to, uint16_t number,
     uint32_t expected_rows)
{
    assert_int_equal(hark__traces_out_count(&from->out, &from->traces, number),
                     expected_rows);
    assert_true(
        hark__traces_out_declare(&from->out, &from->traces, number, &bench->bytes));
    assert_true(number == 0 || hark__traces_out_has(&from->out, number));
    assert_int_equal(arrive(bench, to, from->name), expected_rows);
    return hark__traces_in_find(&to->in, number);
}

static uint16_t
add(struct side *side, const char *site, uint16_t parent)
{
    return hark__traces_recur(&side->traces, &(struct trace){.site = site,
                                                             .who = "teller",
                                                             .in = "transfer",
                                                             .parent = parent});
}

static const struct trace *
row_of(const struct side *side, uint16_t number)
{
    return hark__trace_row(&side->traces, number);
}

// ---- tests ----

static void
rows_are_declared_once_and_parents_first(void **state)
{
    struct bench *bench = *state;
    uint16_t root = add(&bench->east, "a.c:1", 0);
    uint16_t middle = add(&bench->east, "a.c:2", root);
    uint16_t leaf = add(&bench->east, "a.c:3", middle);
    uint16_t other = add(&bench->east, "a.c:4", root);
    uint16_t there = send(bench, &bench->east, &bench->west, leaf, 3);

    assert_int_not_equal(there, 0);
    assert_int_equal(send(bench, &bench->east, &bench->west, leaf, 0), there);
    assert_int_not_equal(send(bench, &bench->east, &bench->west, other, 1), 0);
    for (const char *const *site =
             (const char *const[]){"a.c:3", "a.c:2", "a.c:1", NULL};
         *site != NULL; site++) {
        const struct trace *row = row_of(&bench->west, there);

        assert_string_equal(row->site, *site);
        assert_string_equal(row->who, "teller");
        assert_string_equal(row->in, "transfer");
        assert_string_equal(row->node, "east");
        assert_int_equal(row->kind, TRACE_ASKED);
        there = row->parent;
    }
    assert_int_equal(there, 0);
    assert_int_equal(send(bench, &bench->east, &bench->west, 0, 0), 0);
}

static void
rows_that_come_home_are_the_old_ones(void **state)
{
    struct bench *bench = *state;
    uint16_t here = add(&bench->east, "a.c:1", 0);
    uint16_t there = send(bench, &bench->east, &bench->west, here, 1);
    uint16_t onward = add(&bench->west, "b.c:1", there);
    uint16_t back = send(bench, &bench->west, &bench->east, onward, 2);

    assert_string_equal(row_of(&bench->east, back)->node, "west");
    assert_int_equal(row_of(&bench->east, back)->parent, here);
    // And so a circle closes.
    assert_int_equal(add(&bench->east, "a.c:1", back), here);
    assert_int_equal(bench->east.room, TRACES_OF_PEER - 1);
}

static void
a_new_link_to_the_same_node_takes_no_new_rows(void **state)
{
    struct bench *bench = *state;
    uint16_t here = add(&bench->east, "a.c:1", 0);
    uint16_t there = send(bench, &bench->east, &bench->west, here, 1);

    hark__traces_out_fini(&bench->east.out);
    hark__traces_in_fini(&bench->west.in);
    bench->east.out = (struct traces_out){0};
    bench->west.in = (struct traces_in){0};
    assert_int_equal(hark__traces_in_find(&bench->west.in, here), 0);
    assert_int_equal(send(bench, &bench->east, &bench->west, here, 1), there);
    assert_int_equal(bench->west.room, TRACES_OF_PEER - 1);
}

static void
a_very_deep_trace_is_cut(void **state)
{
    struct bench *bench = *state;
    uint16_t number = 0;
    char site[20];

    for (int i = 0; i < 3 * TRACE_DEPTH; i++) {
        snprintf(site, sizeof site, "a.c:%d", i);
        number = add(&bench->east, site, number);
    }
    uint16_t there = send(bench, &bench->east, &bench->west, number, TRACE_DEPTH);
    for (int i = 0; i < TRACE_DEPTH; i++) {
        there = row_of(&bench->west, there)->parent;
    }
    assert_int_equal(there, 0);
}

static void
what_is_too_long_or_no_text_is_made_fit(void **state)
{
    struct bench *bench = *state;
    char text[2 * TRACE_TEXT + 1];
    const struct trace_decl declared = {
        .number = 7,
        .parent = 6, // never declared
        .kind = 200, // of a later version
        .who = {text, sizeof text - 1},
        .in = {"a\nb\0\x7f", 5},
        .site = {text, sizeof text - 1},
        .node = {"", 0},
    };

    memset(text, 'x', sizeof text);
    memcpy(text, "begin", 5);
    memcpy(text + sizeof text - 4, "end", 4);
    take(&bench->west, "east", &declared);
    const struct trace *row =
        row_of(&bench->west, hark__traces_in_find(&bench->west.in, 7));
    assert_string_equal(row->in, "a?b??");
    assert_int_equal(strlen(row->who), TRACE_TEXT);
    assert_int_equal(strlen(row->site), TRACE_TEXT);
    assert_memory_equal(row->who, "begin", 5);
    assert_string_equal(row->site + TRACE_TEXT - 3, "end");
    assert_string_equal(row->node, "east");
    assert_int_equal(row->parent, 0);
    assert_int_equal(row->kind, 200);
    // Our own long ones are cut before they are sent.
    uint16_t number = add(&bench->east, text, 0);
    assert_int_equal(hark__traces_out_declare(&bench->east.out, &bench->east.traces,
                                              number, &bench->bytes),
                     true);
    assert_true(bench->bytes.size < TRACE_TEXT + 60);
    (void)arrive(bench, &bench->west, "east");
    row = row_of(&bench->west, hark__traces_in_find(&bench->west.in, number));
    assert_string_equal(row->site + TRACE_TEXT - 3, "end");
    // A node without a name is not this one.
    take(&bench->west, "", &(struct trace_decl){.number = 8, .site = {"y", 1}});
    row = row_of(&bench->west, hark__traces_in_find(&bench->west.in, 8));
    assert_string_equal(row->node, "without a name");
}

static void
the_longest_declaration_has_room_in_what_is_reckoned(void **state)
{
    struct bench *bench = *state;
    char text[3 * TRACE_TEXT];

    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    uint16_t number = hark__traces_find(
        &bench->east.traces,
        &(struct trace){.site = text, .who = text, .in = text, .node = text});
    assert_true(hark__traces_out_declare(&bench->east.out, &bench->east.traces, number,
                                         &bench->bytes));
    assert_in_range(bench->bytes.size, 4 * TRACE_TEXT, TRACE_ENTRY);
}

static void
a_peer_adds_so_many_rows_and_no_more(void **state)
{
    struct bench *bench = *state;
    char site[20];

    for (uint32_t i = 1; i <= TRACE_NUMBER_MOST; i++) {
        int size = snprintf(site, sizeof site, "a.c:%u", (unsigned)i);

        take(&bench->west, "east",
             &(struct trace_decl){
                 .number = i, .parent = i - 1, .site = {site, (size_t)size}});
        assert_int_equal(hark__traces_in_find(&bench->west.in, i) != 0,
                         i <= TRACES_OF_PEER);
    }
    assert_int_equal(bench->west.traces.count, TRACES_OF_PEER + 1);
    assert_int_equal(hark__traces_in_find(&bench->west.in, TRACE_NUMBER_MOST + 1), 0);
    assert_int_equal(hark__traces_in_find(&bench->west.in, UINT64_MAX), 0);
    // One that it has may be declared again, under another number too, and counts then.
    const struct trace_decl again = {.number = 65000, .site = {"a.c:1", 5}};
    take(&bench->west, "east", &again);
    assert_int_equal(hark__traces_in_find(&bench->west.in, 65000),
                     hark__traces_in_find(&bench->west.in, 1));
}

static void
without_memory_a_trace_is_unknown_and_no_more(void **state)
{
    struct bench *bench = *state;
    uint16_t root = add(&bench->east, "a.c:1", 0);
    uint16_t leaf = add(&bench->east, "a.c:2", root);
    bool declared = false, known = false;
    long failures = 0;

    for (long i = 0; !declared; i++) { // each allocation of the sender fails once
        left = i;
        declared = hark__traces_out_declare(&bench->east.out, &bench->east.traces, leaf,
                                            &bench->bytes);
        failures += !declared;
        left = -1;
        assert_int_equal(hark__traces_out_has(&bench->east.out, leaf), declared);
        assert_int_equal(hark__traces_out_has(&bench->east.out, root), declared);
        assert_int_equal(bench->bytes.size > 0, declared);
        assert_false(bench->bytes.failed);
    }
    assert_int_equal(failures, 2); // the bits, and the bytes
    failures = 0;
    for (long i = 0; !known; i++) { // and of the receiver
        const struct trace_decl decl = {.number = 5, .site = {"a.c:9", 5}};

        left = i;
        take(&bench->west, "east", &decl);
        left = -1;
        known = hark__traces_in_find(&bench->west.in, 5) != 0;
        failures += !known;
        assert_int_equal(bench->west.room, TRACES_OF_PEER - (known ? 1 : 0));
    }
    assert_int_equal(failures, 2); // the numbers, and the row's texts
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(rows_are_declared_once_and_parents_first),
        TEST(rows_that_come_home_are_the_old_ones),
        TEST(a_new_link_to_the_same_node_takes_no_new_rows),
        TEST(a_very_deep_trace_is_cut),
        TEST(what_is_too_long_or_no_text_is_made_fit),
        TEST(the_longest_declaration_has_room_in_what_is_reckoned),
        TEST(a_peer_adds_so_many_rows_and_no_more),
        TEST(without_memory_a_trace_is_unknown_and_no_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
