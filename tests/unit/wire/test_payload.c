// Payload: messages to msgpack and back, and what is made of bytes that are no message.

#include "unit/wire/values.h"

#include <float.h>
#include <math.h>

#include <msgpack.h>

#include "message/buffer.h"
#include "unit/message/shapes.h"
#include "wire/payload.h"

HARK_MESSAGE(short_one, (u8, a))
HARK_MESSAGE(long_one, (u8, a), (str, text), (bytes, data), (list, i64, numbers),
             (message, deposit, price), (ref, who))

enum { LIMIT_BYTES = 1024 * 1024 };

static const hark_type *const shapes[] = {
    &get_balance_type, &deposit_type, &point_type, &line_type,  &drawing_type,
    &numbers_type,     &lists_type,   &blob_type,  &album_type, &long_one_type,
};

enum { SHAPES = sizeof shapes / sizeof shapes[0] };

struct bench {
    struct depot *depot;
    struct pool *pool;
    struct bytes bytes;
    char error[200];
};

static int
setup(void **state)
{
    static struct bench bench;

    bench = (struct bench){.depot = hark__depot_open()};
    bench.pool = hark__pool_open(bench.depot);
    hark__bytes_init(&bench.bytes);
    *state = &bench;
    return bench.pool == NULL;
}

static int
teardown(void **state)
{
    struct bench *bench = *state;

    hark__bytes_fini(&bench->bytes);
    hark__pool_close(bench->pool);
    hark__depot_close(bench->depot);
    return 0;
}

// Decodes a block of just that size, into a block of the size that was guessed. NULL:
// *out_err, and bench->error says why.
static struct hark_message *
decode_guessing(struct bench *bench, const hark_type *type, const void *data,
                size_t size, uint16_t *guess, hark_err *out_err)
{
    uint8_t *copy = exact_copy(data, size);
    struct reader in = hark__reader_of(copy, size);
    struct hark_message *message = NULL;
    struct payload_options options = {.limit_bytes = LIMIT_BYTES,
                                      .guess = guess,
                                      .error = bench->error,
                                      .error_size = sizeof bench->error};

    snprintf(bench->error, sizeof bench->error, "untouched");
    *out_err = hark__payload_decode(bench->pool, type, &in, &options, &message);
    if (*out_err != HARK_OK) {
        assert_null(message);
        assert_ptr_equal(in.at, copy);
        assert_string_not_equal(bench->error, "untouched");
    } else {
        assert_string_equal(bench->error, "untouched");
    }
    free(copy);
    return message;
}

// Whatever size was guessed before, the same must come of it.
static void
assert_same_guessing(struct bench *bench, const hark_type *type, const void *data,
                     size_t size, const struct hark_message *expected)
{
    static const uint16_t guesses[] = {0, 24, 64, 128, 256};
    char error[sizeof bench->error];
    struct bytes once, again;

    memcpy(error, bench->error, sizeof error);
    hark__bytes_init(&once);
    if (expected != NULL) {
        assert_int_equal(hark__payload_encode(&once, type, expected + 1, NULL),
                         HARK_OK);
    }
    for (size_t i = 0; i < sizeof guesses / sizeof guesses[0]; i++) {
        uint16_t next = guesses[i];
        hark_err err;
        struct hark_message *message =
            decode_guessing(bench, type, data, size, &next, &err);

        assert_int_equal(message == NULL, expected == NULL);
        assert_string_equal(bench->error, error);
        if (message != NULL) {
            assert_int_equal(message->size, expected->size);
            assert_true(next == 0 || (next >= message->size && next % 64 == 0));
            hark__bytes_init(&again);
            assert_int_equal(hark__payload_encode(&again, type, message + 1, NULL),
                             HARK_OK);
            assert_int_equal(again.size, once.size);
            assert_memory_equal(again.data, once.data, once.size);
            hark__bytes_fini(&again);
            hark__message_free(bench->pool, message);
        }
    }
    hark__bytes_fini(&once);
}

static struct hark_message *
decode(struct bench *bench, const hark_type *type, const void *data, size_t size,
       hark_err *out_err)
{
    struct hark_message *message =
        decode_guessing(bench, type, data, size, NULL, out_err);

    if (*out_err == HARK_OK || *out_err == HARK_EDECODE) {
        assert_same_guessing(bench, type, data, size, message);
    }
    return message;
}

static struct hark_message *
decode_ok(struct bench *bench, const hark_type *type, const void *data, size_t size)
{
    hark_err err;
    struct hark_message *message = decode(bench, type, data, size, &err);

    if (message == NULL) {
        fail_msg("%s: %s", hark_err_name(err), bench->error);
    }
    return message;
}

static void
assert_refused(struct bench *bench, const hark_type *type, const void *data,
               size_t size, const char *error)
{
    hark_err err;

    assert_null(decode(bench, type, data, size, &err));
    assert_string_equal(bench->error, error);
    assert_int_equal(err, HARK_EDECODE);
}

static void
encode(struct bench *bench, const hark_type *type, const void *value)
{
    hark__bytes_truncate(&bench->bytes, 0);
    assert_int_equal(hark__payload_encode(&bench->bytes, type, value, NULL), HARK_OK);
}

