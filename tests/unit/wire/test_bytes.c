// Bytes: what is written, and that Debian's msgpack-c reads and writes the same.

#include "unit/wire/values.h"

#include <math.h>

#include <msgpack.h>

#include "wire/pack.h"

static int
setup(void **state)
{
    static struct bytes bytes;

    hark__bytes_init(&bytes);
    *state = &bytes;
    return 0;
}

static int
teardown(void **state)
{
    hark__bytes_fini(*state);
    return 0;
}

// Values that the room only ever packs as a message's fields.

static void
put_bool(struct bytes *bytes, bool value)
{
    hark__bytes_close(bytes, hark__pack_bool(hark__bytes_open(bytes, 0), value));
}

static void
put_f32(struct bytes *bytes, float value)
{
    hark__bytes_close(bytes, hark__pack_f32(hark__bytes_open(bytes, 0), value));
}

static void
put_f64(struct bytes *bytes, double value)
{
    hark__bytes_close(bytes, hark__pack_f64(hark__bytes_open(bytes, 0), value));
}

static void
put_bin(struct bytes *bytes, const void *data, size_t size)
{
    uint8_t *at = hark__pack_bin_head(hark__bytes_open(bytes, size), size);

    hark__bytes_close(bytes, hark__pack_body(at, data, size));
}

static void
integers_take_their_shortest_form(void **state)
{
    static const struct {
        uint64_t value;
        size_t size;
    } rows[] = {
        {0, 1},          {127, 1},        {128, 2},
        {255, 2},        {256, 3},        {65535, 3},
        {65536, 5},      {UINT32_MAX, 5}, {UINT64_C(1) << 32, 9},
        {UINT64_MAX, 9},
    };
    struct bytes *bytes = *state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        hark__bytes_truncate(bytes, 0);
        hark__bytes_put_u64(bytes, rows[i].value);
        assert_int_equal(bytes->size, rows[i].size);
    }
    hark__bytes_truncate(bytes, 0);
    hark__bytes_put_i64(bytes, -1);
    hark__bytes_put_i64(bytes, -32);
    hark__bytes_put_i64(bytes, -33);
    hark__bytes_put_i64(bytes, 5);
    assert_bytes(bytes, RAW("\xff\xe0\xd0\xdf\x05"));
}

static void
constants_have_one_byte(void **state)
{
    hark__bytes_put_nil(*state);
    put_bool(*state, false);
    put_bool(*state, true);
    assert_bytes(*state, RAW("\xc0\xc2\xc3"));
}

static void
text_bytes_and_arrays_have_a_header(void **state)
{
    hark__bytes_put_str(*state, HARK_STR("ab"));
    hark__bytes_put_str(*state, (hark_str){NULL, 0});
    put_bin(*state, "\0\1", 2);
    put_bin(*state, NULL, 0);
    hark__bytes_put_array(*state, 15);
    hark__bytes_put_array(*state, 16);
    assert_bytes(*state, RAW("\xa2"
                             "ab\xa0\xc4\x02\x00\x01\xc4\x00\x9f\xdc\x00\x10"));
}

static void
a_ref_is_extension_1_and_nobody_is_nil(void **state)
{
    hark__bytes_put_ref(*state, (hark_ref){UINT64_C(0x0102030405060708), 0x10});
    hark__bytes_put_ref(*state, (hark_ref){7, 0});
    assert_bytes(*state, RAW("\xd8\x01\x01\x02\x03\x04\x05\x06\x07\x08"
                             "\x00\x00\x00\x00\x00\x00\x00\x10\xc0"));
}

static void
a_wide_number_can_be_changed_in_place(void **state)
{
    struct bytes *bytes = *state;

    hark__bytes_put_wide_u64(bytes, 1);
    assert_bytes(bytes, RAW("\xcf\0\0\0\0\0\0\0\1"));
    hark__bytes_store_u64(bytes->data + 1, UINT64_C(0x0102030405060708));
    assert_bytes(bytes, RAW("\xcf\1\2\3\4\5\6\7\10"));
}

static void
truncating_takes_back_what_was_written(void **state)
{
    hark__bytes_append(*state, "abcd", 4);
    hark__bytes_truncate(*state, 2);
    hark__bytes_truncate(*state, 3); // more than there is: nothing
    hark__bytes_append(*state, "x", 1);
    assert_bytes(*state, "abx", 3);
}

static void
text_over_4_gib_fails_once_and_says_so(void **state)
{
    struct bytes *bytes = *state;

    hark__bytes_append(bytes, "abc", 3);
    hark__bytes_put_str(bytes, (hark_str){"", (size_t)UINT32_MAX + 1});
    assert_true(bytes->failed);
    hark__bytes_put_nil(bytes);
    assert_int_equal(bytes->size, 3);
    hark__bytes_truncate(bytes, 3);
    hark__bytes_put_array(bytes, (size_t)UINT32_MAX + 1);
    assert_true(bytes->failed);
    hark__bytes_truncate(bytes, 3);
    assert_false(hark__bytes_reserve(bytes, SIZE_MAX - 1));
    assert_true(bytes->failed);
    hark__bytes_truncate(bytes, 3);
    assert_bytes(bytes, "abc", 3);
}

static void
a_block_grows_as_long_as_it_is_written_to(void **state)
{
    struct bytes *bytes = *state;

    for (uint32_t i = 0; i < 100000; i++) {
        hark__bytes_append(bytes, &i, sizeof i);
    }
    assert_int_equal(bytes->size, 100000 * sizeof(uint32_t));
    for (uint32_t i = 0; i < 100000; i++) {
        assert_memory_equal(bytes->data + i * sizeof i, &i, sizeof i);
    }
}

