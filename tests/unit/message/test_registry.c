#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "message/registry.h"
#include "shapes.h"

static int
setup(void **state)
{
    *state = hark__registry_new();
    return *state == NULL;
}

static int
teardown(void **state)
{
    hark__registry_free(*state);
    return 0;
}

static void
a_type_is_found_by_its_name(void **state)
{
    assert_int_equal(hark__registry_add(*state, &deposit_type), HARK_OK);
    assert_ptr_equal(hark__registry_find(*state, "deposit and more", 7), &deposit_type);
    assert_null(hark__registry_find(*state, "deposi", 6));
    assert_null(hark__registry_find(*state, "", 0));
}

// Such a name comes from a peer. It must not be read behind the end of ours.
static void
a_name_with_a_nul_inside_is_another_name(void **state)
{
    char name[300] = "deposit";

    assert_int_equal(hark__registry_add(*state, &deposit_type), HARK_OK);
    // Long enough that some hash as the type's own name does.
    for (size_t len = strlen(name) + 1; len < sizeof name; len++) {
        assert_null(hark__registry_find(*state, name, len));
    }
}

static void
adding_twice_changes_nothing(void **state)
{
    hark_type twin = deposit_type;

    assert_int_equal(hark__registry_add(*state, &deposit_type), HARK_OK);
    assert_int_equal(hark__registry_add(*state, &deposit_type), HARK_OK);
    assert_int_equal(hark__registry_add(*state, &twin), HARK_OK);
    assert_int_equal(hark__registry_count(*state), 1);
    assert_int_equal(hark__registry_index(*state, &twin), 0);
}

static void
another_type_of_the_same_name_is_refused(void **state)
{
    hark_type other = point_type;

    other.name = "deposit";
    assert_int_equal(hark__registry_add(*state, &deposit_type), HARK_OK);
    assert_int_equal(hark__registry_add(*state, &other), HARK_EEXIST);
    assert_int_equal(hark__registry_index(*state, &other), UINT32_MAX);
}

static void
nested_types_come_before_the_type_that_holds_them(void **state)
{
    assert_int_equal(hark__registry_add(*state, &drawing_type), HARK_OK);
    assert_int_equal(hark__registry_count(*state), 3);
    assert_ptr_equal(hark__registry_at(*state, 0), &point_type);
    assert_ptr_equal(hark__registry_at(*state, 1), &deposit_type);
    assert_int_equal(hark__registry_index(*state, &drawing_type), 2);
    assert_null(hark__registry_at(*state, 3));
}

static void
malformed_descriptors_are_refused(void **state)
{
    const hark_field outside = {"x", HARK_KIND_i64, 0, 4, NULL};
    const hark_field unknown = {"x", 99, 0, 0, NULL};
    const hark_field untyped = {"x", HARK_KIND_message, 0, 0, NULL};
    const hark_field nested_list = {"x", HARK_KIND_list, HARK_KIND_list, 0, NULL};
    const hark_field pointing = {"x", HARK_KIND_str, 0, 0, NULL};
    const hark_type types[] = {
        {"outside", 8, 1, true, &outside},
        {"unknown", 8, 1, true, &unknown},
        {"untyped", 8, 1, true, &untyped},
        {"listed", 16, 1, false, &nested_list},
        {"pointing", 16, 1, true, &pointing},
        {"", 8, 0, true, NULL},
        {NULL, 8, 0, true, NULL},
        {"none", 8, 1, true, NULL},
    };

    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        assert_int_equal(hark__registry_add(*state, &types[i]), HARK_EINVAL);
    }
    assert_int_equal(hark__registry_add(*state, NULL), HARK_EINVAL);
}

static void
a_type_that_holds_itself_is_refused(void **state)
{
    hark_field next = {"next", HARK_KIND_list, HARK_KIND_message, 0, NULL};
    hark_type node = {"node", 16, 1, false, &next};

    next.type = &node;
    assert_int_equal(hark__registry_add(*state, &node), HARK_EINVAL);
}

static void
a_thousand_types_are_all_found(void **state)
{
    static char names[1000][32];
    static hark_type types[1000];

    for (int i = 0; i < 1000; i++) {
        snprintf(names[i], sizeof names[i], "type_%d", i);
        types[i] = (hark_type){names[i], 1, 0, true, NULL};
        assert_int_equal(hark__registry_add(*state, &types[i]), HARK_OK);
    }
    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(hark__registry_index(*state, &types[i]), i);
    }
}

// The wire depends on these: a change here breaks every running peer.
static void
hashes_never_change(void **state)
{
    (void)state;
    assert_int_equal(hark__type_hash(&get_balance_type), UINT64_C(0xd6c1c955ae2ce8e4));
    assert_int_equal(hark__type_hash(&deposit_type), UINT64_C(0xd42a5a71bc8aa829));
    assert_int_equal(hark__type_hash(&drawing_type), UINT64_C(0x46d8c916dd1c719c));
}

static void
a_hash_depends_on_every_part_of_a_type(void **state)
{
    hark_field fields[2] = {deposit_type.fields[0], deposit_type.fields[1]};
    hark_type type = {"deposit", sizeof(deposit), 2, false, fields};
    uint64_t hash = hark__type_hash(&type);

    (void)state;
    assert_int_equal(hash, hark__type_hash(&deposit_type));
    fields[0].name = "sum";
    assert_int_not_equal(hark__type_hash(&type), hash);
    fields[0].name = "amount";
    fields[0].kind = HARK_KIND_u64;
    assert_int_not_equal(hark__type_hash(&type), hash);
    fields[0].kind = HARK_KIND_i64;
    type.count = 1;
    assert_int_not_equal(hark__type_hash(&type), hash);
    type.count = 2;
    type.name = "deposi";
    assert_int_not_equal(hark__type_hash(&type), hash);
}

static void
equal_types_have_the_same_name_fields_and_layout(void **state)
{
    hark_field fields[2] = {deposit_type.fields[0], deposit_type.fields[1]};
    hark_type type = {"deposit", sizeof(deposit), 2, false, fields};

    (void)state;
    assert_true(hark_type_equal(&type, &deposit_type));
    fields[0].kind = HARK_KIND_u64;
    assert_false(hark_type_equal(&type, &deposit_type));
    fields[0] = deposit_type.fields[0];
    fields[0].offset = 4;
    assert_false(hark_type_equal(&type, &deposit_type));
    assert_false(hark_type_equal(NULL, &deposit_type));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_type_is_found_by_its_name),
        TEST(a_name_with_a_nul_inside_is_another_name),
        TEST(adding_twice_changes_nothing),
        TEST(another_type_of_the_same_name_is_refused),
        TEST(nested_types_come_before_the_type_that_holds_them),
        TEST(malformed_descriptors_are_refused),
        TEST(a_type_that_holds_itself_is_refused),
        TEST(a_thousand_types_are_all_found),
        TEST(hashes_never_change),
        TEST(a_hash_depends_on_every_part_of_a_type),
        TEST(equal_types_have_the_same_name_fields_and_layout),
    };
    return cmocka_run_group_tests_name("message/registry", tests, NULL, NULL);
}