// ---- round trips ----

static void
a_message_is_an_array_of_its_fields(void **state)
{
    struct bench *bench = *state;
    const line value = {.from = {1.5, 0}, .to = {0, 1}, .width = 200};

    encode(bench, &deposit_type, &(deposit){.amount = -2, .memo = HARK_STR("x")});
    assert_bytes(&bench->bytes, RAW("\x92\xfe\xa1x"));
    encode(bench, &get_balance_type, &(get_balance){0});
    assert_bytes(&bench->bytes, RAW("\x90"));
    encode(bench, &line_type, &value);
    assert_bytes(&bench->bytes, RAW("\x93"
                                    "\x92\xcb\x3f\xf8\0\0\0\0\0\0\xcb\0\0\0\0\0\0\0\0"
                                    "\x92\xcb\0\0\0\0\0\0\0\0\xcb\x3f\xf0\0\0\0\0\0\0"
                                    "\xcc\xc8"));
}

static void
extreme_values_of_each_kind_come_back(void **state)
{
    struct bench *bench = *state;
    const numbers rows[] = {
        {.b = true,
         .s8 = INT8_MIN,
         .s16 = INT16_MIN,
         .s32 = INT32_MIN,
         .s64 = INT64_MIN,
         .n8 = UINT8_MAX,
         .n16 = UINT16_MAX,
         .n32 = UINT32_MAX,
         .n64 = UINT64_MAX,
         .f = -FLT_MAX,
         .d = DBL_MAX,
         .who = {UINT64_MAX, UINT64_MAX}},
        {.s8 = INT8_MAX,
         .s16 = INT16_MAX,
         .s32 = INT32_MAX,
         .s64 = INT64_MAX,
         .f = INFINITY,
         .d = -INFINITY},
        {.f = FLT_TRUE_MIN, .d = DBL_TRUE_MIN, .who = {0, 1}},
        {.f = -0.0f, .d = -0.0},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        encode(bench, &numbers_type, &rows[i]);
        struct hark_message *message =
            decode_ok(bench, &numbers_type, bench->bytes.data, bench->bytes.size);
        assert_true(values_same(&numbers_type, (const uint8_t *)&rows[i],
                                hark__message_payload(message)));
        hark__message_free(bench->pool, message);
    }
}

static void
values_of_chance_come_back_as_they_were(void **state)
{
    struct bench *bench = *state;

    for (uint64_t seed = 0; seed < 300; seed++) {
        struct values values = values_of(seed);
        const hark_type *type = shapes[seed % SHAPES];
        uint8_t *value = values_alloc(&values, type->size);

        values_fill(&values, type, value);
        encode(bench, type, value);
        struct hark_message *message =
            decode_ok(bench, type, bench->bytes.data, bench->bytes.size);
        if (!values_same(type, value, hark__message_payload(message))) {
            fail_msg("seed %llu: %s came back otherwise", (unsigned long long)seed,
                     type->name);
        }
        assert_ptr_equal(message->type, type);
        hark__message_free(bench->pool, message);
        values_fini(&values);
    }
}

static void
text_ends_with_a_nul_and_is_never_null(void **state)
{
    struct bench *bench = *state;
    struct hark_message *message =
        decode_ok(bench, &deposit_type, RAW("\x92\x01\xa2xy"));
    const deposit *d = hark__message_payload(message);

    assert_string_equal(d->memo.ptr, "xy");
    hark__message_free(bench->pool, message);
    message = decode_ok(bench, &deposit_type, RAW("\x92\x01\xa0"));
    d = hark__message_payload(message);
    assert_string_equal(d->memo.ptr, "");
    hark__message_free(bench->pool, message);
}

// ---- fields that one side does not have ----

static void
missing_fields_are_zero_or_empty(void **state)
{
    struct bench *bench = *state;
    struct hark_message *message = decode_ok(bench, &long_one_type, RAW("\x91\x07"));
    const long_one *value = hark__message_payload(message);

    assert_int_equal(value->a, 7);
    assert_string_equal(value->text.ptr, "");
    assert_int_equal(value->data.len, 0);
    assert_non_null(value->data.ptr);
    assert_int_equal(value->numbers.count, 0);
    assert_string_equal(value->price.memo.ptr, "");
    assert_int_equal(value->price.amount, 0);
    assert_true(hark_ref_is_null(value->who));
    hark__message_free(bench->pool, message);
}

static void
further_fields_are_skipped_also_in_nested_messages(void **state)
{
    struct bench *bench = *state;
    struct hark_message *message =
        decode_ok(bench, &short_one_type,
                  RAW("\x95\x07\xa1x\x92\x01\x81\xa1k\xc0\xc0\xcb\0\0\0"
                      "\0\0\0\0\0"));
    const short_one *value = hark__message_payload(message);

    assert_int_equal(value->a, 7);
    hark__message_free(bench->pool, message);
    // drawing: title, origin with a third field, outline of two points, one with more
    message = decode_ok(bench, &drawing_type,
                        RAW("\x93\xa1t\x93\x01\x02\x03"
                            "\x92\x93\x04\x05\xc0\x92\x06\x07"));
    const drawing *d = hark__message_payload(message);
    assert_true(d->origin.x == 1 && d->origin.y == 2);
    assert_int_equal(d->outline.count, 2);
    assert_true(d->outline.items[0].y == 5 && d->outline.items[1].x == 6);
    hark__message_free(bench->pool, message);
    assert_refused(bench, &short_one_type, RAW("\x93\x07\xc0\xa5x"),
                   "short_one: a field behind the last is cut off");
}

