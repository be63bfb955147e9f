#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/list.h"

struct item {
    int number;
    struct list link;
};

static void
assert_numbers(struct list *head, const int *numbers, size_t count)
{
    struct list *link = head->next;

    for (size_t i = 0; i < count; i++, link = link->next) {
        assert_int_equal(CONTAINER_OF(link, struct item, link)->number, numbers[i]);
        assert_ptr_equal(link->next->prev, link);
    }
    assert_ptr_equal(link, head);
}

static void
a_new_list_is_empty(void **state)
{
    struct list head;

    (void)state;
    hark__list_init(&head);
    assert_true(hark__list_is_empty(&head));
}

static void
items_stand_in_the_order_they_were_appended(void **state)
{
    struct list head;
    struct item a = {.number = 1}, b = {.number = 2}, c = {.number = 3};

    (void)state;
    hark__list_init(&head);
    hark__list_append(&head, &a.link);
    hark__list_append(&head, &b.link);
    hark__list_append(&head, &c.link);
    assert_false(hark__list_is_empty(&head));
    assert_numbers(&head, (const int[]){1, 2, 3}, 3);
}

static void
an_item_may_be_appended_before_another(void **state)
{
    struct list head;
    struct item a = {.number = 1}, b = {.number = 2}, c = {.number = 3};

    (void)state;
    hark__list_init(&head);
    hark__list_append(&head, &a.link);
    hark__list_append(&head, &c.link);
    hark__list_append(&c.link, &b.link);
    assert_numbers(&head, (const int[]){1, 2, 3}, 3);
}

static void
a_removed_item_is_in_no_list_and_may_be_removed_again(void **state)
{
    struct list head;
    struct item a = {.number = 1}, b = {.number = 2}, c = {.number = 3};

    (void)state;
    hark__list_init(&head);
    hark__list_append(&head, &a.link);
    hark__list_append(&head, &b.link);
    hark__list_append(&head, &c.link);
    hark__list_remove(&b.link);
    hark__list_remove(&b.link);
    assert_true(hark__list_is_empty(&b.link));
    assert_numbers(&head, (const int[]){1, 3}, 2);
    hark__list_remove(&a.link);
    hark__list_remove(&c.link);
    assert_true(hark__list_is_empty(&head));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_list_is_empty),
        cmocka_unit_test(items_stand_in_the_order_they_were_appended),
        cmocka_unit_test(an_item_may_be_appended_before_another),
        cmocka_unit_test(a_removed_item_is_in_no_list_and_may_be_removed_again),
    };
    return cmocka_run_group_tests_name("base/list", tests, NULL, NULL);
}
