#include "reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "words.h"

// A longer word would not fit into one message.
static const size_t longest_bytes = (size_t)24 << 20;

void
reader_init(struct reader *reader, struct files *files, size_t chunk_bytes)
{
    *reader = (struct reader){.files = files, .fd = -1, .chunk_bytes = chunk_bytes};
}

void
reader_fini(struct reader *reader)
{
    if (reader->fd >= 0) {
        close(reader->fd);
    }
    free(reader->text);
    reader->text = NULL;
}

static void
warn(const struct reader *reader)
{
    fprintf(stderr, "wordcount: warning: %s: %s\n",
            reader->files->paths[reader->next - 1], strerror(errno));
}

// Opens the next file that can be opened. False: there is none.
static bool
open_next(struct reader *reader)
{
    while (reader->fd < 0 && reader->next < reader->files->count) {
        reader->fd = open(reader->files->paths[reader->next++], O_RDONLY | O_CLOEXEC);
        if (reader->fd < 0) {
            warn(reader);
            reader->files->skipped++;
        } else {
            reader->opened++;
        }
    }
    return reader->fd >= 0;
}

// The end of a file ends a word. There is room for a separator, since a read had room.
static void
end_file(struct reader *reader)
{
    close(reader->fd);
    reader->fd = -1;
    if (reader->len > 0 && is_letter((unsigned char)reader->text[reader->len - 1])) {
        reader->text[reader->len++] = '\n';
    }
}

// Reads until limit bytes are there or the files are at their end. False: no memory.
static bool
fill(struct reader *reader, size_t limit)
{
    if (reader->room < limit) {
        char *text = realloc(reader->text, limit);

        if (text == NULL) {
            return false;
        }
        reader->text = text;
        reader->room = limit;
    }
    while (reader->len < limit && open_next(reader)) {
        ssize_t n = read(reader->fd, reader->text + reader->len, limit - reader->len);

        if (n > 0) {
            reader->len += (size_t)n;
            reader->bytes += (size_t)n;
        } else if (n == 0) {
            end_file(reader);
        } else if (errno != EINTR) {
            warn(reader);
            end_file(reader);
        }
    }
    return true;
}

// How much of the text may be given: up to its last separator. 0: a word fills it all.
static size_t
whole_words(const struct reader *reader)
{
    size_t len = reader->len;

    while (len > 0 && is_letter((unsigned char)reader->text[len - 1])) {
        len--;
    }
    return len;
}

static enum read_result
give(struct reader *reader, size_t len, hark_buffer **out_chunk)
{
    hark_buffer *chunk = hark_buffer_new(len);

    if (chunk == NULL) {
        return READ_NO_MEMORY;
    }
    memcpy(hark_buffer_data(chunk), reader->text, len);
    reader->len -= len;
    memmove(reader->text, reader->text + len, reader->len);
    *out_chunk = chunk;
    return READ_CHUNK;
}

enum read_result
reader_next(struct reader *reader, hark_buffer **out_chunk)
{
    for (size_t limit = reader->chunk_bytes;; limit *= 2) {
        if (!fill(reader, limit)) {
            return READ_NO_MEMORY;
        }
        size_t len = whole_words(reader);

        if (len > 0) {
            return give(reader, len, out_chunk);
        }
        if (reader->len < limit) { // the end: its last word was closed by end_file
            return READ_END;
        }
        if (limit > longest_bytes / 2) {
            return READ_LONG_WORD;
        }
    }
}