// ---- input that is no such message ----

static void
wrong_kinds_are_named_with_their_field(void **state)
{
    struct bench *bench = *state;

    assert_refused(bench, &deposit_type, RAW("\x92\xa1x\xa1y"),
                   "deposit.amount: expected an integer, found a string");
    assert_refused(bench, &deposit_type, RAW("\x92\x01\x02"),
                   "deposit.memo: expected a string, found an integer");
    assert_refused(bench, &deposit_type, RAW("\x92\x01\xc4\x01x"),
                   "deposit.memo: expected a string, found bytes");
    assert_refused(bench, &deposit_type, RAW("\x81\x01\x02"),
                   "deposit: expected an array, found a map");
    assert_refused(bench, &deposit_type, RAW(""),
                   "deposit: expected an array, found the end");
    assert_refused(bench, &deposit_type, RAW("\x92\xc1\xc1"),
                   "deposit.amount: expected an integer, found a byte that is no "
                   "msgpack");
    assert_refused(bench, &deposit_type, RAW("\x92\x01"),
                   "deposit: expected an array, found the end");
    assert_refused(bench, &blob_type, RAW("\x92\xa1x\xa0"),
                   "blob.data: expected bytes, found a string");
    assert_refused(bench, &line_type, RAW("\x91\x92\x01\xc0"),
                   "point.y: expected a number, found nil");
    assert_refused(bench, &line_type, RAW("\x91\xa1x"),
                   "line.from: expected an array, found a string");
    assert_refused(bench, &numbers_type, RAW("\x91\x01"),
                   "numbers.b: expected a bool, found an integer");
    assert_refused(bench, &lists_type, RAW("\x91\x92\xc3\xcb\0\0\0\0\0\0\0\0"),
                   "lists.b[1]: expected a bool, found a float");
    assert_refused(bench, &long_one_type, RAW("\x96\x01\xa0\xc4\0\x90\x90\xd4\x01x"),
                   "long_one.who: expected a ref, found an extension");
}

static void
integers_out_of_range_are_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        const char *error;
    } rows[] = {
        {RAW("\x92\xc2\xcc\x80"), "numbers.s8: the number is out of range for i8"},
        {RAW("\x92\xc2\xd1\xff\x7f"), "numbers.s8: the number is out of range for i8"},
        {RAW("\x93\xc2\0\xcd\x80\x00"),
         "numbers.s16: the number is out of range for i16"},
        {RAW("\x94\xc2\0\0\xce\x80\x00\x00\x00"),
         "numbers.s32: the number is out of range for i32"},
        {RAW("\x95\xc2\0\0\0\xcf\x80\0\0\0\0\0\0\0"),
         "numbers.s64: the number is out of range for i64"},
        {RAW("\x96\xc2\0\0\0\0\xff"), "numbers.n8: the number is out of range for u8"},
        {RAW("\x96\xc2\0\0\0\0\xcd\1\0"),
         "numbers.n8: the number is out of range for u8"},
        {RAW("\x97\xc2\0\0\0\0\0\xce\0\1\0\0"),
         "numbers.n16: the number is out of range for u16"},
        {RAW("\x98\xc2\0\0\0\0\0\0\xcf\0\0\0\1\0\0\0\0"),
         "numbers.n32: the number is out of range for u32"},
        {RAW("\x99\xc2\0\0\0\0\0\0\0\xff"),
         "numbers.n64: the number is out of range for u64"},
        {RAW("\x9a\xc2\0\0\0\0\0\0\0\0\xcb\x7f\xe0\0\0\0\0\0\0"),
         "numbers.f: the number is out of range for f32"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_refused(*state, &numbers_type, rows[i].bytes, rows[i].size,
                       rows[i].error);
    }
}

static void
integers_serve_as_floats(void **state)
{
    struct bench *bench = *state;
    struct hark_message *message = decode_ok(bench, &point_type, RAW("\x92\x03\xff"));
    const point *p = hark__message_payload(message);

    assert_true(p->x == 3.0 && p->y == -1.0);
    hark__message_free(bench->pool, message);
    message = decode_ok(bench, &point_type, RAW("\x91\xca\x3f\x80\0\0"));
    p = hark__message_payload(message);
    assert_true(p->x == 1.0);
    hark__message_free(bench->pool, message);
}

static void
every_truncation_is_an_error(void **state)
{
    struct bench *bench = *state;

    for (uint64_t seed = 0; seed < 2 * SHAPES; seed++) {
        struct values values = values_of(seed);
        const hark_type *type = shapes[seed % SHAPES];
        uint8_t *value = values_alloc(&values, type->size);
        hark_err err;

        values_fill(&values, type, value);
        encode(bench, type, value);
        for (size_t size = 0; size < bench->bytes.size; size++) {
            assert_null(decode(bench, type, bench->bytes.data, size, &err));
            assert_int_equal(err, HARK_EDECODE);
        }
        values_fini(&values);
    }
}

