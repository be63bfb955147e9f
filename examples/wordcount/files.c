#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOOK_BYTES = 8192 }; // a NUL this near the start makes a file binary

static void walk(struct files *files, const char *folder);

void
files_init(struct files *files)
{
    *files = (struct files){.paths = NULL};
}

void
files_fini(struct files *files)
{
    for (size_t i = 0; i < files->count; i++) {
        free(files->paths[i]);
    }
    free(files->paths);
    files_init(files);
}

// The list of files must be whole, so running out of memory here ends the program.
static void *
or_die(void *memory)
{
    if (memory == NULL) {
        perror("wordcount");
        exit(1);
    }
    return memory;
}

static void
push(struct files *files, const char *path, const struct stat *st)
{
    if (files->count == files->room) {
        files->room = files->room * 2 + 64;
        files->paths =
            or_die(realloc(files->paths, files->room * sizeof files->paths[0]));
    }
    files->paths[files->count++] = or_die(strdup(path));
    files->bytes += (uint64_t)st->st_size;
}

static void
skip_with_warning(struct files *files, const char *path)
{
    fprintf(stderr, "wordcount: warning: %s: %s\n", path, strerror(errno));
    files->skipped++;
}

static bool
is_compressed(const char *path)
{
    size_t len = strlen(path);

    return len >= 3 && strcmp(path + len - 3, ".gz") == 0;
}

// 1: a NUL stands near the start; 0: none; -1: cannot be read, see errno.
static int
is_binary(int fd)
{
    char head[LOOK_BYTES];
    size_t len = 0;
    ssize_t n = 0;

    do {
        n = read(fd, head + len, sizeof head - len);
        len += n > 0 ? (size_t)n : 0;
    } while (len < sizeof head && (n > 0 || (n < 0 && errno == EINTR)));
    return n < 0 ? -1 : memchr(head, '\0', len) != NULL;
}

static void
add_found_file(struct files *files, const char *path, const struct stat *st)
{
    if (is_compressed(path)) {
        files->skipped++;
        return;
    }
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    int binary = fd >= 0 ? is_binary(fd) : -1;

    if (binary < 0) {
        skip_with_warning(files, path);
    } else if (binary > 0) {
        files->skipped++;
    } else {
        push(files, path, st);
    }
    if (fd >= 0) {
        close(fd);
    }
}

static void
add_found(struct files *files, const char *path)
{
    struct stat st;

    if (lstat(path, &st) != 0) {
        skip_with_warning(files, path);
    } else if (S_ISDIR(st.st_mode)) {
        walk(files, path);
    } else if (S_ISREG(st.st_mode)) {
        add_found_file(files, path, &st);
    }
}

static int
by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name); // unlike alphasort in every locale
}

static int
is_entry(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static void
walk(struct files *files, const char *folder)
{
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, is_entry, by_name);
    size_t len = strlen(folder);
    const char *slash = len > 0 && folder[len - 1] == '/' ? "" : "/";

    if (count < 0) {
        skip_with_warning(files, folder);
        return;
    }
    for (int i = 0; i < count; i++) {
        char *path = NULL;

        if (asprintf(&path, "%s%s%s", folder, slash, entries[i]->d_name) < 0) {
            or_die(NULL);
        }
        add_found(files, path);
        free(path);
        free(entries[i]);
    }
    free(entries);
}

bool
files_add(struct files *files, const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0 || access(path, R_OK) != 0) {
        fprintf(stderr, "wordcount: %s: %s\n", path, strerror(errno));
        return false;
    }
    if (S_ISDIR(st.st_mode)) {
        walk(files, path);
    } else if (S_ISREG(st.st_mode)) {
        push(files, path, &st);
    } else {
        fprintf(stderr, "wordcount: %s: neither a file nor a directory\n", path);
        return false;
    }
    return true;
}
