// Words: how often each word was seen. One thread at a time.

#ifndef WORDCOUNT_WORDS_H
#define WORDCOUNT_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct word {
    char *text; // lower case, no NUL behind; NULL: a free place of the table
    size_t len;
    uint64_t hash;
    uint64_t count;
};

// A hash table with open addressing; its size is a power of two.
struct words {
    struct word *table;
    size_t size;
    size_t distinct; // words in the table
    uint64_t total;  // the sum of all counts
};

// ASCII only, whatever the locale.
static inline bool
is_letter(unsigned char c)
{
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

// All zero is an empty table, too.
void words_init(struct words *words);
void words_fini(struct words *words);

// Forgets all words.
void words_clear(struct words *words);

// Adds count to a word in lower case. False: no memory.
bool words_add(struct words *words, const char *text, size_t len, uint64_t count);

// Adds each word of a text: a longest run of letters, lowered. False: no memory.
bool words_add_text(struct words *words, const char *text, size_t len);

// Gives all words, most frequent first, then by letter; distinct of them, borrowed from
// the table. The caller frees the array. NULL: no memory.
const struct word **words_sorted(const struct words *words);

#endif // WORDCOUNT_WORDS_H
