// Reader: every msgpack format, and bytes that nobody vouches for.

#include "unit/wire/values.h"

#include <msgpack.h>

#include "wire/reader.h"

// What a value holds.
struct item {
    enum item_kind kind;
    uint64_t number; // INT; BOOL; ARRAY: values; STR, BIN: bytes
    bool is_negative;
    double real;
};

// Reads the value by the function for its kind, or, if there is none, skips it.
static bool
read_item(struct reader *in, struct item *item)
{
    struct integer integer;
    uint32_t count;
    hark_bytes bin;
    hark_str str;
    bool truth;

    switch (item->kind) {
    case ITEM_NIL:
        return hark__reader_nil(in);
    case ITEM_BOOL:
        return hark__reader_bool(in, &truth) && (item->number = truth, true);
    case ITEM_INT:
        return hark__reader_int(in, &integer)
               && (item->number = integer.number,
                   item->is_negative = integer.is_negative, true);
    case ITEM_FLOAT:
        return hark__reader_f64(in, &item->real);
    case ITEM_STR:
        return hark__reader_str(in, &str) && (item->number = str.len, true);
    case ITEM_BIN:
        return hark__reader_bin(in, &bin) && (item->number = bin.len, true);
    case ITEM_ARRAY:
        return hark__reader_array(in, &count) && (item->number = count, true);
    default:
        return hark__reader_skip(in);
    }
}

// Reads one value that is all of a block of just that size.
static struct item
read_exact(const void *data, size_t size, bool *out_ok)
{
    uint8_t *copy = exact_copy(data, size);
    struct reader in = hark__reader_of(copy, size);
    struct item item = {.kind = hark__reader_kind(&in)};

    *out_ok = read_item(&in, &item);
    if (!*out_ok) { // what fails leaves the reader where it was
        assert_ptr_equal(in.at, copy);
    }
    free(copy);
    return item;
}

// No function takes what is cut off, whatever kind it is for.
static void
assert_nobody_reads(const void *data, size_t size)
{
    uint8_t *copy = exact_copy(data, size);

    for (enum item_kind kind = ITEM_END; kind <= ITEM_EXT; kind++) {
        struct reader in = hark__reader_of(copy, size);
        struct item item = {.kind = kind};
        hark_ref ref;

        assert_false(read_item(&in, &item));
        assert_false(hark__reader_ref(&in, &ref));
        assert_ptr_equal(in.at, copy);
    }
    free(copy);
}

static struct item
read_ok(const void *data, size_t size)
{
    bool ok;
    struct item item = read_exact(data, size, &ok);

    assert_true(ok);
    return item;
}

static void
integers_of_every_format_are_read(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        int64_t value;
    } rows[] = {
        {RAW("\x00"), 0},
        {RAW("\x7f"), 127},
        {RAW("\xff"), -1},
        {RAW("\xe0"), -32},
        {RAW("\xcc\xff"), 255},
        {RAW("\xcd\x01\x00"), 256},
        {RAW("\xce\xff\xff\xff\xff"), UINT32_MAX},
        {RAW("\xcf\x7f\xff\xff\xff\xff\xff\xff\xff"), INT64_MAX},
        {RAW("\xd0\x80"), -128},
        {RAW("\xd0\x05"), 5}, // longer than need be is allowed
        {RAW("\xd1\x80\x00"), INT16_MIN},
        {RAW("\xd2\x80\x00\x00\x00"), INT32_MIN},
        {RAW("\xd3\x80\x00\x00\x00\x00\x00\x00\x00"), INT64_MIN},
        {RAW("\xcf\x00\x00\x00\x00\x00\x00\x00\x01"), 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct item item = read_ok(rows[i].bytes, rows[i].size);

        assert_int_equal(item.kind, ITEM_INT);
        assert_int_equal(item.is_negative, rows[i].value < 0);
        assert_true((int64_t)item.number == rows[i].value);
    }
}

