#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shapes.h"

HARK_MESSAGE(thirty_two, (i8, a1), (i8, a2), (i8, a3), (i8, a4), (i8, a5), (i8, a6),
             (i8, a7), (i8, a8), (i8, a9), (i8, a10), (i8, a11), (i8, a12), (i8, a13),
             (i8, a14), (i8, a15), (i8, a16), (i8, a17), (i8, a18), (i8, a19),
             (i8, a20), (i8, a21), (i8, a22), (i8, a23), (i8, a24), (i8, a25),
             (i8, a26), (i8, a27), (i8, a28), (i8, a29), (i8, a30), (i8, a31),
             (i8, a32))

extern const hark_type *const __start_hark_types[];
extern const hark_type *const __stop_hark_types[];

static void
a_message_without_fields_has_count_zero_and_size_one(void **state)
{
    (void)state;
    assert_string_equal(get_balance_type.name, "get_balance");
    assert_int_equal(get_balance_type.count, 0);
    assert_int_equal(get_balance_type.size, 1);
    assert_true(get_balance_type.flat);
}

static void
fields_are_described_by_name_kind_and_offset(void **state)
{
    (void)state;
    assert_int_equal(deposit_type.count, 2);
    assert_int_equal(deposit_type.size, sizeof(deposit));
    assert_string_equal(deposit_type.fields[1].name, "memo");
    assert_int_equal(deposit_type.fields[1].kind, HARK_KIND_str);
    assert_int_equal(deposit_type.fields[1].offset, offsetof(deposit, memo));
}

static void
lists_and_nested_messages_name_their_element(void **state)
{
    const hark_field *fields = drawing_type.fields;

    (void)state;
    assert_int_equal(fields[1].kind, HARK_KIND_message);
    assert_ptr_equal(fields[1].type, &point_type);
    assert_int_equal(fields[2].kind, HARK_KIND_list);
    assert_int_equal(fields[2].element, HARK_KIND_message);
    assert_ptr_equal(fields[2].type, &point_type);
    assert_int_equal(lists_type.fields[0].element, HARK_KIND_bool);
    assert_int_equal(numbers_type.fields[0].kind, HARK_KIND_bool);
}

static void
a_type_is_flat_when_nothing_in_it_points_outside(void **state)
{
    (void)state;
    assert_true(point_type.flat);
    assert_true(line_type.flat);
    assert_true(numbers_type.flat);
    assert_false(deposit_type.flat);
    assert_false(drawing_type.flat);
    assert_false(album_type.flat);
}

static void
thirty_two_fields_fit(void **state)
{
    (void)state;
    assert_int_equal(thirty_two_type.count, 32);
    assert_string_equal(thirty_two_type.fields[31].name, "a32");
}

static void
every_declared_type_stands_in_the_section(void **state)
{
    size_t found = 0;

    (void)state;
    for (const hark_type *const *at = __start_hark_types; at < __stop_hark_types;
         at++) {
        found += *at == &deposit_type || *at == &get_balance_type;
    }
    assert_int_equal(found, 2);
}

static const void *
value_of(const hark_type *type, const void *value)
{
    (void)type;
    return value;
}

#define VALUE(...) value_of(HARK_TYPE_(__VA_ARGS__), HARK_VALUE_(__VA_ARGS__))

static void
a_value_is_built_from_any_number_of_initialisers(void **state)
{
    const deposit *empty = VALUE(deposit);
    const deposit *full = VALUE(deposit, .amount = 42, .memo = HARK_STR("x"));
    const lists *many =
        VALUE(lists, .n8 = {(uint8_t[]){1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 10},
              .names = {(hark_str[]){HARK_STR("a"), HARK_STR("b")}, 2});

    (void)state;
    assert_int_equal(empty->amount, 0);
    assert_int_equal(empty->memo.len, 0);
    assert_int_equal(full->amount, 42);
    assert_string_equal(full->memo.ptr, "x");
    assert_int_equal(many->n8.items[9], 10);
    assert_int_equal(many->names.count, 2);
    assert_non_null(VALUE(get_balance));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_without_fields_has_count_zero_and_size_one),
        cmocka_unit_test(fields_are_described_by_name_kind_and_offset),
        cmocka_unit_test(lists_and_nested_messages_name_their_element),
        cmocka_unit_test(a_type_is_flat_when_nothing_in_it_points_outside),
        cmocka_unit_test(thirty_two_fields_fit),
        cmocka_unit_test(every_declared_type_stands_in_the_section),
        cmocka_unit_test(a_value_is_built_from_any_number_of_initialisers),
    };
    return cmocka_run_group_tests_name("message/declare", tests, NULL, NULL);
}
