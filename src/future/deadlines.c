#include "future/deadlines.h"

#include <stddef.h>

#include "future/future.h"

static inline struct future *
future_of(struct list *by_timeout)
{
    return CONTAINER_OF(by_timeout, struct future, by_timeout);
}

// ---- lists ----

// NULL: no list is free for another length.
static struct list *
new_list(struct deadlines *deadlines, uint32_t timeout_ms)
{
    struct deadline_list *list = NULL;

    if (deadlines->list_count < DEADLINE_LISTS) {
        list = &deadlines->lists[deadlines->list_count++];
        hark__list_init(&list->list);
    }
    for (uint32_t i = 0; i < deadlines->list_count && list == NULL; i++) {
        if (hark__list_is_empty(&deadlines->lists[i].list)) {
            list = &deadlines->lists[i];
        }
    }
    if (list == NULL) {
        return NULL;
    }
    list->timeout_ms = timeout_ms;
    return &list->list;
}

// Its place is the end, or near it.
static void
insert(struct list *list, struct future *future)
{
    struct list *after = list->prev;

    while (after != list && future_of(after)->expires_ns > future->expires_ns) {
        after = after->prev;
    }
    hark__list_append(after->next, &future->by_timeout); // before what comes after
}

void
hark__deadlines_add(struct deadlines *deadlines, struct future *future)
{
    struct list *list = hark__deadlines_list(deadlines, future->timeout_ms);

    if (list == NULL) {
        list = new_list(deadlines, future->timeout_ms);
    }
    if (list != NULL) {
        insert(list, future);
    } else {
        hark__list_append(&deadlines->roots, &future->by_timeout);
    }
}

// ---- the heap ----

void
hark__deadlines_orphan(struct future *future)
{
    // They take its place, among its siblings: its parent expires no later than they.
    hark__list_splice(&future->by_timeout, &future->later);
    future->later.next = NULL;
}

// Makes one of two roots the other's child. Gives the parent.
static struct future *
join(struct future *a, struct future *b)
{
    struct future *first = b->expires_ns < a->expires_ns ? b : a;
    struct future *second = first == a ? b : a;

    hark__list_unlink(&second->by_timeout);
    if (first->later.next == NULL) {
        hark__list_init(&first->later);
    }
    hark__list_append(&first->later, &second->by_timeout);
    return first;
}

// Joins the trees, two by two, and then each pair with those before it.
static struct future *
first_of_heap(struct list *roots)
{
    struct list *link = roots->next;

    while (link != roots && link->next != roots) {
        link = join(future_of(link), future_of(link->next))->by_timeout.next;
    }
    while (roots->prev != roots->next) {
        (void)join(future_of(roots->prev->prev), future_of(roots->prev));
    }
    return hark__list_is_empty(roots) ? NULL : future_of(roots->next);
}

struct future *
hark__deadlines_first(struct deadlines *deadlines)
{
    struct future *first = first_of_heap(&deadlines->roots);

    for (uint32_t i = 0; i < deadlines->list_count; i++) {
        struct list *list = &deadlines->lists[i].list;

        if (!hark__list_is_empty(list)
            && (first == NULL
                || future_of(list->next)->expires_ns < first->expires_ns)) {
            first = future_of(list->next);
        }
    }
    return first;
}