static void
headers_of_every_format_are_read(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        enum item_kind kind;
        uint64_t number;
    } rows[] = {
        {RAW("\xc0"), ITEM_NIL, 0},
        {RAW("\xc2"), ITEM_BOOL, 0},
        {RAW("\xc3"), ITEM_BOOL, 1},
        {RAW("\xca\x3f\x80\x00\x00"), ITEM_FLOAT, 0},
        {RAW("\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00"), ITEM_FLOAT, 0},
        {RAW("\xa1x"), ITEM_STR, 1},
        {RAW("\xd9\x01x"), ITEM_STR, 1},
        {RAW("\xda\x00\x01x"), ITEM_STR, 1},
        {RAW("\xdb\x00\x00\x00\x01x"), ITEM_STR, 1},
        {RAW("\xc4\x01x"), ITEM_BIN, 1},
        {RAW("\xc5\x00\x01x"), ITEM_BIN, 1},
        {RAW("\xc6\x00\x00\x00\x01x"), ITEM_BIN, 1},
        {RAW("\xd4\x01x"), ITEM_EXT, 0},
        {RAW("\xd5\x01xx"), ITEM_EXT, 0},
        {RAW("\xc7\x01\x01x"), ITEM_EXT, 0},
        {RAW("\xc8\x00\x01\x01x"), ITEM_EXT, 0},
        {RAW("\xc9\x00\x00\x00\x01\x01x"), ITEM_EXT, 0},
        {RAW("\x92\x01\x02"), ITEM_ARRAY, 2},
        {RAW("\xdc\x00\x01\x01"), ITEM_ARRAY, 1},
        {RAW("\xdd\x00\x00\x00\x01\x01"), ITEM_ARRAY, 1},
        {RAW("\x81\x01\x02"), ITEM_MAP, 0},
        {RAW("\xde\x00\x01\x01\x02"), ITEM_MAP, 0},
        {RAW("\xdf\x00\x00\x00\x01\x01\x02"), ITEM_MAP, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct item item = read_ok(rows[i].bytes, rows[i].size);

        assert_int_equal(item.kind, rows[i].kind);
        assert_int_equal(item.number, rows[i].number);
        if (item.kind == ITEM_FLOAT) {
            assert_true(item.real == 1.0);
        }
    }
}

static void
a_value_cut_anywhere_is_the_end(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
    } rows[] = {
        {RAW("\xcc\x01")},
        {RAW("\xcf\1\2\3\4\5\6\7\10")},
        {RAW("\xd3\1\2\3\4\5\6\7\10")},
        {RAW("\xca\1\2\3\4")},
        {RAW("\xcb\1\2\3\4\5\6\7\10")},
        {RAW("\xa3xyz")},
        {RAW("\xdb\0\0\0\2xy")},
        {RAW("\xc6\0\0\0\2xy")},
        {RAW("\xd8\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")},
        {RAW("\xc9\0\0\0\2\1xy")},
        {RAW("\xdd\0\0\0\2\1\1")},
        {RAW("\xdf\0\0\0\1\1\1")},
    };
    bool ok;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t size = 0; size < rows[i].size; size++) {
            struct item item = read_exact(rows[i].bytes, size, &ok);

            assert_false(ok);
            assert_int_equal(item.kind, ITEM_END);
            assert_nobody_reads(rows[i].bytes, size);
        }
        (void)read_ok(rows[i].bytes, rows[i].size);
    }
}

static void
the_byte_that_msgpack_never_uses_is_bad(void **state)
{
    bool ok;
    struct item item = read_exact("\xc1", 1, &ok);

    (void)state;
    assert_false(ok);
    assert_int_equal(item.kind, ITEM_BAD);
}

static void
counts_are_believed_only_as_far_as_the_bytes_reach(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
    } rows[] = {
        {RAW("\xdd\x05\x00\x00\x00")}, // 83,886,080 elements
        {RAW("\xdd\xff\xff\xff\xff\x01")},
        {RAW("\xdf\xff\xff\xff\xff\x01\x01")},
        {RAW("\xdb\xff\xff\xff\xffx")},
        {RAW("\xc6\xff\xff\xff\xffx")},
        {RAW("\xc9\xff\xff\xff\xff\x01x")},
        {RAW("\x92\x01")},
        {RAW("\x81\x01")},
    };
    bool ok;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct reader in = hark__reader_of(rows[i].bytes, rows[i].size);

        (void)read_exact(rows[i].bytes, rows[i].size, &ok);
        assert_false(ok);
        assert_nobody_reads(rows[i].bytes, rows[i].size);
        assert_false(hark__reader_skip(&in));
        assert_int_equal(hark__reader_left(&in), rows[i].size);
    }
}

static void
skip_takes_a_whole_value_and_no_more(void **state)
{
    static const char nested[] = "\x93\x01\x82\xa1k\x91\xc0\xc0\x02\xc4\x01x"
                                 "\x07";
    struct reader in = hark__reader_of(nested, sizeof nested - 1);
    uint64_t next;

    (void)state;
    assert_true(hark__reader_skip(&in));
    assert_int_equal(hark__reader_left(&in), 1);
    assert_true(hark__reader_u64(&in, &next));
    assert_int_equal(next, 7);
    assert_false(hark__reader_skip(&in));
    for (size_t size = 0; size < sizeof nested - 2; size++) {
        uint8_t *copy = exact_copy(nested, size);
        struct reader cut = hark__reader_of(copy, size);

        assert_false(hark__reader_skip(&cut));
        free(copy);
    }
}

