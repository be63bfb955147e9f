// Options: the command line.

#ifndef WORDCOUNT_OPTIONS_H
#define WORDCOUNT_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct options {
    uint32_t workers;
    size_t chunk_bytes;
    uint32_t in_flight; // chunks at each worker
    size_t top;         // words to print
    const char *all;    // where all words go; "-": stdout; NULL: nowhere
    bool kills_one;
    bool over_ipc;
    bool lists_files;
    bool lists_with_nul;
    char **paths;
    size_t path_count;
};

// Fills *out_options. On a mistake, says which and ends the program with status 2.
void options_parse(int argc, char **argv, struct options *out_options);

#endif // WORDCOUNT_OPTIONS_H
