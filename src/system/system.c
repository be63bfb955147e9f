// The system: opens the rooms upward and closes them downward.

#include "hark/system.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "actor/blocking.h"
#include "actor/node.h"
#include "base/env.h"
#include "message/registry.h"
#include "net/net.h"
#include "remote/remote.h"

enum {
    DEFAULT_ACTORS = 16 * 1024 * 1024,
    DEFAULT_ASK_MS = 5000,
    DEFAULT_FUTURES = 4 * 1024 * 1024,
    DEFAULT_HEARTBEAT_MS = 3000,
    DEFAULT_CONNECT_MS = 5000,
    DEFAULT_BLOCKING = 64,
    DEFAULT_BLOCKING_QUEUE = 65536,
    DEFAULT_BLOCKING_IDLE_MS = 5000,
    NAME_LIMIT = 255,
    DEFAULT_LINK_BYTES = 256 * 1024 * 1024,
    DEFAULT_FRAME_BYTES = 64 * 1024 * 1024,
    LEAST_FRAME_BYTES = 64 * 1024,
};

struct hark_system {
    struct env *env;
    struct registry *registry;
    struct node *node;
    struct remote *remote;
    char *name;
    hark_executor_options blocking; // of its own executor, and what others default to
};

static uint32_t
or_default(uint32_t value, uint32_t preset)
{
    return value != 0 ? value : preset;
}

static bool
is_name(const char *name)
{
    return name == NULL || strnlen(name, NAME_LIMIT + 1) <= NAME_LIMIT;
}

static bool
are_sound(const hark_options *options)
{
    return options->workers <= SCHED_MAX_WORKERS && is_name(options->name)
           && (options->types != NULL || options->type_count == 0)
           && (options->frame_limit_bytes == 0
               || (options->frame_limit_bytes >= LEAST_FRAME_BYTES
                   && options->frame_limit_bytes <= UINT32_MAX));
}

static hark_err
add_types(struct registry *registry, const hark_type *const *begin,
          const hark_type *const *end)
{
    hark_err err = HARK_OK;

    for (const hark_type *const *type = begin; type != end && err == HARK_OK; type++) {
        err = hark__registry_add(registry, *type);
    }
    return err;
}

static hark_err
open_registry(hark_system *system, const hark_options *options,
              const hark_type *const *begin, const hark_type *const *end)
{
    system->registry = hark__registry_new();
    if (system->registry == NULL) {
        return HARK_ENOMEM;
    }
    hark_err err = add_types(system->registry, begin, end);
    if (err == HARK_OK && options->types != NULL) {
        err = add_types(system->registry, options->types,
                        options->types + options->type_count);
    }
    return err;
}

static hark_err
open_node(hark_system *system, const hark_options *options)
{
    struct node_options node = {
        .env = system->env,
        .system = system,
        .registry = system->registry,
        .name = system->name,
        .workers = or_default(options->workers, hark__env_processors()),
        .actor_limit = or_default(options->actor_limit, DEFAULT_ACTORS),
        .stack_bytes = options->stack_bytes,
        .stack_limit = options->waiting_limit,
        .reports_overflow = options->report_overflow,
        .blocking = system->blocking,
        .limits =
            {
                .mailbox = options->mailbox_limit,
                .ask_timeout_ms = or_default(options->ask_timeout_ms, DEFAULT_ASK_MS),
                .futures = or_default(options->future_limit, DEFAULT_FUTURES),
            },
        .on_unseen_failure = options->on_unseen_failure,
        .on_unseen_failure_arg = options->on_unseen_failure_arg,
    };

    if (node.workers > SCHED_MAX_WORKERS) {
        node.workers = SCHED_MAX_WORKERS;
    }
    return hark__node_open(&node, &system->node);
}

static size_t
bytes_or_default(size_t value, size_t preset)
{
    return value != 0 ? value : preset;
}

