// The public calls that reach other nodes: listen, connect, lookup.

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actor/names.h"
#include "remote/link.h"

enum {
    MARGIN_MS = 1000
}; // so that the link's own error comes before the future's clock

// ---- finding a link ----

// The link that was opened to endpoint, or a new one. remote's lock is held.
static struct link *
link_to(struct remote *remote, const char *endpoint, hark_err *out_err, char *error,
        size_t error_size)
{
    struct link *link = hark__link_find(remote, endpoint);

    return link != NULL
               ? link
               : hark__link_dial(remote, endpoint, 0, out_err, error, error_size);
}

// What a request needs to know.
struct request {
    enum pending_kind kind;
    const char *endpoint;
    hark_str name;
    uint32_t timeout_ms;
    const char *site;
};

void
hark__lookup_found(hark_ctx *ctx, const struct pending *pending, hark_ref found)
{
    struct hark_message *message = hark__message_new(
        hark__ctx_pool(ctx), &hark_found_type, &(hark_found){.actor = found});

    if (message == NULL) {
        hark__fail_surely(ctx, pending->asker, pending->correlation, HARK_ENOMEM,
                          HARK_STAGE_REPLY_LOST, NULL, pending->spare);
        return;
    }
    if (pending->spare != NULL) {
        hark__message_free(hark__ctx_pool(ctx), pending->spare);
    }
    message->kind = MESSAGE_REPLY;
    message->correlation = pending->correlation;
    (void)hark__send(ctx, pending->asker, message);
}

// A future that is answered with a hark_found, by us.
static hark_future
answer_here(hark_ctx *ctx, hark_future future, hark_ref found)
{
    struct pending pending = {.asker = hark_self(ctx), .correlation = future.id};

    hark__lookup_found(ctx, &pending, found);
    return future;
}

// What the row keeps to ask again, if the link goes first. NULL: no memory; then it
// does not.
static struct pending_lookup *
make_lookup(struct remote *remote, hark_str name)
{
    struct pending_lookup *lookup = malloc(sizeof *lookup + name.len);

    if (lookup != NULL) {
        lookup->started_ns = hark__env_now(remote->node->env);
        lookup->size = (uint32_t)name.len;
        if (name.len > 0) {
            memcpy(lookup->name, name.ptr, name.len);
        }
    }
    return lookup;
}

// remote's lock is held: the link cannot go. HARK_EAGAIN: there is no memory for a row.
static hark_err
put(struct remote *remote, hark_ctx *ctx, const struct request *request,
    const struct pending *pending, bool *out_is_up)
{
    hark_err err;

    do {
        err = request->kind == PENDING_CONNECT
                  ? hark__link_await(pending->link, pending, out_is_up)
                  : hark__link_lookup(pending->link, pending, request->name);
    } while (err == HARK_EAGAIN
             && hark__pendings_prepare(&remote->pendings, hark__ctx_pool(ctx)));
    return err;
}

static hark_err
start(struct remote *remote, hark_ctx *ctx, const struct request *request,
      struct pending *pending, bool *out_is_up, char *error, size_t error_size)
{
    hark_err err = HARK_OK;

    *out_is_up = false;
    pthread_mutex_lock(&remote->lock);
    pending->link = link_to(remote, request->endpoint, &err, error, error_size);
    if (pending->link != NULL) {
        pending->lookup = make_lookup(remote, request->name);
        err = put(remote, ctx, request, pending, out_is_up);
        if (err == HARK_EAGAIN || *out_is_up) { // it went into no row
            free(pending->lookup);
            pending->lookup = NULL;
        }
        err = err == HARK_EAGAIN ? HARK_ENOMEM : err;
        if (err != HARK_OK) {
            snprintf(error, error_size, "%s: %s", request->endpoint,
                     hark_err_text(err));
        }
    }
    pthread_mutex_unlock(&remote->lock);
    return err;
}

