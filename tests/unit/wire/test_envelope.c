// Envelope: what stands around a payload.

#include "unit/wire/written.h"

#include "wire/envelope.h"

static char error[100];

static const uint8_t five[] = {0x91, 0x05};

// An ASK that fills every element.
static const struct envelope ask = {
    .kind = ENVELOPE_ASK,
    .target = UINT64_C(0x100000002),
    .sender = {7, 8},
    .correlation = 300,
    .remaining_ms = 5000,
    .trace = 1,
    .credits = 2,
    .chain = 3,
    .type = 4,
    .payload = {five, five + sizeof five},
};

// Decodes all of data, and steps over the payload and what is behind it, which is then
// all that is left.
static hark_err
decode(const void *data, size_t size, struct envelope *out_envelope)
{
    uint32_t behind;
    hark_err err = hark__envelope_decode(hark__reader_of(data, size), out_envelope,
                                         &behind, error, sizeof error);

    if (err != HARK_OK) {
        return err;
    }

    struct reader rest = out_envelope->payload;

    for (uint32_t i = 0; i < 1 + behind; i++) {
        if (!hark__reader_skip(&rest)) {
            snprintf(error, sizeof error, "cut off");
            return HARK_EDECODE;
        }
    }
    return HARK_OK;
}

static void
an_envelope_has_ten_elements(void **state)
{
    (void)state;
    hark__envelope_encode(&bytes, &ask);
    assert_bytes(&bytes, RAW("\x9a\x02\xcf\0\0\0\1\0\0\0\2"
                             "\xd8\x01\0\0\0\0\0\0\0\7\0\0\0\0\0\0\0\x08"
                             "\xcd\x01\x2c\xcd\x13\x88\x01\x02\x03\x04\x91\x05"));
}

static void
every_element_comes_back(void **state)
{
    struct envelope got;

    (void)state;
    snprintf(error, sizeof error, "untouched");
    hark__envelope_encode(&bytes, &ask);
    assert_int_equal(decode(bytes.data, bytes.size, &got), HARK_OK);
    assert_int_equal(got.kind, ask.kind);
    assert_int_equal(got.target, ask.target);
    assert_true(hark_ref_equal(got.sender, ask.sender));
    assert_int_equal(got.correlation, ask.correlation);
    assert_int_equal(got.remaining_ms, ask.remaining_ms);
    assert_int_equal(got.trace, ask.trace);
    assert_int_equal(got.credits, ask.credits);
    assert_int_equal(got.chain, ask.chain);
    assert_int_equal(got.type, ask.type);
    assert_int_equal(hark__reader_left(&got.payload), sizeof five);
    assert_memory_equal(got.payload.at, five, sizeof five);
    assert_string_equal(error, "untouched");
}

