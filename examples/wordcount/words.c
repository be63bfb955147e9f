#include "words.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_SIZE = 1024 };

void
words_init(struct words *words)
{
    *words = (struct words){.table = NULL};
}

void
words_clear(struct words *words)
{
    for (size_t i = 0; i < words->size; i++) {
        free(words->table[i].text);
        words->table[i].text = NULL;
    }
    words->distinct = 0;
    words->total = 0;
}

void
words_fini(struct words *words)
{
    words_clear(words);
    free(words->table);
    words_init(words);
}

// FNV-1a.
static uint64_t
hash_of(const char *text, size_t len)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

// The place of a word, or the free place where it belongs. There always is one.
static struct word *
find(const struct words *words, const char *text, size_t len, uint64_t hash)
{
    size_t mask = words->size - 1;

    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        struct word *w = &words->table[i];

        if (w->text == NULL
            || (w->hash == hash && w->len == len && memcmp(w->text, text, len) == 0)) {
            return w;
        }
    }
}

// Makes room for one more word: at most half of the places are taken.
static bool
reserve(struct words *words)
{
    struct words bigger = *words;

    if (words->size > 0 && words->distinct < words->size / 2) {
        return true;
    }
    bigger.size = words->size > 0 ? words->size * 2 : FIRST_SIZE;
    bigger.table = calloc(bigger.size, sizeof *bigger.table);
    if (bigger.table == NULL) {
        return false;
    }
    for (size_t i = 0; i < words->size; i++) {
        const struct word *w = &words->table[i];

        if (w->text != NULL) {
            *find(&bigger, w->text, w->len, w->hash) = *w;
        }
    }
    free(words->table);
    *words = bigger;
    return true;
}

bool
words_add(struct words *words, const char *text, size_t len, uint64_t count)
{
    uint64_t hash = hash_of(text, len);

    if (!reserve(words)) {
        return false;
    }
    struct word *w = find(words, text, len, hash);

    if (w->text == NULL) {
        char *copy = malloc(len > 0 ? len : 1);

        if (copy == NULL) {
            return false;
        }
        memcpy(copy, text, len);
        *w = (struct word){.text = copy, .len = len, .hash = hash};
        words->distinct++;
    }
    w->count += count;
    words->total += count;
    return true;
}

static bool
add_lowered(struct words *words, char *lower)
{
    for (char *c = lower; *c != '\0';) {
        char *start = c;

        while (is_letter((unsigned char)*c)) {
            c++;
        }
        if (c > start && !words_add(words, start, (size_t)(c - start), 1)) {
            return false;
        }
        c += *c != '\0';
    }
    return true;
}

bool
words_add_text(struct words *words, const char *text, size_t len)
{
    char *lower = malloc(len + 1);

    if (lower == NULL) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        lower[i] = is_letter((unsigned char)text[i]) ? (char)(text[i] | 0x20) : ' ';
    }
    lower[len] = '\0'; // letters and spaces only, so this ends it
    bool is_done = add_lowered(words, lower);

    free(lower);
    return is_done;
}

static int
by_count_then_letter(const void *left, const void *right)
{
    const struct word *a = *(const struct word *const *)left;
    const struct word *b = *(const struct word *const *)right;

    if (a->count != b->count) {
        return a->count < b->count ? 1 : -1;
    }
    int order = memcmp(a->text, b->text, a->len < b->len ? a->len : b->len);

    return order != 0 ? order : (a->len > b->len) - (a->len < b->len);
}

const struct word **
words_sorted(const struct words *words)
{
    const struct word **sorted = malloc((words->distinct + 1) * sizeof *sorted);
    size_t count = 0;

    if (sorted == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < words->size; i++) {
        if (words->table[i].text != NULL) {
            sorted[count++] = &words->table[i];
        }
    }
    qsort(sorted, count, sizeof *sorted, by_count_then_letter);
    return sorted;
}
