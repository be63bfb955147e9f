#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "shapes.h"

static char out[1024];

static const char *
print(const hark_type *type, const void *value)
{
    size_t len = hark_print(out, sizeof out, type, value);

    assert_int_equal(len, strlen(out));
    return out;
}

static void
fields_are_printed_by_name(void **state)
{
    deposit value = {42, HARK_STR("a \"b\"\n\x01")};

    (void)state;
    assert_string_equal(print(&deposit_type, &value),
                        "deposit{amount: 42, memo: \"a \\\"b\\\"\\n\\x01\"}");
    assert_string_equal(print(&get_balance_type, &(get_balance){0}), "get_balance{}");
    assert_string_equal(print(&deposit_type, NULL), "deposit");
    assert_string_equal(print(NULL, NULL), "(nothing)");
}

static void
every_plain_kind_has_a_form(void **state)
{
    hark_ref who = {UINT64_C(0x1fa9) << 48, UINT64_C(2) << 32 | 42};
    numbers value = {true, -1, -2,         -3,   INT64_MIN, 1,
                     2,    3,  UINT64_MAX, 0.1f, 1.0 / 3,   who};

    (void)state;
    assert_string_equal(print(&numbers_type, &value),
                        "numbers{b: true, s8: -1, s16: -2, s32: -3, "
                        "s64: -9223372036854775808, n8: 1, n16: 2, n32: 3, "
                        "n64: 18446744073709551615, f: 0.1, d: 0.33333333333333331, "
                        "who: actor<1fa9.42.2>}");
}

static void
nested_messages_and_lists_are_printed_in_place(void **state)
{
    deposit costs[] = {{1, HARK_STR("x")}};
    drawing value = {.title = HARK_STR("t"), .costs = {costs, 1}};

    (void)state;
    assert_string_equal(
        print(&drawing_type, &value),
        "drawing{title: \"t\", origin: point{x: 0, y: 0}, outline: [], "
        "costs: [deposit{amount: 1, memo: \"x\"}], price: deposit{amount: 0, memo: \"\"}}");
}

static void
what_is_long_is_cut(void **state)
{
    char text[100];
    uint8_t items[20] = {0};
    lists listed = {.n8 = {items, 20}};
    blob value = {.data = {items, 20, NULL}, .name = {text, sizeof text}};

    (void)state;
    memset(text, 'a', sizeof text);
    memcpy(text + 62, "\xe2\x82\xac", 3); // a euro sign that stands across the cut
    print(&blob_type, &value);
    assert_non_null(strstr(out, "<20 bytes: 00 00"));
    assert_non_null(strstr(out, "00...>"));
    assert_non_null(strstr(out, "aaa\"..."));
    assert_null(strstr(out, "\xe2"));
    assert_non_null(
        strstr(print(&lists_type, &listed), "n8: [0, 0, 0, 0, 0, 0, 0, 0, ...]"));
}

static void
null_with_a_length_is_printed_as_such(void **state)
{
    blob value = {.data = {NULL, 3, NULL}, .name = {NULL, 5}};
    lists listed = {.n8 = {NULL, 2}};

    (void)state;
    assert_string_equal(print(&blob_type, &value),
                        "blob{data: <3 bytes: null>, name: null}");
    assert_non_null(strstr(print(&lists_type, &listed), "n8: null, "));
}

static void
a_short_buffer_gets_what_fits_and_the_whole_length(void **state)
{
    char small[8];

    (void)state;
    assert_int_equal(
        hark_print(small, sizeof small, &get_balance_type, &(get_balance){0}), 13);
    assert_string_equal(small, "get_bal");
    assert_int_equal(hark_print(NULL, 0, &get_balance_type, &(get_balance){0}), 13);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_printed_by_name),
        cmocka_unit_test(every_plain_kind_has_a_form),
        cmocka_unit_test(nested_messages_and_lists_are_printed_in_place),
        cmocka_unit_test(what_is_long_is_cut),
        cmocka_unit_test(null_with_a_length_is_printed_as_such),
        cmocka_unit_test(a_short_buffer_gets_what_fits_and_the_whole_length),
    };
    return cmocka_run_group_tests_name("message/print", tests, NULL, NULL);
}