// ---- msgpack-c on the other side ----

// The one value that msgpack-c reads there; it must be all of it.
static msgpack_object
unpacked(const struct bytes *bytes, msgpack_unpacked *result)
{
    size_t end = 0;

    msgpack_unpacked_init(result);
    assert_int_equal(
        msgpack_unpack_next(result, (const char *)bytes->data, bytes->size, &end),
        MSGPACK_UNPACK_SUCCESS);
    assert_int_equal(end, bytes->size);
    return result->data;
}

static void
msgpack_c_reads_numbers_as_they_were_written(void **state)
{
    struct values values = values_of(1);
    struct bytes *bytes = *state;
    msgpack_unpacked result;

    for (int i = 0; i < 10000; i++) {
        int64_t number = (int64_t)values_number(&values);

        hark__bytes_truncate(bytes, 0);
        hark__bytes_put_i64(bytes, number);
        msgpack_object object = unpacked(bytes, &result);
        assert_int_equal(object.type, number < 0 ? MSGPACK_OBJECT_NEGATIVE_INTEGER
                                                 : MSGPACK_OBJECT_POSITIVE_INTEGER);
        assert_true(object.via.i64 == number);
        msgpack_unpacked_destroy(&result);

        hark__bytes_truncate(bytes, 0);
        hark__bytes_put_u64(bytes, (uint64_t)number);
        object = unpacked(bytes, &result);
        assert_int_equal(object.type, MSGPACK_OBJECT_POSITIVE_INTEGER);
        assert_true(object.via.u64 == (uint64_t)number);
        msgpack_unpacked_destroy(&result);
    }
}

static void
msgpack_c_reads_floats_bit_by_bit(void **state)
{
    static const double rows[] = {0.0,       -0.0,   1.5,  -1e300,   0.1,     INFINITY,
                                  -INFINITY, 5e-324, 1e38, 16777217, -2.5e-45};
    struct bytes *bytes = *state;
    msgpack_unpacked result;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        hark__bytes_truncate(bytes, 0);
        put_f64(bytes, rows[i]);
        msgpack_object object = unpacked(bytes, &result);
        assert_int_equal(object.type, MSGPACK_OBJECT_FLOAT64);
        assert_memory_equal(&object.via.f64, &rows[i], sizeof rows[i]);
        msgpack_unpacked_destroy(&result);

        double single = (double)(float)rows[i];
        hark__bytes_truncate(bytes, 0);
        put_f32(bytes, (float)rows[i]);
        object = unpacked(bytes, &result);
        assert_int_equal(object.type, MSGPACK_OBJECT_FLOAT32);
        assert_memory_equal(&object.via.f64, &single, sizeof single);
        msgpack_unpacked_destroy(&result);
    }
}

static void
msgpack_c_reads_text_of_every_length_of_header(void **state)
{
    static const size_t sizes[] = {0, 31, 32, 255, 256, 65535, 65536};
    struct bytes *bytes = *state;
    msgpack_unpacked result;
    char *text = malloc(65536);

    assert_non_null(text);
    memset(text, 'x', 65536);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        hark__bytes_truncate(bytes, 0);
        hark__bytes_put_array(bytes, 2);
        hark__bytes_put_str(bytes, (hark_str){text, sizes[i]});
        put_bin(bytes, text, sizes[i]);
        msgpack_object object = unpacked(bytes, &result);
        assert_int_equal(object.type, MSGPACK_OBJECT_ARRAY);
        assert_int_equal(object.via.array.size, 2);
        const msgpack_object *items = object.via.array.ptr;
        assert_int_equal(items[0].type, MSGPACK_OBJECT_STR);
        assert_int_equal(items[0].via.str.size, sizes[i]);
        assert_memory_equal(items[0].via.str.ptr, text, sizes[i]);
        assert_int_equal(items[1].type, MSGPACK_OBJECT_BIN);
        assert_int_equal(items[1].via.bin.size, sizes[i]);
        assert_memory_equal(items[1].via.bin.ptr, text, sizes[i]);
        msgpack_unpacked_destroy(&result);
    }
    free(text);
}

static void
msgpack_c_reads_a_ref_as_an_extension(void **state)
{
    msgpack_unpacked result;

    hark__bytes_put_ref(*state, (hark_ref){1, 2});
    msgpack_object object = unpacked(*state, &result);
    assert_int_equal(object.type, MSGPACK_OBJECT_EXT);
    assert_int_equal(object.via.ext.type, EXT_REF);
    assert_int_equal(object.via.ext.size, 16);
    assert_memory_equal(object.via.ext.ptr, "\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2", 16);
    msgpack_unpacked_destroy(&result);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(integers_take_their_shortest_form),
        TEST(constants_have_one_byte),
        TEST(text_bytes_and_arrays_have_a_header),
        TEST(a_ref_is_extension_1_and_nobody_is_nil),
        TEST(a_wide_number_can_be_changed_in_place),
        TEST(truncating_takes_back_what_was_written),
        TEST(text_over_4_gib_fails_once_and_says_so),
        TEST(a_block_grows_as_long_as_it_is_written_to),
        TEST(msgpack_c_reads_numbers_as_they_were_written),
        TEST(msgpack_c_reads_floats_bit_by_bit),
        TEST(msgpack_c_reads_text_of_every_length_of_header),
        TEST(msgpack_c_reads_a_ref_as_an_extension),
    };
    return cmocka_run_group_tests_name("wire/bytes", tests, NULL, NULL);
}
