#include "actor/request.h"

#include <stdlib.h>

enum { FIRST_BUCKETS = 16 };

struct requests *
hark__requests_new(void)
{
    struct requests *requests = calloc(1, sizeof *requests);

    if (requests != NULL) {
        hark__list_init(&requests->missing[0]);
        hark__list_init(&requests->missing[1]);
    }
    return requests;
}

static struct request *
first_of(const struct list *list)
{
    return CONTAINER_OF(list->next, struct request, by_age);
}

static void
forget_all(struct requests *requests, struct pool *pool, struct list *list)
{
    while (!hark__list_is_empty(list)) {
        hark__request_release(requests, pool, first_of(list));
    }
}

void
hark__requests_free(struct requests *requests, struct pool *pool)
{
    forget_all(requests, pool, &requests->missing[0]);
    forget_all(requests, pool, &requests->missing[1]);
    free((void *)requests->buckets);
    free(requests);
}

// ---- finding ----

static struct request **
bucket_of(const struct requests *requests, struct request_name name)
{
    // The lower half of one asker's numbers is counted up, and so stands side by side
    // in the cache. The upper half counts how often a place was used, and the same few
    // places may be used all the time; so it is scattered, as askers are.
    uint64_t asker =
        (name.asker.actor ^ name.asker.node) * UINT64_C(0x9E3779B97F4A7C15);
    uint64_t use = (asker ^ name.correlation >> 32) * UINT64_C(0x9E3779B97F4A7C15);
    uint32_t hash = (uint32_t)name.correlation + (uint32_t)(use >> 32);

    return &requests->buckets[hash & (requests->capacity - 1)];
}

static struct request_name
name_of(const struct request *request)
{
    return (struct request_name){request->asker, request->correlation};
}

static void
put(struct requests *requests, struct request *request)
{
    struct request **bucket = bucket_of(requests, name_of(request));

    request->next = *bucket;
    *bucket = request;
}

static bool
grow(struct requests *requests)
{
    struct request **old = requests->buckets;
    uint32_t old_capacity = requests->capacity;
    uint32_t capacity = old_capacity == 0 ? FIRST_BUCKETS : old_capacity * 2;
    struct request **buckets =
        (struct request **)calloc(capacity, sizeof(struct request *));

    if (buckets == NULL) {
        return old != NULL; // longer chains will do
    }
    requests->buckets = buckets;
    requests->capacity = capacity;
    for (uint32_t i = 0; i < old_capacity; i++) {
        while (old[i] != NULL) {
            struct request *request = old[i];

            old[i] = request->next;
            put(requests, request);
        }
    }
    free((void *)old);
    return true;
}

bool
hark__requests_add(struct requests *requests, struct request *request)
{
    if (requests->count >= requests->capacity && !grow(requests)) {
        return false;
    }
    put(requests, request);
    requests->count++;
    request->is_listed = true;
    return true;
}

struct request *
hark__requests_find(const struct requests *requests, struct request_name name)
{
    struct request *request = NULL;

    if (requests != NULL && requests->count > 0) {
        request = *bucket_of(requests, name);
    }
    while (request != NULL
           && (request->correlation != name.correlation
               || !hark_ref_equal(request->asker, name.asker))) {
        request = request->next;
    }
    return request;
}

void
hark__requests_remove(struct requests *requests, struct request *request)
{
    if (!request->is_listed) {
        return;
    }
    struct request **at = bucket_of(requests, name_of(request));
    while (*at != request) {
        at = &(*at)->next;
    }
    *at = request->next;
    requests->count--;
    request->is_listed = false;
}

// ---- making and freeing ----

struct request *
hark__request_new(struct pool *pool, struct request_name name, int64_t deadline_ns)
{
    uint8_t size_class;
    struct request *request = hark__pool_alloc(pool, sizeof *request, &size_class);

    if (request != NULL) {
        *request = (struct request){
            .asker = name.asker,
            .correlation = name.correlation,
            .deadline_ns = deadline_ns,
            .holders = 1,
            .size_class = size_class,
        };
        hark__list_init(&request->children);
        hark__list_init(&request->by_age);
    }
    return request;
}

void
hark__request_release(struct requests *requests, struct pool *pool,
                      struct request *request)
{
    if (--request->holders == 0) {
        hark__requests_remove(requests, request);
        hark__list_remove(&request->by_age);
        if (request->note != NULL) {
            hark__message_free(pool, request->note);
        }
        hark__pool_free(pool, request, request->size_class);
    }
}

// ---- what is missing ----

static void
mark(struct requests *requests, struct hark_message *newest)
{
    newest->flags |= MESSAGE_MARKED;
    requests->mark = newest;
}

void
hark__requests_see(struct requests *requests, const struct hark_message *message,
                   struct hark_message *older)
{
    if (requests == NULL || message != requests->mark) {
        return;
    }
    if (older != NULL) {
        mark(requests, older);
    } else {
        requests->has_passed = true;
    }
}

// What was missing before the mark has not come. The rest waits for a new one.
static void
pass(struct requests *requests, struct pool *pool, struct hark_message *newest)
{
    struct list *older = &requests->missing[0];
    struct list *newer = &requests->missing[1];

    requests->has_passed = false;
    requests->mark = NULL;
    forget_all(requests, pool, older);
    if (newest == NULL) {
        forget_all(requests, pool, newer);
    } else if (!hark__list_is_empty(newer)) {
        mark(requests, newest);
    }
    while (!hark__list_is_empty(newer)) {
        struct request *request = first_of(newer);

        hark__list_remove(&request->by_age);
        hark__list_append(older, &request->by_age);
    }
}

bool
hark__requests_miss(struct requests *requests, struct pool *pool,
                    struct request_name name, struct hark_message *newest)
{
    if (requests->has_passed) {
        pass(requests, pool, newest);
    }
    struct request *request = hark__request_new(pool, name, INT64_MAX);
    if (request == NULL) {
        return false;
    }
    if (!hark__requests_add(requests, request)) {
        hark__request_release(requests, pool, request);
        return false;
    }
    request->state = REQUEST_CANCELLED;
    if (requests->mark != NULL) {
        hark__list_append(&requests->missing[1], &request->by_age);
    } else {
        hark__list_append(&requests->missing[0], &request->by_age);
        mark(requests, newest);
    }
    return true;
}

bool
hark__requests_meet(struct requests *requests, struct pool *pool,
                    const struct hark_message *message, struct hark_message *newest)
{
    bool is_mark = message == requests->mark && (message->flags & MESSAGE_MARKED) != 0;

    if (requests->has_passed && !is_mark) {
        pass(requests, pool, newest);
    }
    struct request *request = hark__requests_find(
        requests, (struct request_name){message->from, message->correlation});
    bool met = request != NULL && !hark__list_is_empty(&request->by_age);
    if (met) {
        hark__request_release(requests, pool, request);
    }
    if (requests->has_passed) {
        pass(requests, pool, newest);
    }
    return met;
}
