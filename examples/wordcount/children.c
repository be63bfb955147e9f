#include "children.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

bool
children_start(struct children *children, const char *endpoint)
{
    char index[16];
    char *argv[] = {"wordcount", "worker", (char *)endpoint, index, NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid = 0;

    snprintf(index, sizeof index, "%u", children->count);
    errno = posix_spawn_file_actions_init(&actions);
    if (errno != 0) {
        return false;
    }
    // Our stdin is not for the workers.
    errno = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    if (errno == 0) {
        errno = posix_spawn(&pid, "/proc/self/exe", &actions, NULL, argv, environ);
    }
    int error = errno;

    posix_spawn_file_actions_destroy(&actions);
    if (error == 0) {
        children->pids[children->count++] = pid;
    }
    errno = error;
    return error == 0;
}

// A pid stays ours until we have waited for it, so it never names a stranger.
bool
children_runs(struct children *children, uint32_t index)
{
    pid_t pid = children->pids[index];

    if (pid != 0 && waitpid(pid, NULL, WNOHANG) != 0) {
        children->pids[index] = 0;
    }
    return children->pids[index] != 0;
}

void
children_kill(struct children *children, uint32_t index)
{
    if (children_runs(children, index)) {
        kill(children->pids[index], SIGKILL);
    }
}

static bool
any_runs(struct children *children)
{
    bool any = false;

    for (uint32_t i = 0; i < children->count; i++) {
        any |= children_runs(children, i);
    }
    return any;
}

void
children_wait(struct children *children, uint32_t grace_ms)
{
    const struct timespec step = {.tv_nsec = 5 * 1000 * 1000};

    for (uint32_t ms = 0; any_runs(children) && ms < grace_ms; ms += 5) {
        nanosleep(&step, NULL);
    }
    for (uint32_t i = 0; i < children->count; i++) {
        children_kill(children, i);
        while (children->pids[i] != 0 && waitpid(children->pids[i], NULL, 0) < 0
               && errno == EINTR) {
        }
        children->pids[i] = 0;
    }
}
