// Reader: cuts files into chunks of text, so that no word is split. A file's end ends a
// word; small files share a chunk. One thread at a time.
//
//     ...the quick bro|wn fox   what was read; the chunk ends before "bro"
//     ...the quick |bro         and "bro" begins the next one

#ifndef WORDCOUNT_READER_H
#define WORDCOUNT_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <hark/hark.h>

#include "files.h"

struct reader {
    struct files *files; // borrowed
    size_t next;         // the file to open next
    int fd;              // the file being read; -1: none
    size_t chunk_bytes;
    char *text; // read and not yet given
    size_t len;
    size_t room;
    uint64_t bytes; // read from files so far
    uint64_t opened;
};

enum read_result { READ_CHUNK, READ_END, READ_NO_MEMORY, READ_LONG_WORD };

// Borrows files until reader_fini.
void reader_init(struct reader *reader, struct files *files, size_t chunk_bytes);
void reader_fini(struct reader *reader);

// Gives the next chunk: about chunk_bytes, more only if a word is longer. A file that can
// no longer be read is warned of and counted as skipped.
enum read_result reader_next(struct reader *reader, hark_buffer **out_chunk);

#endif // WORDCOUNT_READER_H
