// endpoint.h - where the second process listens: a free port, or a path in a folder of
// our own that is gone afterwards. For one thread.

#ifndef BENCH_SUPPORT_ENDPOINT_H
#define BENCH_SUPPORT_ENDPOINT_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "measure.h"

// A socket's path has 107 bytes at most; what a folder and a number may take of them.
enum { ENDPOINT_BYTES = 128, FOLDER_BYTES = 96, FOLDER_ENDPOINTS = 8 };

// How two processes reach each other.
enum transport { TRANSPORT_TCP, TRANSPORT_IPC };

struct endpoint_folder {
    char path[FOLDER_BYTES];
};

// In TMPDIR, or /tmp.
static inline void
endpoint_folder_open(struct endpoint_folder *folder)
{
    const char *parent = getenv("TMPDIR");
    int length = snprintf(folder->path, sizeof folder->path, "%s/hark-bench-XXXXXX",
                          parent != NULL && parent[0] != '\0' ? parent : "/tmp");

    if (length >= (int)sizeof folder->path) {
        fail("TMPDIR: its path is too long for a socket: %s", parent);
    }
    if (mkdtemp(folder->path) == NULL) {
        fail("mkdtemp: %s", strerror(errno));
    }
}

// Writes the ipc endpoint of that number, below FOLDER_ENDPOINTS.
static inline void
endpoint_in_folder(const struct endpoint_folder *folder, int number,
                   char out_endpoint[ENDPOINT_BYTES])
{
    snprintf(out_endpoint, ENDPOINT_BYTES, "ipc://%s/%d", folder->path, number);
}

// Removes the folder and whatever sockets are left in it.
static inline void
endpoint_folder_close(struct endpoint_folder *folder)
{
    char path[FOLDER_BYTES + 16];

    for (int i = 0; i < FOLDER_ENDPOINTS; i++) {
        snprintf(path, sizeof path, "%s/%d", folder->path, i);
        unlink(path);
    }
    rmdir(folder->path);
}

#endif // BENCH_SUPPORT_ENDPOINT_H