static void
skip_needs_no_stack_for_a_million_levels(void **state)
{
    enum { LEVELS = 1000000 };
    uint8_t *deep = malloc(LEVELS + 1);
    struct reader in = hark__reader_of(deep, LEVELS + 1);

    (void)state;
    assert_non_null(deep);
    memset(deep, 0x91, LEVELS);
    deep[LEVELS] = 0xc0;
    assert_true(hark__reader_skip(&in));
    assert_int_equal(hark__reader_left(&in), 0);
    in = hark__reader_of(deep, LEVELS);
    assert_false(hark__reader_skip(&in));
    free(deep);
}

static void
wrong_kinds_and_ranges_leave_the_reader_where_it_was(void **state)
{
    // -1, 2^32, 2^64-1, "x", nil
    static const char bytes[] = "\xff\xcf\0\0\0\1\0\0\0\0"
                                "\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xa1x\xc0";
    struct reader in = hark__reader_of(bytes, sizeof bytes - 1);
    uint64_t u64;
    uint32_t u32;
    int64_t i64;
    double f64;
    bool b;
    hark_str str;
    hark_bytes bin;
    hark_ref ref;

    (void)state;
    assert_false(hark__reader_u64(&in, &u64));
    assert_false(hark__reader_bool(&in, &b));
    assert_false(hark__reader_f64(&in, &f64));
    assert_true(hark__reader_i64(&in, &i64));
    assert_true(i64 == -1);
    assert_false(hark__reader_u32(&in, &u32));
    assert_true(hark__reader_u64(&in, &u64));
    assert_true(u64 == UINT64_C(1) << 32);
    assert_false(hark__reader_i64(&in, &i64));
    assert_true(hark__reader_u64(&in, &u64));
    assert_true(u64 == UINT64_MAX);
    assert_false(hark__reader_bin(&in, &bin));
    assert_false(hark__reader_array(&in, &u32));
    assert_false(hark__reader_ref(&in, &ref));
    assert_false(hark__reader_nil(&in));
    assert_true(hark__reader_str(&in, &str));
    assert_true(hark_str_equal(str, HARK_STR("x")));
    assert_true(hark__reader_ref(&in, &ref)); // nil is nobody
    assert_true(hark_ref_is_null(ref));
    assert_false(hark__reader_nil(&in));
}

static void
only_extension_2_of_2_bytes_is_a_part(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        bool is_part;
    } cases[] = {
        {RAW("\xd5\2\1\3"), true},
        {RAW("\xc7\2\2\1\3"), true}, // longer than need be
        {RAW("\xc8\0\2\2\1\3"), true},
        {RAW("\xc9\0\0\0\2\2\1\3"), true},
        {RAW("\xd5\1\1\3"), false},
        {RAW("\xd5\2\1"), false},
        {RAW("\xd5\2"), false},
        {RAW("\xd5"), false},
        {RAW("\xd4\2\1"), false},
        {RAW("\xc7\1\2\1\3"), false},
        {RAW("\xc7\2\1\1\3"), false},
        {RAW("\xc7\2\2\1"), false},
        {RAW("\xc7\3\2\1\3\0"), false},
        {RAW("\xc7"), false},
        {RAW("\xc4\2\1\3"), false},
        {"", 0, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t *copy = exact_copy(cases[i].bytes, cases[i].size);
        struct reader in = hark__reader_of(copy, cases[i].size);
        uint16_t number = 0;

        assert_int_equal(hark__reader_part(&in, &number), cases[i].is_part);
        assert_ptr_equal(in.at, cases[i].is_part ? in.end : copy);
        assert_int_equal(number, cases[i].is_part ? 0x103 : 0);
        free(copy);
    }
}

static void
only_extension_1_of_16_bytes_is_a_ref(void **state)
{
    static const char good[] = "\xd8\x01\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2";
    static const char other[] = "\xd8\x02\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2";
    static const char narrow[] = "\xd7\x01\0\0\0\0\0\0\0\1";
    static const struct {
        const char *bytes;
        size_t size;
    } longer[] = {
        // than need be is allowed
        {RAW("\xc7\x10\x01\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2")},
        {RAW("\xc8\0\x10\x01\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2")},
        {RAW("\xc9\0\0\0\x10\x01\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2")},
    };
    static const char wide[] = "\xc7\x11\x01\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2\0";
    struct reader in = hark__reader_of(good, sizeof good - 1);
    hark_ref ref;

    (void)state;
    assert_true(hark__reader_ref(&in, &ref));
    assert_true(ref.node == 1 && ref.actor == 2);
    in = hark__reader_of(other, sizeof other - 1);
    assert_false(hark__reader_ref(&in, &ref));
    in = hark__reader_of(narrow, sizeof narrow - 1);
    assert_false(hark__reader_ref(&in, &ref));
    in = hark__reader_of(wide, sizeof wide - 1);
    assert_false(hark__reader_ref(&in, &ref));
    for (size_t i = 0; i < sizeof longer / sizeof longer[0]; i++) {
        in = hark__reader_of(longer[i].bytes, longer[i].size);
        assert_true(hark__reader_ref(&in, &ref));
        assert_true(ref.node == 1 && ref.actor == 2);
        assert_int_equal(hark__reader_left(&in), 0);
        assert_nobody_reads(longer[i].bytes, longer[i].size - 1);
    }
}

