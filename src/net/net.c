#include "net/net.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/transport.h"

enum { ENDPOINT_LIMIT = 255 };

// ---- endpoints ----

static const struct transport *const transports[] = {
    &hark__transport_tcp,
    &hark__transport_ipc,
    &hark__transport_memory,
};

static const struct transport *
find_transport(const char *endpoint)
{
    for (size_t i = 0; i < sizeof transports / sizeof transports[0]; i++) {
        size_t size = strlen(transports[i]->scheme);

        if (strncmp(endpoint, transports[i]->scheme, size) == 0
            && strncmp(endpoint + size, "://", 3) == 0) {
            return transports[i];
        }
    }
    return NULL;
}

static hark_err
choose(const char *endpoint, const struct transport **out_transport,
       struct net_error *error)
{
    if (endpoint == NULL || strnlen(endpoint, ENDPOINT_LIMIT + 1) > ENDPOINT_LIMIT) {
        snprintf(error->text, error->size, "endpoint %.40s%s: over %d bytes",
                 endpoint != NULL ? endpoint : "(null)", endpoint != NULL ? "..." : "",
                 ENDPOINT_LIMIT);
        return HARK_EENDPOINT;
    }
    *out_transport = find_transport(endpoint);
    if (*out_transport == NULL) {
        snprintf(error->text, error->size,
                 "endpoint \"%s\": expected tcp://host:port, ipc://path or mem://name",
                 endpoint);
        return HARK_EENDPOINT;
    }
    return HARK_OK;
}

// ---- opening and closing ----

struct net *
hark__net_open(const struct net_options *options)
{
    struct net *net = calloc(1, sizeof *net);

    if (net == NULL) {
        return NULL;
    }
    net->env = options->env;
    net->sink = options->sink;
    net->frame_limit_bytes = options->frame_limit_bytes;
    net->hub = options->hub != NULL ? hark__hub_retain(options->hub) : NULL;
    net->own_epoll = net->guest_epoll = net->event = net->unwait = -1;
    atomic_init(&net->waited_ns, INT64_MAX);
    atomic_init(&net->watching, true);
    atomic_init(&net->due_ns, INT64_MAX);
    pthread_mutex_init(&net->lock, NULL);
    pthread_mutex_init(&net->polling, NULL);
    return net;
}

// The thread and the transport's side, with the first use.
static hark_err
prepare(struct net *net, const struct transport *transport, struct net_error *error)
{
    bool is_memory = transport == &hark__transport_memory;
    hark_err err = HARK_OK;

    if (is_memory && net->hub == NULL) {
        snprintf(error->text, error->size,
                 "mem:// endpoints need a hub in the options");
        return HARK_EENDPOINT;
    }
    pthread_mutex_lock(&net->lock);
    if (net->thread == NULL) {
        err = hark__net_start(net);
    }
    if (err == HARK_OK && is_memory && net->memory == NULL) {
        net->memory = hark__memory_open(net);
        err = net->memory != NULL ? HARK_OK : HARK_ENOMEM;
    } else if (err == HARK_OK && !is_memory && net->zmq == NULL) {
        net->zmq = hark__zmq_open(net);
        err = net->zmq != NULL ? HARK_OK : HARK_ENOMEM;
    }
    pthread_mutex_unlock(&net->lock);
    if (err != HARK_OK) {
        snprintf(error->text, error->size, "no memory or threads for links");
    }
    return err;
}

hark_err
hark__net_listen(struct net *net, const char *endpoint, char *out_bound,
                 size_t out_bound_size, char *error, size_t error_size)
{
    struct net_error to = {error, error_size};
    const struct transport *transport;
    hark_err err = choose(endpoint, &transport, &to);

    if (err == HARK_OK) {
        err = prepare(net, transport, &to);
    }
    return err == HARK_OK
               ? transport->listen(net, endpoint, out_bound, out_bound_size, &to)
               : err;
}

hark_err
hark__net_connect(struct net *net, const char *endpoint, void *user,
                  struct pipe **out_pipe, char *error, size_t error_size)
{
    struct net_error to = {error, error_size};
    const struct transport *transport;
    hark_err err = choose(endpoint, &transport, &to);

    if (err == HARK_OK) {
        err = prepare(net, transport, &to);
    }
    return err == HARK_OK ? transport->connect(net, endpoint, user, out_pipe, &to)
                          : err;
}

void
hark__net_close(struct net *net, uint32_t linger_ms)
{
    hark__net_halt(net);
    if (net->zmq != NULL) {
        hark__zmq_close(net->zmq, linger_ms);
    }
    if (net->memory != NULL) {
        hark__memory_close(net->memory);
    }
    hark__net_close_descriptors(net);
    if (net->hub != NULL) {
        hark__hub_release(net->hub);
    }
    pthread_mutex_destroy(&net->polling);
    pthread_mutex_destroy(&net->lock);
    free(net);
}

// ---- pipes ----

hark_err
hark__pipe_send(struct pipe *pipe, const uint8_t *data, size_t size)
{
    return pipe->transport->send(pipe, data, size);
}

hark_err
hark__pipe_give(struct pipe *pipe, uint8_t *data, size_t size)
{
    return pipe->transport->give(pipe, data, size);
}

bool
hark__pipe_takes_parts(const struct pipe *pipe)
{
    return pipe->transport->send_parts != NULL;
}

hark_err
hark__pipe_send_parts(struct pipe *pipe, const uint8_t *data, size_t size,
                      const struct net_part *parts, uint32_t count)
{
    return pipe->transport->send_parts(pipe, data, size, parts, count);
}

void
hark__pipe_close(struct pipe *pipe)
{
    pipe->transport->close(pipe);
}

void
hark__pipe_set_user(struct pipe *pipe, void *user)
{
    pipe->user = user;
}

void *
hark__pipe_user(const struct pipe *pipe)
{
    return pipe->user;
}
