// Types: numbers for what we declare, and what we make of a peer's declarations.

#include "unit/wire/values.h"

#include "remote/types.h"
#include "unit/message/shapes.h"

struct bench {
    struct bytes bytes;
    struct types_out out;
    struct types_in in;
    struct registry *registry;
};

static int
setup(void **state)
{
    static struct bench bench;

    bench = (struct bench){.registry = hark__registry_new()};
    hark__bytes_init(&bench.bytes);
    *state = &bench;
    return bench.registry == NULL;
}

static int
teardown(void **state)
{
    struct bench *bench = *state;

    hark__types_out_fini(&bench->out);
    hark__types_in_fini(&bench->in);
    hark__bytes_fini(&bench->bytes);
    hark__registry_free(bench->registry);
    return 0;
}

static uint32_t
number_of(struct bench *bench, const hark_type *type)
{
    uint32_t number;

    assert_int_equal(hark__types_out_number(&bench->out, &bench->bytes, type, &number),
                     HARK_OK);
    return number;
}

// Takes in every declaration that was written so far.
static hark_err
take_in(struct bench *bench)
{
    struct reader in = hark__reader_of(bench->bytes.data, bench->bytes.size);
    struct entry entry = {0};
    char error[100];
    hark_err err, result = HARK_OK;

    while (hark__entry_next(&in, &entry, &err, error, sizeof error)) {
        assert_int_equal(err, HARK_OK);
        assert_int_equal(entry.kind, ENTRY_TYPES);
        err = hark__types_in_declare(&bench->in, bench->registry, &entry.types);
        result = result == HARK_OK ? err : result;
    }
    hark__bytes_truncate(&bench->bytes, 0);
    return result;
}

static void
declare_by_hand(struct bench *bench, uint32_t number, const hark_type *type)
{
    hark__entry_types(&bench->bytes, number, 1);
    hark__entry_type(&bench->bytes, type);
}

// ---- ours ----

static void
a_type_is_declared_once(void **state)
{
    struct bench *bench = *state;

    assert_int_equal(number_of(bench, &deposit_type), 0);
    size_t size = bench->bytes.size;
    assert_true(size > 0);
    assert_int_equal(number_of(bench, &blob_type), 1);
    assert_true(bench->bytes.size > size);
    size = bench->bytes.size;
    assert_int_equal(number_of(bench, &deposit_type), 0);
    assert_int_equal(number_of(bench, &blob_type), 1);
    assert_int_equal(bench->bytes.size, size);
}

static void
nested_types_are_declared_before_what_holds_them(void **state)
{
    struct bench *bench = *state;

    assert_int_equal(number_of(bench, &drawing_type), 2);
    assert_int_equal(number_of(bench, &point_type), 0);
    assert_int_equal(number_of(bench, &deposit_type), 1);
}

static void
a_declaration_taken_back_is_made_again(void **state)
{
    struct bench *bench = *state;

    assert_int_equal(number_of(bench, &deposit_type), 0);
    size_t size = bench->bytes.size;
    assert_int_equal(number_of(bench, &drawing_type), 2);
    hark__bytes_truncate(&bench->bytes, size);
    hark__types_out_truncate(&bench->out, 1);
    assert_int_equal(number_of(bench, &blob_type), 1);
    assert_int_equal(number_of(bench, &drawing_type), 3);
    assert_int_equal(hark__registry_add(bench->registry, &drawing_type), HARK_OK);
    assert_int_equal(take_in(bench), HARK_OK);
    assert_ptr_equal(hark__types_in_find(&bench->in, 3)->local, &drawing_type);
}

// A type and its name, of which there may be many.
struct named {
    hark_type type;
    char name[16];
};

static struct named *
many_types(uint32_t count)
{
    struct named *named = calloc(count, sizeof *named);

    assert_non_null(named);
    for (uint32_t i = 0; i < count; i++) {
        snprintf(named[i].name, sizeof named[i].name, "t%u", i);
        named[i].type = (hark_type){named[i].name, 1, 0, true, NULL};
    }
    return named;
}

static void
numbers_end_at_their_limit(void **state)
{
    struct bench *bench = *state;
    struct named *named = many_types(TYPES_LIMIT + 1);
    uint32_t number;

    for (uint32_t i = 0; i < TYPES_LIMIT; i++) {
        assert_int_equal(number_of(bench, &named[i].type), i);
    }
    assert_int_equal(hark__types_out_number(&bench->out, &bench->bytes,
                                            &named[TYPES_LIMIT].type, &number),
                     HARK_ELIMIT);
    assert_int_equal(number_of(bench, &named[12345].type), 12345);
    assert_int_equal(take_in(bench), HARK_OK);
    declare_by_hand(bench, TYPES_LIMIT, &named[TYPES_LIMIT].type);
    assert_int_equal(take_in(bench), HARK_ELIMIT);
    free(named);
}

// ---- theirs ----

static void
declared_types_are_found_by_number(void **state)
{
    struct bench *bench = *state;

    assert_int_equal(hark__registry_add(bench->registry, &drawing_type), HARK_OK);
    (void)number_of(bench, &drawing_type);
    assert_int_equal(take_in(bench), HARK_OK);
    assert_ptr_equal(hark__types_in_find(&bench->in, 0)->local, &point_type);
    assert_ptr_equal(hark__types_in_find(&bench->in, 2)->local, &drawing_type);
    assert_null(hark__types_in_find(&bench->in, 3));
    assert_null(hark__types_in_find(&bench->in, UINT32_MAX));
}

