// Frame: HELLO, WELCOME, GOODBYE, BATCH, HEARTBEAT.

#include "unit/wire/written.h"

#include "wire/frame.h"

static char error[100];

static const struct hello hello = {
    .version_min = 1,
    .version_max = 3,
    .node_name = {"me", 2},
    .incarnation = 9,
    .flags = HELLO_GUEST,
    .heartbeat_ms = 3000,
    .endpoint = {"", 0},
    .max_frame_bytes = 65536,
};

// Decodes a block of just that size; views in out_frame end with it.
static hark_err
decode(const void *data, size_t size, struct frame *out_frame)
{
    uint8_t *copy = exact_copy(data, size);
    hark_err err = hark__frame_decode(copy, size, out_frame, error, sizeof error);

    free(copy);
    return err;
}

static void
a_hello_comes_back(void **state)
{
    struct frame frame;

    (void)state;
    hark__frame_hello(&bytes, FRAME_HELLO, &hello);
    assert_bytes(&bytes,
                 RAW("\x9c\x01\x00\x00\xa4hark\x01\x03\xa2me\x09\x01\xcd\x0b\xb8"
                     "\xa0\xce\x00\x01\x00\x00"));
    assert_int_equal(
        hark__frame_decode(bytes.data, bytes.size, &frame, error, sizeof error),
        HARK_OK);
    assert_int_equal(frame.kind, FRAME_HELLO);
    assert_int_equal(frame.hello.version_min, 1);
    assert_int_equal(frame.hello.version_max, 3);
    assert_true(hark_str_equal(frame.hello.node_name, hello.node_name));
    assert_int_equal(frame.hello.incarnation, 9);
    assert_int_equal(frame.hello.flags, HELLO_GUEST);
    assert_int_equal(frame.hello.heartbeat_ms, 3000);
    assert_int_equal(frame.hello.endpoint.len, 0);
    assert_int_equal(frame.hello.max_frame_bytes, 65536);
}

static void
numbers_are_stamped_into_a_finished_frame(void **state)
{
    struct frame frame;

    (void)state;
    hark__frame_batch(&bytes, 0, 0);
    assert_int_equal(bytes.size, FRAME_HEAD_SIZE);
    hark__bytes_put_nil(&bytes);
    hark__frame_stamp(bytes.data, 7, UINT64_MAX);
    assert_int_equal(
        hark__frame_decode(bytes.data, bytes.size, &frame, error, sizeof error),
        HARK_OK);
    assert_int_equal(frame.kind, FRAME_BATCH);
    assert_true(frame.seq == 7 && frame.ack == UINT64_MAX);
    assert_int_equal(hark__reader_left(&frame.entries), 1);

    hark__bytes_truncate(&bytes, 0);
    hark__frame_heartbeat(&bytes, 1, 2);
    assert_int_equal(bytes.size, FRAME_HEAD_SIZE);
    hark__frame_stamp(bytes.data, 3, 4);
    assert_int_equal(decode(bytes.data, bytes.size, &frame), HARK_OK);
    assert_int_equal(frame.kind, FRAME_HEARTBEAT);
    assert_true(frame.seq == 3 && frame.ack == 4);
}

static void
a_goodbye_comes_back(void **state)
{
    struct frame frame;

    (void)state;
    hark__frame_goodbye(&bytes, 5, 6, HARK_ESTOPPED, HARK_STR("it stops"));
    assert_int_equal(
        hark__frame_decode(bytes.data, bytes.size, &frame, error, sizeof error),
        HARK_OK);
    assert_int_equal(frame.kind, FRAME_GOODBYE);
    assert_true(frame.seq == 5 && frame.ack == 6);
    assert_int_equal(frame.code, HARK_ESTOPPED);
    assert_true(hark_str_equal(frame.text, HARK_STR("it stops")));
}

static void
numbers_may_be_of_any_length(void **state)
{
    struct frame frame;

    (void)state;
    assert_int_equal(decode(RAW("\x93\x04\x01\xcc\x02"), &frame), HARK_OK);
    assert_true(frame.kind == FRAME_BATCH && frame.seq == 1 && frame.ack == 2);
}

static void
a_later_version_may_append_elements_and_kinds(void **state)
{
    struct frame frame;

    (void)state;
    assert_int_equal(decode(RAW("\x95\x04\x01\x02\x91\xc0\xa1x"
                                "\x91\x05"),
                            &frame),
                     HARK_OK);
    assert_int_equal(hark__reader_left(&frame.entries), 2); // behind the array
    assert_int_equal(decode(RAW("\x94\xc8\x01\x02\xc0"), &frame), HARK_EDECODE);
    assert_int_equal(decode(RAW("\x94\xcc\xc8\x01\x02\xc0"), &frame), HARK_OK);
    assert_int_equal(frame.kind, 200);
    hark__frame_hello(&bytes, FRAME_WELCOME, &hello);
    bytes.data[0] = 0x9d;
    hark__bytes_put_nil(&bytes);
    assert_int_equal(decode(bytes.data, bytes.size, &frame), HARK_OK);
}