static hark_err
open_remote(hark_system *system, const hark_options *options)
{
    struct remote_options remote = {
        .node = system->node,
        .hub = options->hub,
        .heartbeat_ms = or_default(options->heartbeat_ms, DEFAULT_HEARTBEAT_MS),
        .connect_ms = or_default(options->connect_ms, DEFAULT_CONNECT_MS),
        .link_limit_bytes =
            bytes_or_default(options->link_limit_bytes, DEFAULT_LINK_BYTES),
        .frame_limit_bytes =
            bytes_or_default(options->frame_limit_bytes, DEFAULT_FRAME_BYTES),
    };

    return hark__remote_open(&remote, &system->remote);
}

// An actor counts as ended before its last turn is over, and that turn may still send
// to other nodes; so the workers end before the links do.
static void
close_system(hark_system *system)
{
    if (system->node != NULL) {
        hark__node_halt(system->node);
    }
    if (system->remote != NULL) {
        hark__remote_close(system->remote);
    }
    if (system->node != NULL) {
        hark__node_close(system->node);
    }
    hark__registry_free(system->registry);
    free(system->name);
    free(system);
}

static int
errno_of(hark_err err)
{
    return err == HARK_ENOMEM ? ENOMEM : EINVAL;
}

hark_system *
hark_start_with(const hark_options *options, const hark_type *const *types_begin,
                const hark_type *const *types_end)
{
    static const hark_options defaults;
    hark_system *system = calloc(1, sizeof *system);

    options = options != NULL ? options : &defaults;
    if (system == NULL || !are_sound(options)) {
        errno = system == NULL ? ENOMEM : EINVAL;
        free(system);
        return NULL;
    }
    system->env = hark__env_real();
    system->blocking = (hark_executor_options){
        .name = "blocking",
        .threads = or_default(options->blocking_limit, DEFAULT_BLOCKING),
        .queue = or_default(options->blocking_queue_limit, DEFAULT_BLOCKING_QUEUE),
        .idle_ms = or_default(options->blocking_idle_ms, DEFAULT_BLOCKING_IDLE_MS),
    };
    system->name = options->name != NULL ? strdup(options->name) : NULL;
    hark_err err = system->name == NULL && options->name != NULL
                       ? HARK_ENOMEM
                       : open_registry(system, options, types_begin, types_end);
    if (err == HARK_OK) {
        err = open_node(system, options);
    }
    if (err == HARK_OK) {
        err = open_remote(system, options);
    }
    if (err != HARK_OK) {
        close_system(system);
        errno = errno_of(err);
        return NULL;
    }
    return system;
}

hark_err
hark_stop(hark_system *system, uint32_t timeout_ms)
{
    if (system == NULL) {
        return HARK_OK;
    }
    hark_err err =
        hark__node_stop(system->node, hark__env_deadline(system->env, timeout_ms));
    if (err != HARK_OK) {
        return err;
    }
    close_system(system);
    return HARK_OK;
}

hark_ctx *
hark_attach(hark_system *system)
{
    return system != NULL ? hark__thread_attach(system->node) : NULL;
}

hark_executor *
hark_executor_new(hark_system *system, const hark_executor_options *options)
{
    static const hark_executor_options defaults;

    options = options != NULL ? options : &defaults;
    if (system == NULL || !is_name(options->name)) {
        return NULL;
    }
    const hark_executor_options *preset = &system->blocking;
    hark_executor_options all = {
        .name = options->name != NULL ? options->name : "executor",
        .threads = or_default(options->threads, preset->threads),
        .queue = or_default(options->queue, preset->queue),
        .idle_ms = or_default(options->idle_ms, preset->idle_ms),
    };
    return hark__executor_new(system->node, &all);
}

void
hark_stats_read(hark_system *system, hark_stats *out_stats)
{
    if (out_stats == NULL) {
        return;
    }
    *out_stats = (hark_stats){0};
    if (system == NULL) {
        return;
    }
    hark__node_stats(system->node, out_stats);
    hark__remote_stats(system->remote, out_stats);
}

hark_hub *
hark_hub_new(void)
{
    return hark__hub_new();
}

void
hark_hub_free(hark_hub *hub)
{
    if (hub != NULL) {
        hark__hub_release(hub);
    }
}

size_t
hark_stack_deepest(hark_system *system)
{
    return system != NULL ? hark__sched_stack_deepest(system->node->sched) : 0;
}