static hark_future
send_request(hark_ctx *ctx, const struct request *request)
{
    struct remote *remote = hark__ctx_node(ctx)->remote;
    char error[REMOTE_TEXT];
    bool is_up;
    hark_future future =
        hark__ask_open(ctx, (hark_ref){0, 0}, NULL, request->timeout_ms, request->site);

    if (future.id == 0) {
        return future;
    }
    struct pending pending = {
        .kind = request->kind,
        .asker = hark_self(ctx),
        .correlation = future.id,
        .expiry_ns = hark__env_now(remote->node->env)
                     + ((int64_t)request->timeout_ms + MARGIN_MS) * NS_PER_MS,
    };
    hark_err err = start(remote, ctx, request, &pending, &is_up, error, sizeof error);
    if (err != HARK_OK) {
        hark__fail(ctx, pending.asker, future.id, err, HARK_STAGE_NOT_SENT, error);
    } else if (is_up) {
        return answer_here(ctx, future, (hark_ref){0, 0});
    }
    return future;
}

// ---- names ----

// Splits "tcp://host:port/name" at its last slash. False: it names no actor.
static bool
split(const char *name, char *endpoint, size_t size, hark_str *out_actor)
{
    const char *scheme = strstr(name, "://");
    const char *slash = strrchr(name, '/');

    if (slash < scheme + 3 || slash[1] == '\0' || (size_t)(slash - name) >= size) {
        return false;
    }
    snprintf(endpoint, size, "%.*s", (int)(slash - name), name);
    *out_actor = hark_str_of(slash + 1);
    return true;
}

static hark_future
lookup_here(hark_ctx *ctx, const char *name, uint32_t timeout_ms)
{
    struct node *node = hark__ctx_node(ctx);
    hark_ref found = hark__names_find(node->names, name, strlen(name));
    hark_future future = hark__ask_open(ctx, (hark_ref){0, 0}, NULL, timeout_ms, NULL);
    char error[REMOTE_TEXT];

    if (future.id == 0) {
        return future;
    }
    if (!hark_ref_is_null(found)) {
        return answer_here(ctx, future, found);
    }
    snprintf(error, sizeof error, "no actor is named \"%.200s\" at this node", name);
    hark__fail(ctx, hark_self(ctx), future.id, HARK_ENONAME, HARK_STAGE_RUNNING, error);
    return future;
}

// A future that has failed.
static hark_future
fail(hark_ctx *ctx, hark_err err, const char *format, const char *what)
{
    char error[REMOTE_TEXT];
    hark_future future = hark__ask_open(ctx, (hark_ref){0, 0}, NULL, 0, NULL);

    snprintf(error, sizeof error, format, what);
    if (future.id != 0) {
        hark__fail(ctx, hark_self(ctx), future.id, err, HARK_STAGE_NOT_SENT, error);
    }
    return future;
}

hark_future
hark_lookup_ask(hark_ctx *ctx, const char *name, uint32_t timeout_ms)
{
    char endpoint[ENDPOINT_SIZE];
    struct request request = {.kind = PENDING_LOOKUP, .endpoint = endpoint};

    if (ctx == NULL) {
        return (hark_future){0, 0};
    }
    if (name == NULL || name[0] == '\0') {
        return fail(ctx, HARK_EINVAL, "%s", "hark_lookup: the name is empty");
    }
    if (strstr(name, "://") == NULL) {
        return lookup_here(ctx, name, timeout_ms);
    }
    if (!split(name, endpoint, sizeof endpoint, &request.name)) {
        return fail(ctx, HARK_EENDPOINT,
                    "\"%.200s\" names no actor: expected scheme://address/name", name);
    }
    request.timeout_ms = timeout_ms != 0
                             ? timeout_ms
                             : hark__ctx_node(ctx)->remote->connect_ms + MARGIN_MS;
    return send_request(ctx, &request);
}

