#include "sched/overflow.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "sched/worker.h"

enum { STACK_BYTES = 64 * 1024, TEXT = 512 };

struct overflow_thread {
    stack_t before;
    _Alignas(16) unsigned char stack[STACK_BYTES];
};

// The process has one action for a signal: how many want ours, and what was there
// before.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned users;
static struct sigaction before;

// The worker whose thread this is; NULL: none that reports.
static _Thread_local struct worker *here;

// printf is no function for signal handlers by the letter; the thread that is here was
// running a turn's own code, and the process ends right after.
static void
report(const struct worker *worker)
{
    const struct sched *sched = worker->sched;
    char who[TEXT / 2] = "a task";
    char text[TEXT];

    if (sched->print_task != NULL && worker->running != NULL) {
        sched->print_task(worker->running, who, sizeof who);
    }
    int size = snprintf(text, sizeof text,
                        "hark: stack overflow in %s: its %zu bytes are used up "
                        "(hark_options.stack_bytes)\n",
                        who, sched->stacks.usable_bytes);
    if (size > 0) {
        // Nothing else can be done if it fails.
        ssize_t written = write(STDERR_FILENO, text, (size_t)size);
        (void)written;
    }
}

// No overflow of ours: as if we were not here.
static void
pass_on(int number, siginfo_t *info, void *context)
{
    if ((before.sa_flags & SA_SIGINFO) != 0 && before.sa_sigaction != NULL) {
        before.sa_sigaction(number, info, context);
    } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
        before.sa_handler(number);
    } else {
        signal(number, SIG_DFL); // what went wrong goes wrong again, and ends us
    }
}

static void
on_fault(int number, siginfo_t *info, void *context)
{
    const struct worker *worker = here;

    if (worker != NULL
        && hark__stack_is_below(&worker->sched->stacks, worker->stack, info->si_addr)) {
        report(worker);
        signal(SIGABRT, SIG_DFL);
        abort();
    }
    pass_on(number, info, context);
}

void
hark__overflow_open(void)
{
    pthread_mutex_lock(&lock);
    if (users++ == 0) {
        struct sigaction action = {.sa_sigaction = on_fault,
                                   .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};

        sigemptyset(&action.sa_mask);
        sigaction(SIGSEGV, &action, &before);
    }
    pthread_mutex_unlock(&lock);
}

void
hark__overflow_close(void)
{
    pthread_mutex_lock(&lock);
    if (--users == 0) {
        struct sigaction now;

        // Not if somebody has put their own in its place since.
        sigaction(SIGSEGV, NULL, &now);
        if ((now.sa_flags & SA_SIGINFO) != 0 && now.sa_sigaction == on_fault) {
            sigaction(SIGSEGV, &before, NULL);
        }
    }
    pthread_mutex_unlock(&lock);
}

struct overflow_thread *
hark__overflow_enter(struct worker *worker)
{
    struct overflow_thread *thread = malloc(sizeof *thread);

    if (thread == NULL) {
        return NULL;
    }
    const stack_t stack = {.ss_sp = thread->stack, .ss_size = sizeof thread->stack};
    if (sigaltstack(&stack, &thread->before) != 0) {
        free(thread);
        return NULL;
    }
    here = worker;
    return thread;
}

void
hark__overflow_leave(struct overflow_thread *thread)
{
    if (thread != NULL) {
        here = NULL;
        sigaltstack(&thread->before, NULL);
        free(thread);
    }
}