static void
every_change_of_one_byte_is_handled(void **state)
{
    struct bench *bench = *state;
    unsigned taken = 0, refused = 0;

    for (uint64_t seed = 0; seed < 2 * SHAPES; seed++) {
        struct values values = values_of(seed);
        const hark_type *type = shapes[seed % SHAPES];
        uint8_t *value = values_alloc(&values, type->size);
        char printed[64];
        hark_err err;

        values_fill(&values, type, value);
        encode(bench, type, value);
        for (size_t at = 0; at < bench->bytes.size; at++) {
            uint8_t was = bench->bytes.data[at];

            for (unsigned other = 0; other < 256; other += 1 + (other & 0x0e)) {
                bench->bytes.data[at] = (uint8_t)other;
                struct hark_message *message =
                    decode(bench, type, bench->bytes.data, bench->bytes.size, &err);
                if (message != NULL) { // what was taken can be walked over
                    (void)hark_print(printed, sizeof printed, type,
                                     hark__message_payload(message));
                    hark__message_free(bench->pool, message);
                    taken++;
                } else {
                    assert_true(err == HARK_EDECODE || err == HARK_ETOOBIG);
                    refused++;
                }
            }
            bench->bytes.data[at] = was;
        }
        values_fini(&values);
    }
    assert_true(taken > 0 && refused > 0);
}

static void
huge_counts_allocate_nothing(void **state)
{
    struct bench *bench = *state;

    assert_refused(bench, &deposit_type, RAW("\xdd\x05\x00\x00\x00"),
                   "deposit: expected an array, found the end");
    assert_refused(bench, &lists_type, RAW("\x91\xdd\x05\x00\x00\x00"),
                   "lists.b: expected an array, found the end");
    assert_refused(bench, &deposit_type, RAW("\x92\x01\xdb\xff\xff\xff\xff"),
                   "deposit.memo: expected a string, found the end");
}

// ---- depth ----

// A chain of types, each of which holds the next, DEEPER of them in all.
enum { DEEPER = PAYLOAD_DEPTH + 1 };

struct chain {
    hark_field fields[DEEPER];
    hark_type types[DEEPER];
};

// The type of a message of that many levels.
static const hark_type *
chain_of(struct chain *chain, int levels)
{
    chain->fields[0] = (hark_field){"n", HARK_KIND_u64, 0, 0, NULL};
    chain->types[0] = (hark_type){"level", 8, 1, true, &chain->fields[0]};
    for (int i = 1; i < levels; i++) {
        chain->fields[i] =
            (hark_field){"in", HARK_KIND_message, 0, 0, &chain->types[i - 1]};
        chain->types[i] = (hark_type){"level", 8, 1, true, &chain->fields[i]};
    }
    return &chain->types[levels - 1];
}

static void
messages_nest_32_deep_and_no_deeper(void **state)
{
    struct bench *bench = *state;
    struct chain chain;
    uint64_t value = 9;
    uint8_t deep[DEEPER + 1];

    encode(bench, chain_of(&chain, PAYLOAD_DEPTH), &value);
    struct hark_message *message = decode_ok(bench, chain_of(&chain, PAYLOAD_DEPTH),
                                             bench->bytes.data, bench->bytes.size);
    assert_memory_equal(hark__message_payload(message), &value, sizeof value);
    hark__message_free(bench->pool, message);

    hark__bytes_truncate(&bench->bytes, 0);
    assert_int_equal(
        hark__payload_encode(&bench->bytes, chain_of(&chain, DEEPER), &value, NULL),
        HARK_ETOOBIG);
    memset(deep, 0x91, DEEPER);
    deep[DEEPER] = 9;
    assert_refused(bench, chain_of(&chain, DEEPER), deep, sizeof deep,
                   "level.in: nested too deep");
}

static void
depth_counts_only_what_stands_inside(void **state)
{
    struct bench *bench = *state;
    hark_err err;

    // Lists beside each other are one deep; each is entered and left again.
    hark__bytes_put_array(&bench->bytes, 14);
    for (int i = 0; i < 14; i++) {
        hark__bytes_put_array(&bench->bytes, 0);
    }
    struct hark_message *message =
        decode(bench, &lists_type, bench->bytes.data, bench->bytes.size, &err);
    assert_non_null(message);
    hark__message_free(bench->pool, message);
    // Skipped values may be as deep as they like.
    hark__bytes_truncate(&bench->bytes, 0);
    hark__bytes_put_array(&bench->bytes, 2);
    hark__bytes_put_u64(&bench->bytes, 1);
    for (int i = 0; i < 10000; i++) {
        hark__bytes_put_array(&bench->bytes, 1);
    }
    hark__bytes_put_nil(&bench->bytes);
    message = decode_ok(bench, &short_one_type, bench->bytes.data, bench->bytes.size);
    hark__message_free(bench->pool, message);
}

// ---- limits ----