// Waits for a hark_found, about what, in an attached thread. False: the error of ctx is set.
static bool
await_found(hark_ctx *ctx, const char *what, hark_future future, hark_ref *out_found)
{
    const hark_found *found =
        future.id != 0 ? hark_await(ctx, future, hark_found) : NULL;

    const hark_error *error = hark_error_of(ctx);

    if (found != NULL) {
        *out_found = found->actor;
    } else if (error->code == HARK_ETIMEOUT) { // else the error names it
        hark__ctx_error(ctx, HARK_ETIMEOUT,
                        "\"%.200s\": no answer within %" PRIu32 " ms", what,
                        error->elapsed_ms);
    }
    hark_future_drop(ctx, future);
    return found != NULL;
}

hark_ref
hark_lookup(hark_ctx *ctx, const char *name)
{
    hark_ref found = {0, 0};

    if (ctx == NULL || name == NULL) {
        hark__ctx_error(ctx, HARK_EINVAL, "hark_lookup: null argument");
        return found;
    }
    if (strstr(name, "://") == NULL) {
        found = hark__names_find(hark__ctx_node(ctx)->names, name, strlen(name));
        if (hark_ref_is_null(found)) {
            hark__ctx_error(ctx, HARK_ENONAME,
                            "no actor is named \"%.200s\" at this node", name);
        }
    } else if (!hark__ctx_is_thread(ctx)) {
        hark__ctx_error(ctx, HARK_ENOTSUP,
                        "hark_lookup of a remote name blocks: an actor "
                        "uses hark_lookup_ask");
    } else {
        (void)await_found(ctx, name, hark_lookup_ask(ctx, name, 0), &found);
    }
    return found;
}

// ---- links ----

hark_err
hark_connect(hark_ctx *ctx, const char *endpoint)
{
    hark_ref found;

    if (ctx == NULL || endpoint == NULL) {
        return hark__ctx_error(ctx, HARK_EINVAL, "hark_connect: null argument");
    }
    if (!hark__ctx_is_thread(ctx)) {
        return hark__ctx_error(ctx, HARK_ENOTSUP,
                               "hark_connect blocks: only in an attached thread");
    }
    if (strlen(endpoint) >= ENDPOINT_SIZE) {
        return hark__ctx_error(ctx, HARK_EENDPOINT, "endpoint \"%.40s...\" is too long",
                               endpoint);
    }
    struct request request = {
        .kind = PENDING_CONNECT,
        .endpoint = endpoint,
        .timeout_ms = hark__ctx_node(ctx)->remote->connect_ms + MARGIN_MS,
    };
    if (await_found(ctx, endpoint, send_request(ctx, &request), &found)) {
        return HARK_OK;
    }
    return (hark_err)hark_error_of(ctx)->code;
}

hark_err
hark_listen(hark_ctx *ctx, const char *endpoint, char *out_bound, size_t size)
{
    char bound[ENDPOINT_SIZE];
    char error[REMOTE_TEXT];

    if (ctx == NULL || endpoint == NULL || (out_bound == NULL && size > 0)) {
        return hark__ctx_error(ctx, HARK_EINVAL, "hark_listen: null argument");
    }
    struct remote *remote = hark__ctx_node(ctx)->remote;
    pthread_mutex_lock(&remote->lock); // so that a first WELCOME has the endpoint
    hark_err err = hark__net_listen(remote->net, endpoint, bound, sizeof bound, error,
                                    sizeof error);
    if (err == HARK_OK) {
        hark__remote_begin(remote);
    }
    if (err == HARK_OK && remote->endpoint[0] == '\0') {
        snprintf(remote->endpoint, sizeof remote->endpoint, "%s", bound);
    }
    pthread_mutex_unlock(&remote->lock);
    if (err != HARK_OK) {
        return hark__ctx_error(ctx, err, "%s", error);
    }
    if (size > 0) {
        snprintf(out_bound, size, "%s", bound);
    }
    return HARK_OK;
}
