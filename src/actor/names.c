#include "actor/names.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_BUCKETS = 16, NAME_LIMIT = 255 };

struct entry {
    struct entry *next_by_name, *next_by_actor;
    hark_ref actor;
    uint32_t hash;
    uint32_t size;
    char name[];
};

// Two hash tables over the same entries, chained; grown together.
struct names {
    pthread_mutex_t lock; // guards all below
    struct entry **by_name, **by_actor;
    uint32_t buckets; // of each; a power of two
    uint32_t count;
};

static uint32_t
hash_name(const char *name, size_t size)
{
    uint32_t hash = UINT32_C(0x811c9dc5); // FNV-1a

    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ (uint8_t)name[i]) * UINT32_C(0x01000193);
    }
    return hash;
}

struct names *
hark__names_new(void)
{
    struct names *names = calloc(1, sizeof *names);

    if (names == NULL) {
        return NULL;
    }
    names->buckets = FIRST_BUCKETS;
    names->by_name = calloc(FIRST_BUCKETS, sizeof(struct entry *));
    names->by_actor = calloc(FIRST_BUCKETS, sizeof(struct entry *));
    pthread_mutex_init(&names->lock, NULL);
    if (names->by_name == NULL || names->by_actor == NULL) {
        hark__names_free(names);
        return NULL;
    }
    return names;
}

void
hark__names_free(struct names *names)
{
    if (names == NULL) {
        return;
    }
    for (uint32_t i = 0; names->by_name != NULL && i < names->buckets; i++) {
        while (names->by_name[i] != NULL) {
            struct entry *entry = names->by_name[i];

            names->by_name[i] = entry->next_by_name;
            free(entry);
        }
    }
    pthread_mutex_destroy(&names->lock);
    free((void *)names->by_name);
    free((void *)names->by_actor);
    free(names);
}

// The actor word's low half is its slot: as good as a hash.
static struct entry **
actor_bucket(struct names *names, uint64_t actor)
{
    return &names->by_actor[(uint32_t)actor & (names->buckets - 1)];
}

static struct entry **
name_bucket(struct names *names, uint32_t hash)
{
    return &names->by_name[hash & (names->buckets - 1)];
}

static void
link_entry(struct names *names, struct entry *entry)
{
    struct entry **by_name = name_bucket(names, entry->hash);
    struct entry **by_actor = actor_bucket(names, entry->actor.actor);

    entry->next_by_name = *by_name;
    *by_name = entry;
    entry->next_by_actor = *by_actor;
    *by_actor = entry;
}

// Larger tables. Without memory the old ones serve on, with longer chains.
static void
grow(struct names *names)
{
    struct names old = *names;
    uint32_t buckets = old.buckets * 2;
    struct entry **by_name = calloc(buckets, sizeof(struct entry *));
    struct entry **by_actor = calloc(buckets, sizeof(struct entry *));

    if (by_name == NULL || by_actor == NULL) {
        free((void *)by_name);
        free((void *)by_actor);
        return;
    }
    names->by_name = by_name;
    names->by_actor = by_actor;
    names->buckets = buckets;
    for (uint32_t i = 0; i < old.buckets; i++) {
        for (struct entry *entry = old.by_name[i]; entry != NULL;) {
            struct entry *next = entry->next_by_name;

            link_entry(names, entry);
            entry = next;
        }
    }
    free((void *)old.by_name);
    free((void *)old.by_actor);
}

// Where the pointer to that name's entry stands; it holds NULL if there is none.
static struct entry **
find(struct names *names, const char *name, size_t size, uint32_t hash)
{
    struct entry **at = name_bucket(names, hash);

    while (*at != NULL
           && ((*at)->hash != hash || (*at)->size != size
               || memcmp((*at)->name, name, size) != 0)) {
        at = &(*at)->next_by_name;
    }
    return at;
}

static bool
is_name(const char *name)
{
    size_t size = name != NULL ? strnlen(name, NAME_LIMIT + 1) : 0;

    return size > 0 && size <= NAME_LIMIT && strchr(name, '/') == NULL;
}

hark_err
hark__names_add(struct names *names, const char *name, hark_ref actor)
{
    if (!is_name(name)) {
        return HARK_EINVAL;
    }
    size_t size = strlen(name);
    uint32_t hash = hash_name(name, size);
    struct entry *entry = malloc(sizeof *entry + size);
    if (entry == NULL) {
        return HARK_ENOMEM;
    }
    *entry = (struct entry){.actor = actor, .hash = hash, .size = (uint32_t)size};
    memcpy(entry->name, name, size);

    pthread_mutex_lock(&names->lock);
    bool taken = *find(names, name, size, hash) != NULL;
    if (!taken) {
        if (names->count++ >= names->buckets) {
            grow(names);
        }
        link_entry(names, entry);
    }
    pthread_mutex_unlock(&names->lock);
    if (taken) {
        free(entry);
        return HARK_EEXIST;
    }
    return HARK_OK;
}

// Takes the entry that *at points to out of both tables and frees it.
static void
remove_entry(struct names *names, struct entry **at)
{
    struct entry *entry = *at;
    struct entry **by_actor = actor_bucket(names, entry->actor.actor);

    *at = entry->next_by_name;
    while (*by_actor != entry) {
        by_actor = &(*by_actor)->next_by_actor;
    }
    *by_actor = entry->next_by_actor;
    names->count--;
    free(entry);
}

hark_err
hark__names_remove(struct names *names, const char *name)
{
    if (name == NULL) {
        return HARK_ENONAME;
    }
    size_t size = strlen(name);

    pthread_mutex_lock(&names->lock);
    struct entry **at = find(names, name, size, hash_name(name, size));
    bool there = *at != NULL;
    if (there) {
        remove_entry(names, at);
    }
    pthread_mutex_unlock(&names->lock);
    return there ? HARK_OK : HARK_ENONAME;
}

static struct entry *
first_of(struct names *names, uint64_t actor)
{
    struct entry *entry = *actor_bucket(names, actor);

    while (entry != NULL && entry->actor.actor != actor) {
        entry = entry->next_by_actor;
    }
    return entry;
}

void
hark__names_forget(struct names *names, uint64_t actor)
{
    struct entry *entry;

    pthread_mutex_lock(&names->lock);
    while ((entry = first_of(names, actor)) != NULL) {
        remove_entry(names, find(names, entry->name, entry->size, entry->hash));
    }
    pthread_mutex_unlock(&names->lock);
}

hark_ref
hark__names_find(struct names *names, const char *name, size_t size)
{
    hark_ref actor = {0, 0};

    pthread_mutex_lock(&names->lock);
    struct entry *entry = *find(names, name, size, hash_name(name, size));
    if (entry != NULL) {
        actor = entry->actor;
    }
    pthread_mutex_unlock(&names->lock);
    return actor;
}