// ---- msgpack-c on the other side ----

static void
what_msgpack_c_packs_is_read_as_it_was(void **state)
{
    struct values values = values_of(2);
    msgpack_sbuffer buffer;
    msgpack_packer packer;

    (void)state;
    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
    for (int i = 0; i < 10000; i++) {
        uint64_t number = values_number(&values);
        hark_str text = values_text(&values), str;
        double real = (double)(int64_t)number / 7, f64;
        hark_bytes bin;
        uint64_t u64;
        int64_t i64;
        uint32_t count;

        msgpack_sbuffer_clear(&buffer);
        msgpack_pack_array(&packer, 5);
        msgpack_pack_uint64(&packer, number);
        msgpack_pack_int64(&packer, (int64_t)number);
        msgpack_pack_double(&packer, real);
        msgpack_pack_str_with_body(&packer, text.ptr, text.len);
        msgpack_pack_bin_with_body(&packer, text.ptr, text.len);
        struct reader in = hark__reader_of(buffer.data, buffer.size);
        assert_true(hark__reader_array(&in, &count) && count == 5);
        assert_true(hark__reader_u64(&in, &u64) && u64 == number);
        assert_true(hark__reader_i64(&in, &i64) && i64 == (int64_t)number);
        assert_true(hark__reader_f64(&in, &f64) && f64 == real);
        assert_true(hark__reader_str(&in, &str) && hark_str_equal(str, text));
        assert_true(hark__reader_bin(&in, &bin) && bin.len == text.len
                    && memcmp(bin.ptr, text.ptr, text.len) == 0);
        assert_int_equal(hark__reader_left(&in), 0);
    }
    msgpack_sbuffer_destroy(&buffer);
    values_fini(&values);
}

// Short inputs of chance: msgpack-c takes those that skip takes, and no others. (They
// are too short for its unpacker to ask for much memory.)
static void
msgpack_c_agrees_on_what_is_msgpack(void **state)
{
    struct values values = values_of(3);
    unsigned taken = 0;

    (void)state;
    for (int i = 0; i < 50000; i++) {
        size_t size = 1 + (size_t)values_below(&values, 12);
        uint8_t *data = malloc(size);
        size_t end = 0;
        msgpack_unpacked result;

        assert_non_null(data);
        for (size_t at = 0; at < size; at++) {
            data[at] = (uint8_t)values_next(&values);
            // Wide headers make msgpack-c ask for gigabytes: see docs/adr/0003.
            if (data[at] >= 0xdc && data[at] <= 0xdf) {
                data[at] = 0x91;
            }
        }
        struct reader in = hark__reader_of(data, size);
        bool ok = hark__reader_skip(&in);
        msgpack_unpacked_init(&result);
        bool theirs = msgpack_unpack_next(&result, (const char *)data, size, &end)
                      == MSGPACK_UNPACK_SUCCESS;
        assert_int_equal(ok, theirs);
        if (ok) {
            assert_int_equal(end, (size_t)(in.at - data));
            taken++;
        }
        msgpack_unpacked_destroy(&result);
        free(data);
    }
    assert_true(taken > 1000 && taken < 49000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_of_every_format_are_read),
        cmocka_unit_test(headers_of_every_format_are_read),
        cmocka_unit_test(a_value_cut_anywhere_is_the_end),
        cmocka_unit_test(the_byte_that_msgpack_never_uses_is_bad),
        cmocka_unit_test(counts_are_believed_only_as_far_as_the_bytes_reach),
        cmocka_unit_test(skip_takes_a_whole_value_and_no_more),
        cmocka_unit_test(skip_needs_no_stack_for_a_million_levels),
        cmocka_unit_test(wrong_kinds_and_ranges_leave_the_reader_where_it_was),
        cmocka_unit_test(only_extension_1_of_16_bytes_is_a_ref),
        cmocka_unit_test(only_extension_2_of_2_bytes_is_a_part),
        cmocka_unit_test(what_msgpack_c_packs_is_read_as_it_was),
        cmocka_unit_test(msgpack_c_agrees_on_what_is_msgpack),
    };
    return cmocka_run_group_tests_name("wire/reader", tests, NULL, NULL);
}