static void
what_is_wrong_is_named(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        hark_err err;
        const char *error;
    } rows[] = {
        {RAW(""), HARK_EDECODE, "frame: malformed head"},
        {RAW("GET / HTTP/1.1\r\n"), HARK_EDECODE, "frame: malformed head"},
        {RAW("\x92\x04\x01"), HARK_EDECODE, "frame: malformed head"},
        {RAW("\x93\x00\x01\x01"), HARK_EDECODE, "frame: malformed head"},
        {RAW("\x93\x04\xff\x01"), HARK_EDECODE, "frame: malformed head"},
        {RAW("\xdd\x05\x00\x00\x00"), HARK_EDECODE, "frame: malformed head"},
        {RAW("\x94\x01\x00\x00\xa4spam"), HARK_EPROTO,
         "frame: the peer does not speak hark"},
        {RAW("\x93\x01\x00\x00"), HARK_EPROTO, "frame: the peer does not speak hark"},
        {RAW("\x94\x01\x00\x00\xa4hark"), HARK_EDECODE, "frame: malformed hello"},
        {RAW("\x93\x03\x00\x00"), HARK_EDECODE, "frame: malformed goodbye"},
        {RAW("\x95\x03\x00\x00\xa1x\xa1x"), HARK_EDECODE, "frame: malformed goodbye"},
        {RAW("\x94\x04\x00\x91"), HARK_EDECODE, "frame: malformed head"},
        {RAW("\x94\x04\x00\x00\x91"), HARK_EDECODE, "frame: malformed batch"},
    };
    struct frame frame;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(decode(rows[i].bytes, rows[i].size, &frame), rows[i].err);
        assert_string_equal(error, rows[i].error);
    }
}

static void
a_hello_without_a_node_or_with_versions_reversed_is_refused(void **state)
{
    struct hello other = hello;
    struct frame frame;

    (void)state;
    other.incarnation = 0;
    hark__frame_hello(&bytes, FRAME_HELLO, &other);
    assert_int_equal(decode(bytes.data, bytes.size, &frame), HARK_EDECODE);
    other = hello;
    other.version_min = 4;
    hark__bytes_truncate(&bytes, 0);
    hark__frame_hello(&bytes, FRAME_HELLO, &other);
    assert_int_equal(decode(bytes.data, bytes.size, &frame), HARK_EDECODE);
}

static void
the_highest_common_version_is_chosen(void **state)
{
    static const struct {
        uint32_t min, max, min2, max2, chosen;
    } rows[] = {
        {1, 1, 1, 1, 1}, {1, 3, 2, 5, 3}, {2, 5, 1, 3, 3}, {1, 2, 3, 4, 0},
        {3, 4, 1, 2, 0}, {1, 9, 4, 4, 4}, {0, 0, 0, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct hello a = {.version_min = rows[i].min, .version_max = rows[i].max};
        const struct hello b = {.version_min = rows[i].min2,
                                .version_max = rows[i].max2};

        assert_int_equal(hark__version_choose(&a, &b), rows[i].chosen);
    }
}

static void
every_truncation_is_an_error(void **state)
{
    struct frame frame;

    (void)state;
    hark__frame_hello(&bytes, FRAME_HELLO, &hello);
    for (size_t size = 0; size < bytes.size; size++) {
        assert_int_not_equal(decode(bytes.data, size, &frame), HARK_OK);
    }
    hark__bytes_truncate(&bytes, 0);
    hark__frame_goodbye(&bytes, 5, 6, HARK_ESTOPPED, HARK_STR("it stops"));
    for (size_t size = 0; size < bytes.size; size++) {
        assert_int_equal(decode(bytes.data, size, &frame), HARK_EDECODE);
    }
}

static void
every_change_of_one_byte_is_handled(void **state)
{
    struct frame frame;
    unsigned taken = 0, refused = 0;

    (void)state;
    hark__frame_hello(&bytes, FRAME_WELCOME, &hello);
    for (size_t at = 0; at < bytes.size; at++) {
        uint8_t was = bytes.data[at];

        for (unsigned other = 0; other < 256; other++) {
            bytes.data[at] = (uint8_t)other;
            hark_err err = decode(bytes.data, bytes.size, &frame);
            taken += err == HARK_OK;
            refused += err != HARK_OK;
        }
        bytes.data[at] = was;
    }
    assert_true(taken > 0 && refused > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_hello_comes_back),
        TEST(numbers_are_stamped_into_a_finished_frame),
        TEST(a_goodbye_comes_back),
        TEST(numbers_may_be_of_any_length),
        TEST(a_later_version_may_append_elements_and_kinds),
        TEST(what_is_wrong_is_named),
        TEST(a_hello_without_a_node_or_with_versions_reversed_is_refused),
        TEST(the_highest_common_version_is_chosen),
        TEST(every_truncation_is_an_error),
        TEST(every_change_of_one_byte_is_handled),
    };
    return cmocka_run_group_tests_name("wire/frame", tests, NULL, NULL);
}
