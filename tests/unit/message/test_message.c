#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "message/message.h"
#include "shapes.h"

// Fixture: a pool to build messages in.
struct fixture {
    struct depot *depot;
    struct pool *pool;
};

static int
setup(void **state)
{
    struct fixture *f = test_calloc(1, sizeof *f);

    f->depot = hark__depot_open();
    f->pool = hark__pool_open(f->depot);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    hark__pool_close(f->pool);
    hark__depot_close(f->depot);
    test_free(f);
    return 0;
}

static void
a_flat_message_holds_its_value(void **state)
{
    struct fixture *f = *state;
    struct hark_message *message =
        hark__message_new(f->pool, &line_type, &(line){.to = {3, 4}, .width = 7});
    const line *copy = hark_message_value(message);

    assert_ptr_equal(hark_message_type(message), &line_type);
    assert_int_equal(message->size, sizeof(line));
    assert_int_equal(copy->width, 7);
    assert_true(copy->to.y == 4);
    assert_true(hark_ref_is_null(hark_message_sender(message)));
    hark__message_free(f->pool, message);
}

static void
the_header_is_clear_but_for_type_size_and_class(void **state)
{
    struct fixture *f = *state;
    struct hark_message *message = hark__message_alloc(f->pool, NULL, 100);

    assert_int_equal(message->size, 100);
    assert_null(atomic_load(&message->next));
    assert_int_equal(message->correlation, 0);
    assert_int_equal(message->has_buffers, 0);
    hark__message_free(f->pool, message);
}

static void
a_message_without_fields_can_be_sent(void **state)
{
    struct fixture *f = *state;
    struct hark_message *message =
        hark__message_new(f->pool, &get_balance_type, &(get_balance){0});

    assert_non_null(hark_message_as(message, &get_balance_type));
    hark__message_free(f->pool, message);
}

static void
a_string_is_copied_and_ends_with_nul(void **state)
{
    struct fixture *f = *state;
    char text[] = {'h', 'i', '!', '!'};
    struct hark_message *message =
        hark__message_new(f->pool, &deposit_type, &(deposit){.memo = {text, 2}});
    const deposit *copy = hark_message_value(message);

    memset(text, 'x', sizeof text);
    assert_string_equal(copy->memo.ptr, "hi");
    assert_int_equal(copy->memo.len, 2);
    hark__message_free(f->pool, message);
}

static void
an_empty_string_still_points_to_a_nul(void **state)
{
    struct fixture *f = *state;
    struct hark_message *message =
        hark__message_new(f->pool, &deposit_type, &(deposit){.amount = 1});
    const deposit *copy = hark_message_value(message);

    assert_string_equal(copy->memo.ptr, "");
    assert_int_equal(copy->memo.len, 0);
    hark__message_free(f->pool, message);
}

static void
nested_messages_and_lists_of_them_are_copied_in_depth(void **state)
{
    struct fixture *f = *state;
    point outline[] = {{1, 2}, {3, 4}, {5, 6}};
    char memo[] = "first";
    deposit costs[] = {{1, {memo, 5}}, {2, HARK_STR("second")}};
    drawing value = {.title = HARK_STR("house"),
                     .origin = {7, 8},
                     .outline = {outline, 3},
                     .costs = {costs, 2},
                     .price = {9, HARK_STR("third")}};
    struct hark_message *message = hark__message_new(f->pool, &drawing_type, &value);
    const drawing *copy = hark_message_value(message);

    memset(outline, 0, sizeof outline);
    memset(costs, 0, sizeof costs);
    memset(memo, 0, sizeof memo);
    assert_string_equal(copy->title.ptr, "house");
    assert_true(copy->origin.y == 8 && copy->outline.items[2].y == 6);
    assert_int_equal(copy->outline.count, 3);
    assert_string_equal(copy->costs.items[0].memo.ptr, "first");
    assert_string_equal(copy->costs.items[1].memo.ptr, "second");
    assert_string_equal(copy->price.memo.ptr, "third");
    assert_int_equal((uintptr_t)copy->outline.items % 8, 0);
    hark__message_free(f->pool, message);
}

static void
lists_of_every_kind_are_copied(void **state)
{
    struct fixture *f = *state;
    lists value = {
        .b = {(bool[]){true, false}, 2},
        .s8 = {(int8_t[]){-1}, 1},
        .s64 = {(int64_t[]){INT64_MIN, INT64_MAX}, 2},
        .d = {(double[]){0.5}, 1},
        .who = {(hark_ref[]){{1, 2}}, 1},
        .names = {(hark_str[]){HARK_STR("a"), {NULL, 0}, HARK_STR("ccc")}, 3},
        .parts = {(hark_bytes[]){{"xyz", 3, NULL}, {NULL, 0, NULL}}, 2},
    };
    struct hark_message *message = hark__message_new(f->pool, &lists_type, &value);
    const lists *copy = hark_message_value(message);

    assert_true(copy->b.items[0] && !copy->b.items[1]);
    assert_int_equal(copy->s8.items[0], -1);
    assert_true(copy->s64.items[0] == INT64_MIN && copy->s64.items[1] == INT64_MAX);
    assert_true(copy->d.items[0] == 0.5);
    assert_true(hark_ref_equal(copy->who.items[0], (hark_ref){1, 2}));
    assert_string_equal(copy->names.items[1].ptr, "");
    assert_string_equal(copy->names.items[2].ptr, "ccc");
    assert_memory_equal(copy->parts.items[0].ptr, "xyz", 3);
    assert_int_equal(copy->n16.count, 0);
    hark__message_free(f->pool, message);
}

