// Files: which files to count, in an order that does not change from run to run. One
// thread at a time.

#ifndef WORDCOUNT_FILES_H
#define WORDCOUNT_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct files {
    char **paths;
    size_t count;
    size_t room;      // places in paths
    uint64_t skipped; // found in a walk and left out
    uint64_t bytes;   // of all, as the file system said
};

void files_init(struct files *files);
void files_fini(struct files *files);

// Adds a file, or each file below a directory, sorted by name. A walk follows no symlink
// and leaves out *.gz and binary files; what it cannot read it warns of. False: the path
// itself cannot be used; says why on stderr.
bool files_add(struct files *files, const char *path);

#endif // WORDCOUNT_FILES_H