static void
numbers_out_of_order_are_a_breach_of_the_protocol(void **state)
{
    struct bench *bench = *state;

    declare_by_hand(bench, 1, &deposit_type);
    assert_int_equal(take_in(bench), HARK_EPROTO);
    declare_by_hand(bench, 0, &deposit_type);
    assert_int_equal(take_in(bench), HARK_OK);
    declare_by_hand(bench, 0, &deposit_type);
    assert_int_equal(take_in(bench), HARK_EPROTO);
}

static void
an_unknown_type_keeps_its_number_and_says_why(void **state)
{
    struct bench *bench = *state;

    assert_int_equal(hark__registry_add(bench->registry, &deposit_type), HARK_OK);
    (void)number_of(bench, &blob_type);
    (void)number_of(bench, &deposit_type);
    assert_int_equal(take_in(bench), HARK_OK);
    const struct type_in *unknown = hark__types_in_find(&bench->in, 0);
    assert_null(unknown->local);
    assert_string_equal(unknown->name, "blob");
    assert_string_equal(unknown->why, "it is not known here");
    assert_ptr_equal(hark__types_in_find(&bench->in, 1)->local, &deposit_type);
}

static void
a_type_with_other_fields_says_which(void **state)
{
    struct bench *bench = *state;
    const hark_field fields[] = {{"sum", HARK_KIND_i64, 0, 0, NULL}};
    const hark_type other = {"deposit", 8, 1, true, fields};

    assert_int_equal(hark__registry_add(bench->registry, &deposit_type), HARK_OK);
    (void)number_of(bench, &other);
    assert_int_equal(take_in(bench), HARK_OK);
    assert_null(hark__types_in_find(&bench->in, 0)->local);
    assert_string_equal(hark__types_in_find(&bench->in, 0)->why,
                        "deposit: field 1 is (i64 amount) here and (i64 sum) at the "
                        "peer");
}

static void
a_type_is_as_readable_as_what_it_holds(void **state)
{
    struct bench *bench = *state;
    const hark_field fields[] = {{"z", HARK_KIND_f64, 0, 0, NULL}};
    const hark_type other_point = {"point", 8, 1, true, fields};

    assert_int_equal(hark__registry_add(bench->registry, &line_type), HARK_OK);
    declare_by_hand(bench, 0, &line_type); // its point was not declared
    declare_by_hand(bench, 1, &point_type);
    declare_by_hand(bench, 2, &line_type);
    declare_by_hand(bench, 3, &other_point); // the last declaration of a name counts
    declare_by_hand(bench, 4, &line_type);
    assert_int_equal(take_in(bench), HARK_OK);
    assert_null(hark__types_in_find(&bench->in, 0)->local);
    assert_string_equal(hark__types_in_find(&bench->in, 0)->why,
                        "field from: message type point cannot be read");
    assert_ptr_equal(hark__types_in_find(&bench->in, 2)->local, &line_type);
    assert_null(hark__types_in_find(&bench->in, 3)->local);
    assert_null(hark__types_in_find(&bench->in, 4)->local);
}

// An older program does not have the type of a field that was appended.
static void
types_nested_in_fields_that_only_we_have_need_no_declaration(void **state)
{
    struct bench *bench = *state;
    const hark_type older = {"drawing", sizeof(hark_str), 1, false,
                             drawing_type.fields};

    assert_int_equal(hark__registry_add(bench->registry, &drawing_type), HARK_OK);
    (void)number_of(bench, &older);
    assert_int_equal(take_in(bench), HARK_OK);
    assert_ptr_equal(hark__types_in_find(&bench->in, 0)->local, &drawing_type);
}

static void
long_names_are_cut_only_in_what_is_said_of_them(void **state)
{
    struct bench *bench = *state;
    char name[TYPE_NAME + 50];
    hark_type type = {name, 1, 0, true, NULL};

    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_int_equal(hark__registry_add(bench->registry, &type), HARK_OK);
    (void)number_of(bench, &type);
    assert_int_equal(take_in(bench), HARK_OK);
    assert_ptr_equal(hark__types_in_find(&bench->in, 0)->local, &type);
    assert_int_equal(strlen(hark__types_in_find(&bench->in, 0)->name), TYPE_NAME - 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_type_is_declared_once),
        TEST(nested_types_are_declared_before_what_holds_them),
        TEST(a_declaration_taken_back_is_made_again),
        TEST(numbers_end_at_their_limit),
        TEST(declared_types_are_found_by_number),
        TEST(numbers_out_of_order_are_a_breach_of_the_protocol),
        TEST(an_unknown_type_keeps_its_number_and_says_why),
        TEST(a_type_with_other_fields_says_which),
        TEST(a_type_is_as_readable_as_what_it_holds),
        TEST(types_nested_in_fields_that_only_we_have_need_no_declaration),
        TEST(long_names_are_cut_only_in_what_is_said_of_them),
    };
    return cmocka_run_group_tests_name("remote/types", tests, NULL, NULL);
}