static hark_err
decode_within(struct bench *bench, const hark_type *type, size_t limit_bytes)
{
    struct reader in = hark__reader_of(bench->bytes.data, bench->bytes.size);
    struct hark_message *message = NULL;
    struct payload_options options = {.limit_bytes = limit_bytes,
                                      .error = bench->error,
                                      .error_size = sizeof bench->error};
    hark_err err = hark__payload_decode(bench->pool, type, &in, &options, &message);

    if (message != NULL) {
        hark__message_free(bench->pool, message);
    }
    return err;
}

static void
limit_bytes_bounds_the_decoded_block(void **state)
{
    struct bench *bench = *state;
    size_t needed = sizeof(deposit) + 4;

    encode(bench, &deposit_type, &(deposit){.memo = HARK_STR("abc")});
    assert_int_equal(decode_within(bench, &deposit_type, needed), HARK_OK);
    assert_int_equal(decode_within(bench, &deposit_type, needed - 1), HARK_ETOOBIG);
    assert_string_equal(bench->error,
                        "deposit.memo: the message is over the size limit");
    assert_int_equal(decode_within(bench, &deposit_type, 0), HARK_ETOOBIG);
    encode(bench, &point_type, &(point){0});
    assert_int_equal(decode_within(bench, &point_type, sizeof(point)), HARK_OK);
    assert_int_equal(decode_within(bench, &point_type, sizeof(point) - 1),
                     HARK_ETOOBIG);
    assert_string_equal(bench->error, "point: the message is over the size limit");
}

// A list of empty messages is a byte each on the wire and many in memory.
static void
short_input_cannot_become_a_large_block(void **state)
{
    enum { COUNT = 200000 };
    struct bench *bench = *state;
    hark_err err;

    hark__bytes_put_array(&bench->bytes, 1);
    hark__bytes_put_array(&bench->bytes, COUNT);
    for (int i = 0; i < COUNT; i++) {
        hark__bytes_put_array(&bench->bytes, 0);
    }
    assert_null(decode(bench, &album_type, bench->bytes.data, bench->bytes.size, &err));
    assert_int_equal(err, HARK_ETOOBIG);
    assert_string_equal(bench->error,
                        "album.blobs: the message is over the size limit");
}

static void
encoding_text_over_4_gib_is_too_big(void **state)
{
    struct bench *bench = *state;
    deposit value = {.memo = {"", (size_t)UINT32_MAX + 1}};

    assert_int_equal(hark__payload_encode(&bench->bytes, &deposit_type, &value, NULL),
                     HARK_ETOOBIG);
}

static void
error_text_is_not_needed(void **state)
{
    struct bench *bench = *state;
    struct reader in = hark__reader_of("\x92\xc0\xc0", 3);
    struct payload_options options = {.limit_bytes = LIMIT_BYTES};
    struct hark_message *message = NULL;

    assert_int_equal(
        hark__payload_decode(bench->pool, &deposit_type, &in, &options, &message),
        HARK_EDECODE);
    assert_null(message);
}

// ---- sharing ----

// What is decoded, as a buffer that is gone with its last holder.
struct lender {
    hark_buffer *buffer;
    unsigned asked;
    unsigned returned;
};

static void
take_back(void *handle)
{
    ((struct lender *)handle)->returned++;
}

static hark_buffer *
lend(void *arg)
{
    struct lender *lender = arg;

    lender->asked++;
    return lender->buffer;
}

// Encodes value and decodes it with that much to share. NULL: it does not decode.
static struct hark_message *
decode_sharing(struct bench *bench, const hark_type *type, const void *value,
               size_t share_least, struct lender *lender)
{
    struct hark_message *message = NULL;
    struct payload_options options = {.limit_bytes = LIMIT_BYTES,
                                      .share = lend,
                                      .share_arg = lender,
                                      .share_least = share_least};

    encode(bench, type, value);
    if (lender->buffer != NULL) {
        hark__buffer_lend(lender->buffer, bench->bytes.data, bench->bytes.size,
                          take_back, lender);
    }
    struct reader in = hark__reader_of(bench->bytes.data, bench->bytes.size);
    hark_err err = hark__payload_decode(bench->pool, type, &in, &options, &message);
    assert_int_equal(err, message != NULL ? HARK_OK : HARK_EDECODE);
    return message;
}

static bool
is_inside(const struct bytes *bytes, hark_bytes view)
{
    const uint8_t *at = view.ptr;

    return at >= bytes->data && at + view.len <= bytes->data + bytes->size;
}