static void
payloads_of_the_protocol_come_back(void **state)
{
    struct envelope got;

    (void)state;
    hark__envelope_encode(&bytes, &(struct envelope){.kind = ENVELOPE_FAILURE,
                                                     .code = -7,
                                                     .stage = 3,
                                                     .type = TYPE_NONE,
                                                     .text = HARK_STR("why")});
    assert_int_equal(decode(bytes.data, bytes.size, &got), HARK_OK);
    assert_true(got.code == -7 && got.stage == 3 && got.type == TYPE_NONE);
    assert_true(hark_str_equal(got.text, HARK_STR("why")));

    hark__bytes_truncate(&bytes, 0);
    hark__envelope_encode(&bytes, &(struct envelope){.kind = ENVELOPE_LOOKUP,
                                                     .type = TYPE_NONE,
                                                     .text = HARK_STR("till")});
    assert_int_equal(decode(bytes.data, bytes.size, &got), HARK_OK);
    assert_true(hark_str_equal(got.text, HARK_STR("till")));

    hark__bytes_truncate(&bytes, 0);
    hark__envelope_encode(
        &bytes,
        &(struct envelope){.kind = ENVELOPE_FOUND, .type = TYPE_NONE, .found = {5, 6}});
    assert_int_equal(decode(bytes.data, bytes.size, &got), HARK_OK);
    assert_true(hark_ref_equal(got.found, (hark_ref){5, 6}));
    assert_int_equal(got.text.len, 0);

    hark__bytes_truncate(&bytes, 0);
    hark__envelope_encode(&bytes, &(struct envelope){.kind = ENVELOPE_FOUND,
                                                     .type = TYPE_NONE,
                                                     .found = {5, 6},
                                                     .text = HARK_STR("till")});
    assert_int_equal(decode(bytes.data, bytes.size, &got), HARK_OK);
    assert_true(hark_ref_equal(got.found, (hark_ref){5, 6}));
    assert_true(hark_str_equal(got.text, HARK_STR("till")));

    hark__bytes_truncate(&bytes, 0);
    hark__envelope_encode(&bytes, &(struct envelope){.kind = ENVELOPE_CANCEL});
    assert_int_equal(decode(bytes.data, bytes.size, &got), HARK_OK);
    assert_memory_equal(got.payload.at, "\xc0", 1); // nil: none

    hark__bytes_truncate(&bytes, 0);
    hark__envelope_encode(
        &bytes,
        &(struct envelope){.kind = ENVELOPE_CREDIT, .credits = 16, .type = TYPE_NONE});
    assert_int_equal(decode(bytes.data, bytes.size, &got), HARK_OK);
    assert_int_equal(got.credits, 16);
    assert_memory_equal(got.payload.at, "\xc0", 1); // as above

    hark__bytes_truncate(&bytes, 0);
    hark__envelope_encode(&bytes, &(struct envelope){.kind = ENVELOPE_PROBE,
                                                     .type = TYPE_NONE,
                                                     .found = {5, 6},
                                                     .wait = 7,
                                                     .nonce = UINT64_MAX,
                                                     .hops = 8,
                                                     .text = HARK_STR("a waits for ")});
    assert_int_equal(decode(bytes.data, bytes.size, &got), HARK_OK);
    assert_true(hark_ref_equal(got.found, (hark_ref){5, 6}));
    assert_true(got.wait == 7 && got.nonce == UINT64_MAX && got.hops == 8);
    assert_true(hark_str_equal(got.text, HARK_STR("a waits for ")));
    assert_int_equal(got.items, 0);

    got.text = HARK_STR("b waits for "); // not in the bytes that are written now
    got.items = 9;
    hark__bytes_truncate(&bytes, 0);
    hark__envelope_encode(&bytes, &got);
    assert_int_equal(decode(bytes.data, bytes.size, &got), HARK_OK);
    assert_int_equal(got.items, 9);
}

static void
a_later_version_may_append_elements_and_kinds(void **state)
{
    struct envelope got;

    (void)state;
    assert_int_equal(
        decode(RAW("\x9c\x63\x01\xc0\x00\x00\x00\x00\x00\xc0\xc0\xa1x\xc0"), &got),
        HARK_OK);
    assert_int_equal(got.kind, 99);
    // A payload of the protocol may have more elements too.
    assert_int_equal(
        decode(RAW("\x9a\x04\x00\xc0\x01\x00\x00\x00\x00\xc0\x94\x01\x02\xa1x\xc3"),
               &got),
        HARK_OK);
    assert_int_equal(got.code, 1);
}