static void
a_buffer_is_shared_and_outlives_its_first_owner(void **state)
{
    struct fixture *f = *state;
    hark_buffer *buffer = hark_buffer_new(1000);

    memset(hark_buffer_data(buffer), 7, hark_buffer_size(buffer));

    blob value = {.data = hark_bytes_of_buffer(buffer)};
    struct hark_message *message = hark__message_new(f->pool, &blob_type, &value);
    const blob *copy = hark_message_value(message);

    hark_buffer_release(buffer);
    assert_ptr_equal(copy->data.ptr, value.data.ptr);
    assert_int_equal(((const uint8_t *)copy->data.ptr)[999], 7);
    assert_true(message->has_buffers);
    hark__message_free(f->pool, message);
}

static void
every_buffer_in_depth_is_released_with_the_message(void **state)
{
    struct fixture *f = *state;
    hark_buffer *buffer = hark_buffer_new(8);
    blob blobs[] = {{.data = hark_bytes_of_buffer(buffer)}, {.name = HARK_STR("none")}};
    album value = {.blobs = {blobs, 2}, .cover = blobs[0]};
    hark_bytes parts[] = {hark_bytes_of_buffer(buffer)};
    lists listed = {.parts = {parts, 1}};
    struct hark_message *first = hark__message_new(f->pool, &album_type, &value);
    struct hark_message *second = hark__message_new(f->pool, &lists_type, &listed);

    hark_buffer_release(buffer);
    hark__message_free(f->pool, first);
    hark__message_free(f->pool, second); // a leak or a double free shows under ASan
}

static void
a_value_over_four_gigabytes_is_refused(void **state)
{
    struct fixture *f = *state;
    blob value = {.data = {"", (size_t)UINT32_MAX - 10, NULL}};
    lists listed = {.names = {NULL, SIZE_MAX / 4}};

    assert_null(hark__message_new(f->pool, &blob_type, &value));
    assert_null(hark__message_new(f->pool, &lists_type, &listed));
    assert_null(hark__message_alloc(f->pool, NULL, (size_t)UINT32_MAX + 1));
}

static void
why_a_message_could_not_be_made_is_told(void **state)
{
    const deposit without_text = {.memo = {NULL, 1}};
    const deposit too_long = {.memo = {"x", UINT32_MAX}};
    const deposit sound = {.memo = HARK_STR("x")};

    (void)state;
    assert_int_equal(hark__message_fault(&deposit_type, &without_text), HARK_EINVAL);
    assert_int_equal(hark__message_fault(&deposit_type, &too_long), HARK_ETOOBIG);
    assert_int_equal(hark__message_fault(&deposit_type, &sound), HARK_ENOMEM);
}

static void
as_gives_the_payload_only_for_the_right_type(void **state)
{
    struct fixture *f = *state;
    hark_field fields[] = {deposit_type.fields[0], deposit_type.fields[1]};
    hark_type twin = {"deposit", sizeof(deposit), 2, false, fields};
    struct hark_message *message =
        hark__message_new(f->pool, &deposit_type, &(deposit){.amount = 1});

    assert_non_null(hark_message_as(message, &deposit_type));
    assert_non_null(hark_message_as(message, &twin)); // as from another shared object
    assert_null(hark_message_as(message, &point_type));
    message->type = NULL;
    assert_null(hark_message_as(message, &deposit_type));
    hark__message_free(f->pool, message);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_flat_message_holds_its_value),
        TEST(the_header_is_clear_but_for_type_size_and_class),
        TEST(a_message_without_fields_can_be_sent),
        TEST(a_string_is_copied_and_ends_with_nul),
        TEST(an_empty_string_still_points_to_a_nul),
        TEST(nested_messages_and_lists_of_them_are_copied_in_depth),
        TEST(lists_of_every_kind_are_copied),
        TEST(a_buffer_is_shared_and_outlives_its_first_owner),
        TEST(every_buffer_in_depth_is_released_with_the_message),
        TEST(a_value_over_four_gigabytes_is_refused),
        TEST(why_a_message_could_not_be_made_is_told),
        TEST(as_gives_the_payload_only_for_the_right_type),
    };
    return cmocka_run_group_tests_name("message/message", tests, NULL, NULL);
}