static void
large_bytes_are_shared_and_small_ones_copied(void **state)
{
    static const uint8_t large[1000] = {7}, small[999] = {8};
    struct bench *bench = *state;
    struct lender lender = {.buffer = hark_buffer_new(0)};
    const blob blobs[] = {
        {.data = {.ptr = large, .len = sizeof large}, .name = HARK_STR("a")},
        {.data = {.ptr = small, .len = sizeof small}, .name = HARK_STR("b")},
    };
    const album value = {.blobs = {.items = blobs, .count = 2}, .cover = blobs[0]};
    struct hark_message *message =
        decode_sharing(bench, &album_type, &value, sizeof large, &lender);
    const album *got = hark_message_as(message, &album_type);

    // In a list, and in a message inside.
    assert_non_null(got);
    assert_int_equal(lender.asked, 1);
    assert_ptr_equal(got->blobs.items[0].data.buffer, lender.buffer);
    assert_ptr_equal(got->cover.data.buffer, lender.buffer);
    assert_null(got->blobs.items[1].data.buffer);
    assert_true(is_inside(&bench->bytes, got->blobs.items[0].data));
    assert_true(is_inside(&bench->bytes, got->cover.data));
    assert_false(is_inside(&bench->bytes, got->blobs.items[1].data));
    assert_memory_equal(got->blobs.items[0].data.ptr, large, sizeof large);
    assert_memory_equal(got->blobs.items[1].data.ptr, small, sizeof small);
    assert_string_equal(got->cover.name.ptr, "a");

    // The message holds it alone from here on.
    hark_buffer_release(lender.buffer);
    assert_int_equal(lender.returned, 0);
    hark__message_free(bench->pool, message);
    assert_int_equal(lender.returned, 1);
}

static void
without_lists_they_are_shared_too(void **state)
{
    static const uint8_t large[1000] = {7};
    struct bench *bench = *state;
    struct lender lender = {.buffer = hark_buffer_new(0)};
    const blob value = {.data = {.ptr = large, .len = sizeof large},
                        .name = HARK_STR("a name")};
    struct hark_message *message =
        decode_sharing(bench, &blob_type, &value, sizeof large, &lender);
    const blob *got = hark_message_as(message, &blob_type);

    assert_non_null(got);
    assert_ptr_equal(got->data.buffer, lender.buffer);
    assert_memory_equal(got->data.ptr, large, sizeof large);
    assert_string_equal(got->name.ptr, "a name");
    assert_true(message->size < sizeof large);
    hark_buffer_release(lender.buffer);
    assert_int_equal(lender.returned, 0);
    hark__message_free(bench->pool, message);
    assert_int_equal(lender.returned, 1);
}

static void
what_cannot_be_kept_is_copied(void **state)
{
    static const uint8_t large[1000] = {7};
    struct bench *bench = *state;
    struct lender lender = {.buffer = NULL};
    const blob value = {.data = {.ptr = large, .len = sizeof large}};
    struct hark_message *message =
        decode_sharing(bench, &blob_type, &value, sizeof large, &lender);
    const blob *got = hark_message_as(message, &blob_type);

    assert_int_equal(lender.asked, 1);
    assert_non_null(got);
    assert_null(got->data.buffer);
    assert_false(is_inside(&bench->bytes, got->data));
    assert_memory_equal(got->data.ptr, large, sizeof large);
    hark__message_free(bench->pool, message);
}

static void
nothing_is_held_after_an_error(void **state)
{
    static const uint8_t large[1000] = {7};
    struct bench *bench = *state;
    struct lender lender = {.buffer = hark_buffer_new(0)};
    const blob value = {.data = {.ptr = large, .len = sizeof large},
                        .name = HARK_STR("x")};
    struct hark_message *message = NULL;
    struct payload_options options = {.limit_bytes = LIMIT_BYTES,
                                      .share = lend,
                                      .share_arg = &lender,
                                      .share_least = 1};

    encode(bench, &blob_type, &value);
    hark__buffer_lend(lender.buffer, bench->bytes.data, bench->bytes.size, take_back,
                      &lender);
    struct reader in = hark__reader_of(bench->bytes.data, bench->bytes.size - 1);
    assert_int_equal(
        hark__payload_decode(bench->pool, &blob_type, &in, &options, &message),
        HARK_EDECODE);
    assert_null(message);
    assert_int_equal(lender.asked, 1);
    hark_buffer_release(lender.buffer);
    assert_int_equal(lender.returned, 1);
}

// ---- parts ----

enum { PARTS_MOST = 4 };

// The parts of a frame: what was taken, and how it is found again.
struct parts {
    hark_bytes taken[PARTS_MOST];
    hark_buffer *kept[PARTS_MOST]; // NULL: cannot be kept
    uint16_t count;
};

static void
on_no_ref(void *arg, hark_ref ref)
{
    (void)arg;
    (void)ref;
    fail();
}

static uint16_t
take_part(void *arg, const hark_bytes *part)
{
    struct parts *parts = arg;

    assert_non_null(part->buffer);
    if (parts->count == PARTS_MOST) {
        return 0;
    }
    parts->taken[parts->count] = *part;
    return ++parts->count;
}

static bool
find_part(void *arg, uint16_t number, hark_bytes *out_bytes)
{
    struct parts *parts = arg;

    if (number == 0 || number > parts->count) {
        return false;
    }
    *out_bytes = parts->taken[number - 1];
    out_bytes->buffer = parts->kept[number - 1];
    return true;
}

// Encodes value with its parts aside.
static void
encode_parts(struct bench *bench, const hark_type *type, const void *value,
             struct parts *parts)
{
    const struct ref_watch watch = {on_no_ref, parts, take_part};

    assert_int_equal(hark__payload_encode(&bench->bytes, type, value, &watch), HARK_OK);
}