static void
malformed_elements_are_named(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        const char *error;
    } rows[] = {
        {RAW("\x99\x01\x00\xc0\x00\x00\x00\x00\x00\xc0"), "envelope: malformed array"},
        {RAW("\xa0"), "envelope: malformed array"},
        {RAW("\x9a\x00\x00\xc0\x00\x00\x00\x00\x00\xc0\xc0"),
         "envelope: malformed kind"},
        {RAW("\x9a\xcd\x01\x00\x00\xc0\x00\x00\x00\x00\x00\xc0\xc0"),
         "envelope: malformed kind"},
        {RAW("\x9a\x01\xff\xc0\x00\x00\x00\x00\x00\xc0\xc0"),
         "envelope: malformed target"},
        {RAW("\x9a\x01\x00\x01\x00\x00\x00\x00\x00\xc0\xc0"),
         "envelope: malformed sender"},
        {RAW("\x9a\x01\x00\xc0\xff\x00\x00\x00\x00\xc0\xc0"),
         "envelope: malformed correlation"},
        {RAW("\x9a\x01\x00\xc0\x00\xcf\0\0\0\1\0\0\0\0\x00\x00\x00\xc0\xc0"),
         "envelope: malformed remaining time"},
        {RAW("\x9a\x01\x00\xc0\x00\x00\xc0\x00\x00\xc0\xc0"),
         "envelope: malformed trace"},
        {RAW("\x9a\x01\x00\xc0\x00\x00\x00\xc0\x00\xc0\xc0"),
         "envelope: malformed credits"},
        {RAW("\x9a\x01\x00\xc0\x00\x00\x00\x00\xc0\xc0\xc0"),
         "envelope: malformed chain id"},
        {RAW("\x9a\x01\x00\xc0\x00\x00\x00\x00\x00\xff\xc0"),
         "envelope: malformed type"},
        {RAW("\x9a\x01\x00\xc0\x00\x00\x00\x00\x00\xc0\x91"), "cut off"},
        {RAW("\x9a\x04\x00\xc0\x00\x00\x00\x00\x00\xc0\x92\x01\x02"),
         "envelope: malformed payload"},
        {RAW("\x9a\x04\x00\xc0\x00\x00\x00\x00\x00\xc0\x93\xce\xff\xff\xff\xff\x02\xa0"),
         "envelope: malformed payload"},
        {RAW("\x9a\x05\x00\xc0\x00\x00\x00\x00\x00\xc0\x91\x01"),
         "envelope: malformed payload"},
        {RAW("\x9a\x06\x00\xc0\x00\x00\x00\x00\x00\xc0\x91\xc0"), // FOUND nobody
         "envelope: malformed payload"},
        {RAW("\x9a\x06\x00\xc0\x00\x00\x00\x00\x00\xc0\x92\xd8\x01"
             "\0\0\0\0\0\0\0\5\0\0\0\0\0\0\0\6\x01"), // FOUND called 1
         "envelope: malformed payload"},
        {RAW("\x9a\x0c\x00\xc0\x00\x00\x00\x00\x00\xc0\x95\xc0\x01\x02\x03\xa0"),
         "envelope: malformed payload"}, // PROBE of nobody
        {RAW("\x9a\x0c\x00\xc0\x00\x00\x00\x00\x00\xc0\xc0"),
         "envelope: malformed payload"},
    };
    struct envelope got;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(decode(rows[i].bytes, rows[i].size, &got), HARK_EDECODE);
        assert_string_equal(error, rows[i].error);
    }
}

static void
every_truncation_is_an_error(void **state)
{
    struct envelope got;

    (void)state;
    hark__envelope_encode(&bytes, &ask);
    for (size_t size = 0; size < bytes.size; size++) {
        uint8_t *copy = exact_copy(bytes.data, size);

        assert_int_equal(decode(copy, size, &got), HARK_EDECODE);
        free(copy);
    }
}

static void
every_change_of_one_byte_is_handled(void **state)
{
    struct envelope got;
    unsigned taken = 0, refused = 0;

    (void)state;
    hark__envelope_encode(&bytes, &ask);
    for (size_t at = 0; at < bytes.size; at++) {
        for (unsigned other = 0; other < 256; other++) {
            uint8_t *copy = exact_copy(bytes.data, bytes.size);

            copy[at] = (uint8_t)other;
            hark_err err = decode(copy, bytes.size, &got);
            assert_true(err == HARK_OK || err == HARK_EDECODE);
            taken += err == HARK_OK;
            refused += err != HARK_OK;
            // Views stay inside.
            assert_true(
                err != HARK_OK
                || (got.payload.at >= copy && got.payload.end == copy + bytes.size));
            free(copy);
        }
    }
    assert_true(taken > 0 && refused > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_envelope_has_ten_elements),
        TEST(every_element_comes_back),
        TEST(payloads_of_the_protocol_come_back),
        TEST(a_later_version_may_append_elements_and_kinds),
        TEST(malformed_elements_are_named),
        TEST(every_truncation_is_an_error),
        TEST(every_change_of_one_byte_is_handled),
    };
    return cmocka_run_group_tests_name("wire/envelope", tests, NULL, NULL);
}
