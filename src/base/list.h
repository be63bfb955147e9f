// List: doubly linked, circular, its links inside the things it holds. One thread.

#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *prev; // a head points to itself when empty
};

// The struct of that type whose member link is.
#define CONTAINER_OF(link, type, member)                                               \
    ((type *)(void *)((char *)(link)-offsetof(type, member)))

static inline void
hark__list_init(struct list *list)
{
    list->next = list->prev = list;
}

static inline bool
hark__list_is_empty(const struct list *list)
{
    return list->next == list;
}

// Puts link at the end.
static inline void
hark__list_append(struct list *list, struct list *link)
{
    link->prev = list->prev;
    link->next = list;
    list->prev->next = link;
    list->prev = link;
}

// Takes link out of whatever list it is in, for the last time.
static inline void
hark__list_unlink(struct list *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
}

// Takes link out of whatever list it is in; then it is in none, and may be removed
// again.
static inline void
hark__list_remove(struct list *link)
{
    hark__list_unlink(link);
    hark__list_init(link);
}

// Moves all of from to the end of list.
static inline void
hark__list_splice(struct list *list, struct list *from)
{
    if (hark__list_is_empty(from)) {
        return;
    }
    from->next->prev = list->prev;
    list->prev->next = from->next;
    from->prev->next = list;
    list->prev = from->prev;
    hark__list_init(from);
}

#endif // BASE_LIST_H