static hark_err
decode_parts(struct bench *bench, const hark_type *type, struct parts *parts,
             struct hark_message **out_message)
{
    const struct payload_options options = {.limit_bytes = LIMIT_BYTES,
                                            .guess = &(uint16_t){0},
                                            .find_part =
                                                parts != NULL ? find_part : NULL,
                                            .part_arg = parts,
                                            .error = bench->error,
                                            .error_size = sizeof bench->error};
    struct reader in = hark__reader_of(bench->bytes.data, bench->bytes.size);

    *out_message = NULL;
    return hark__payload_decode(bench->pool, type, &in, &options, out_message);
}

static void
parts_stand_beside_the_payload_and_are_shared(void **state)
{
    static const uint8_t own[1000] = {7};
    struct bench *bench = *state;
    struct lender lender = {.buffer = hark_buffer_new(0)};
    struct parts parts = {.count = 0};
    struct hark_message *message;
    const blob blobs[] = {
        {.data = {.ptr = own, .len = sizeof own, .buffer = lender.buffer},
         .name = HARK_STR("a")},
        {.data = {.ptr = own, .len = 3}, .name = HARK_STR("b")}, // without a buffer
    };
    const album value = {.blobs = {.items = blobs, .count = 2}, .cover = blobs[0]};

    hark__buffer_lend(lender.buffer, NULL, 0, take_back, &lender);
    encode_parts(bench, &album_type, &value, &parts);
    assert_int_equal(parts.count, 2);
    assert_true(bench->bytes.size < 100);
    assert_ptr_equal(parts.taken[0].ptr, own);
    parts.kept[0] = parts.kept[1] = lender.buffer;
    assert_int_equal(decode_parts(bench, &album_type, &parts, &message), HARK_OK);
    const album *got = hark_message_as(message, &album_type);
    assert_ptr_equal(got->blobs.items[0].data.ptr, own);
    assert_ptr_equal(got->blobs.items[0].data.buffer, lender.buffer);
    assert_ptr_equal(got->cover.data.ptr, own);
    assert_null(got->blobs.items[1].data.buffer);
    assert_int_equal(got->blobs.items[1].data.len, 3);
    hark_buffer_release(lender.buffer);
    assert_int_equal(lender.returned, 0);
    hark__message_free(bench->pool, message);
    assert_int_equal(lender.returned, 1);
}

static void
a_part_that_cannot_be_kept_is_copied(void **state)
{
    static const uint8_t own[1000] = {7};
    struct bench *bench = *state;
    struct parts parts = {.count = 0};
    struct hark_message *message;
    hark_buffer *buffer = hark_buffer_new(0);
    const blob value = {.data = {.ptr = own, .len = sizeof own, .buffer = buffer},
                        .name = HARK_STR("a")};

    encode_parts(bench, &blob_type, &value, &parts);
    assert_int_equal(decode_parts(bench, &blob_type, &parts, &message), HARK_OK);
    const blob *got = hark_message_as(message, &blob_type);
    assert_null(got->data.buffer);
    assert_ptr_not_equal(got->data.ptr, own);
    assert_int_equal(got->data.len, sizeof own);
    assert_memory_equal(got->data.ptr, own, sizeof own);
    assert_string_equal(got->name.ptr, "a");
    hark__message_free(bench->pool, message);
    hark_buffer_release(buffer);
}

static void
bytes_that_are_no_part_stay_in_the_payload(void **state)
{
    static const uint8_t own[1000] = {7};
    struct bench *bench = *state;
    struct parts parts = {.count = PARTS_MOST}; // takes no more
    struct hark_message *message;
    hark_buffer *buffer = hark_buffer_new(0);
    const blob value = {.data = {.ptr = own, .len = sizeof own, .buffer = buffer}};

    encode_parts(bench, &blob_type, &value, &parts);
    assert_true(bench->bytes.size > sizeof own);
    assert_int_equal(decode_parts(bench, &blob_type, NULL, &message), HARK_OK);
    const blob *got = hark_message_as(message, &blob_type);
    assert_memory_equal(got->data.ptr, own, sizeof own);
    hark__message_free(bench->pool, message);
    hark_buffer_release(buffer);
}

static void
a_part_that_is_not_there_is_an_error(void **state)
{
    static const uint8_t own[1000] = {7};
    struct bench *bench = *state;
    struct parts parts = {.count = 0};
    struct hark_message *message;
    hark_buffer *buffer = hark_buffer_new(0);
    const blob value = {.data = {.ptr = own, .len = sizeof own, .buffer = buffer}};

    encode_parts(bench, &blob_type, &value, &parts);
    parts.count = 0;
    assert_int_equal(decode_parts(bench, &blob_type, &parts, &message), HARK_EDECODE);
    assert_string_equal(bench->error, "blob.data: the frame has no such part");
    assert_int_equal(decode_parts(bench, &blob_type, NULL, &message), HARK_EDECODE);
    assert_null(message);
    hark_buffer_release(buffer);
}

// ---- refs ----

struct seen {
    hark_ref refs[8];
    unsigned count;
};

static void
on_ref(void *arg, hark_ref ref)
{
    struct seen *seen = arg;

    assert_true(seen->count < 8);
    seen->refs[seen->count++] = ref;
}

