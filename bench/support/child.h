// child.h - this same program once more, as a second process.
//
// The parent holds a pipe to the child's stdin, and the child ends when it closes: so a
// child never outlives its parent, however that ends. What the child has to say (where
// it listens) comes as lines on its stdout. For one thread.

#ifndef BENCH_SUPPORT_CHILD_H
#define BENCH_SUPPORT_CHILD_H

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "measure.h"

extern char **environ;

struct child {
    pid_t pid;
    int stdin_fd;
    FILE *stdout_file;
};

// Starts this program with arguments (argv[0] included, NULL at the end). in and out
// become its stdin and stdout; -1 leaves ours.
static inline pid_t
child_spawn(const char *const *arguments, int in, int out)
{
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int err;

    posix_spawn_file_actions_init(&actions);
    if (in >= 0) {
        posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
    }
    if (out >= 0) {
        posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    }
    err = posix_spawn(&pid, "/proc/self/exe", &actions, NULL, (char *const *)arguments,
                      environ);
    posix_spawn_file_actions_destroy(&actions);
    if (err != 0) {
        fail("cannot start the second process: %s", strerror(err));
    }
    return pid;
}

// Waits for a process; fails if it did.
static inline void
child_wait(pid_t pid)
{
    int status;

    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) {
            fail("waitpid: %s", strerror(errno));
        }
    }
    if (status != 0) {
        fail("the second process ended with status 0x%x", (unsigned)status);
    }
}

// Gives a child with pipes to its stdin and from its stdout.
static inline struct child
child_open(const char *const *arguments)
{
    struct child child;
    int in[2], out[2];

    // Closed on exec: the child keeps the copies only.
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0) {
        fail("pipe2: %s", strerror(errno));
    }
    child.pid = child_spawn(arguments, in[0], out[1]);
    close(in[0]);
    close(out[1]);
    child.stdin_fd = in[1];
    child.stdout_file = fdopen(out[0], "r");
    if (child.stdout_file == NULL) {
        fail("fdopen: %s", strerror(errno));
    }
    return child;
}

// Reads the child's next line into line, without its end.
static inline void
child_read_line(struct child *child, char *line, int size)
{
    if (fgets(line, size, child->stdout_file) == NULL) {
        fail("the second process ended early");
    }
    line[strcspn(line, "\n")] = '\0';
}

// Ends the child and waits for it; fails if it did.
static inline void
child_close(struct child *child)
{
    close(child->stdin_fd);
    child_wait(child->pid);
    fclose(child->stdout_file);
}

// In the child: returns when the parent closes our stdin, or is gone.
static inline void
child_wait_for_parent(void)
{
    char byte;
    ssize_t got;

    do {
        got = read(STDIN_FILENO, &byte, 1);
    } while (got > 0 || (got < 0 && errno == EINTR));
}

#endif // BENCH_SUPPORT_CHILD_H