static void
a_watch_sees_every_ref_but_null_ones(void **state)
{
    struct bench *bench = *state;
    struct seen seen = {.count = 0};
    struct ref_watch watch = {.on_ref = on_ref, .arg = &seen};
    const hark_ref refs[] = {{1, 2}, {3, 0}, {4, 5}};

    assert_int_equal(hark__payload_encode(&bench->bytes, &lists_type,
                                          &(lists){.who = {.items = refs, .count = 3}},
                                          &watch),
                     HARK_OK);
    assert_int_equal(seen.count, 2);
    assert_true(hark_ref_equal(seen.refs[0], refs[0]));
    assert_true(hark_ref_equal(seen.refs[1], refs[2]));
}

// ---- msgpack-c on the other side ----

static void
msgpack_c_writes_the_same_bytes(void **state)
{
    struct bench *bench = *state;
    struct values values = values_of(4);
    msgpack_sbuffer buffer;
    msgpack_packer packer;

    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
    for (int i = 0; i < 1000; i++) {
        deposit value = {.amount = (int64_t)values_number(&values),
                         .memo = values_text(&values)};

        msgpack_sbuffer_clear(&buffer);
        msgpack_pack_array(&packer, 2);
        msgpack_pack_int64(&packer, value.amount);
        msgpack_pack_str_with_body(&packer, value.memo.ptr, value.memo.len);
        encode(bench, &deposit_type, &value);
        assert_bytes(&bench->bytes, buffer.data, buffer.size);
    }
    msgpack_sbuffer_destroy(&buffer);
    values_fini(&values);
}

static void
msgpack_c_writes_what_it_has_read_as_it_was(void **state)
{
    struct bench *bench = *state;

    for (uint64_t seed = 0; seed < 100; seed++) {
        struct values values = values_of(seed);
        const hark_type *type = shapes[seed % SHAPES];
        uint8_t *value = values_alloc(&values, type->size);
        msgpack_sbuffer buffer;
        msgpack_packer packer;
        msgpack_unpacked result;
        size_t end = 0;

        values_fill(&values, type, value);
        encode(bench, type, value);
        msgpack_unpacked_init(&result);
        assert_int_equal(msgpack_unpack_next(&result, (const char *)bench->bytes.data,
                                             bench->bytes.size, &end),
                         MSGPACK_UNPACK_SUCCESS);
        assert_int_equal(end, bench->bytes.size);
        msgpack_sbuffer_init(&buffer);
        msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
        assert_int_equal(msgpack_pack_object(&packer, result.data), 0);
        assert_bytes(&bench->bytes, buffer.data, buffer.size);
        msgpack_sbuffer_destroy(&buffer);
        msgpack_unpacked_destroy(&result);
        values_fini(&values);
    }
}

static void
a_length_with_a_null_pointer_is_not_encoded(void **state)
{
    struct bench *bench = *state;
    const long_one values[] = {
        {.text = {NULL, 1}}, {.data = {NULL, 1, NULL}}, {.numbers = {NULL, 1}}};

    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        hark__bytes_truncate(&bench->bytes, 0);
        assert_int_equal(
            hark__payload_encode(&bench->bytes, &long_one_type, &values[i], NULL),
            HARK_EINVAL);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_message_is_an_array_of_its_fields),
        TEST(a_length_with_a_null_pointer_is_not_encoded),
        TEST(extreme_values_of_each_kind_come_back),
        TEST(values_of_chance_come_back_as_they_were),
        TEST(text_ends_with_a_nul_and_is_never_null),
        TEST(missing_fields_are_zero_or_empty),
        TEST(further_fields_are_skipped_also_in_nested_messages),
        TEST(wrong_kinds_are_named_with_their_field),
        TEST(integers_out_of_range_are_refused),
        TEST(integers_serve_as_floats),
        TEST(every_truncation_is_an_error),
        TEST(every_change_of_one_byte_is_handled),
        TEST(huge_counts_allocate_nothing),
        TEST(messages_nest_32_deep_and_no_deeper),
        TEST(depth_counts_only_what_stands_inside),
        TEST(limit_bytes_bounds_the_decoded_block),
        TEST(short_input_cannot_become_a_large_block),
        TEST(encoding_text_over_4_gib_is_too_big),
        TEST(error_text_is_not_needed),
        TEST(large_bytes_are_shared_and_small_ones_copied),
        TEST(without_lists_they_are_shared_too),
        TEST(parts_stand_beside_the_payload_and_are_shared),
        TEST(a_part_that_cannot_be_kept_is_copied),
        TEST(bytes_that_are_no_part_stay_in_the_payload),
        TEST(a_part_that_is_not_there_is_an_error),
        TEST(what_cannot_be_kept_is_copied),
        TEST(nothing_is_held_after_an_error),
        TEST(a_watch_sees_every_ref_but_null_ones),
        TEST(msgpack_c_writes_the_same_bytes),
        TEST(msgpack_c_writes_what_it_has_read_as_it_was),
    };
    return cmocka_run_group_tests_name("wire/payload", tests, NULL, NULL);
}
