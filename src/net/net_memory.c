// The in-memory transport: nets of one process that share a hub.
//
// A pipe has two ends, one in each net. A frame is copied into the other end's queue;
// its net's poller takes it from there. One lock, the hub's, guards all; it is never
// held while a sink runs.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/transport.h"

struct hark_hub {
    pthread_mutex_t lock; // guards all of this file's structs
    unsigned references;
    struct list listeners;
};

struct listener {
    struct list by_hub;
    struct list by_side;
    struct memory_side *side;
    char name[];
};

struct frame_copy {
    struct frame_copy *next;
    size_t size;
    uint8_t data[];
};

struct end {
    struct pipe pipe;     // first
    struct list by_side;  // all ends of a side
    struct list by_ready; // those with something to look at
    struct memory_side *side;
    struct end *other; // NULL: it is closed
    struct frame_copy *first, *last;
    bool gone_told;
};

struct memory_side {
    struct net *net;
    struct hark_hub *hub;
    struct list listeners, ends, ready;
};

// ---- the hub ----

struct hark_hub *
hark__hub_new(void)
{
    struct hark_hub *hub = calloc(1, sizeof *hub);

    if (hub != NULL) {
        pthread_mutex_init(&hub->lock, NULL);
        hub->references = 1;
        hark__list_init(&hub->listeners);
    }
    return hub;
}

struct hark_hub *
hark__hub_retain(struct hark_hub *hub)
{
    pthread_mutex_lock(&hub->lock);
    hub->references++;
    pthread_mutex_unlock(&hub->lock);
    return hub;
}

void
hark__hub_release(struct hark_hub *hub)
{
    pthread_mutex_lock(&hub->lock);
    bool last = --hub->references == 0;
    pthread_mutex_unlock(&hub->lock);
    if (last) {
        pthread_mutex_destroy(&hub->lock);
        free(hub);
    }
}

// The lock is held. NULL: nobody listens there.
static struct listener *
find_listener(struct hark_hub *hub, const char *name)
{
    for (struct list *at = hub->listeners.next; at != &hub->listeners; at = at->next) {
        struct listener *listener = CONTAINER_OF(at, struct listener, by_hub);

        if (strcmp(listener->name, name) == 0) {
            return listener;
        }
    }
    return NULL;
}

// ---- listening and connecting ----

static const char *
name_of(const char *endpoint)
{
    return endpoint + strlen("mem://");
}

static hark_err
memory_listen(struct net *net, const char *endpoint, char *out_bound,
              size_t out_bound_size, struct net_error *error)
{
    const char *name = name_of(endpoint);
    struct listener *listener = malloc(sizeof *listener + strlen(name) + 1);

    if (name[0] == '\0' || listener == NULL) {
        free(listener);
        snprintf(error->text, error->size, "endpoint \"%s\": %s", endpoint,
                 name[0] == '\0' ? "the name is missing" : "no memory");
        return name[0] == '\0' ? HARK_EENDPOINT : HARK_ENOMEM;
    }
    listener->side = net->memory;
    memcpy(listener->name, name, strlen(name) + 1);
    pthread_mutex_lock(&net->hub->lock);
    bool taken = find_listener(net->hub, name) != NULL;
    if (!taken) {
        hark__list_append(&net->hub->listeners, &listener->by_hub);
        hark__list_append(&net->memory->listeners, &listener->by_side);
    }
    pthread_mutex_unlock(&net->hub->lock);
    if (taken) {
        free(listener);
        snprintf(error->text, error->size, "endpoint \"%s\": in use", endpoint);
        return HARK_EEXIST;
    }
    snprintf(out_bound, out_bound_size, "%s", endpoint);
    return HARK_OK;
}

static struct end *
end_new(struct memory_side *side, void *user)
{
    struct end *end = calloc(1, sizeof *end);

    if (end != NULL) {
        end->pipe = (struct pipe){&hark__transport_memory, side->net, user};
        end->side = side;
        hark__list_init(&end->by_ready);
        hark__list_append(&side->ends, &end->by_side);
    }
    return end;
}

// The lock is held; takes all frames with it.
static void
end_free(struct end *end)
{
    while (end->first != NULL) {
        struct frame_copy *frame = end->first;

        end->first = frame->next;
        free(frame);
    }
    hark__list_remove(&end->by_side);
    hark__list_remove(&end->by_ready);
    free(end);
}

// The lock is held.
static void
make_ready(struct end *end)
{
    hark__list_remove(&end->by_ready);
    hark__list_append(&end->side->ready, &end->by_ready);
    hark__net_wake(end->side->net);
}

static hark_err
memory_connect(struct net *net, const char *endpoint, void *user,
               struct pipe **out_pipe, struct net_error *error)
{
    hark_err err = HARK_ENONODE;

    if (name_of(endpoint)[0] == '\0') {
        snprintf(error->text, error->size, "endpoint \"%s\": the name is missing",
                 endpoint);
        return HARK_EENDPOINT;
    }
    pthread_mutex_lock(&net->hub->lock);
    struct listener *listener = find_listener(net->hub, name_of(endpoint));
    if (listener != NULL) {
        struct end *here = end_new(net->memory, user);
        struct end *there = here != NULL ? end_new(listener->side, NULL) : NULL;

        if (there != NULL) {
            here->other = there;
            there->other = here;
            *out_pipe = &here->pipe;
        } else if (here != NULL) {
            end_free(here);
        }
        err = there != NULL ? HARK_OK : HARK_ENOMEM;
    }
    pthread_mutex_unlock(&net->hub->lock);
    if (err != HARK_OK) {
        snprintf(error->text, error->size, "endpoint \"%s\": %s", endpoint,
                 err == HARK_ENONODE ? "nobody listens there" : "no memory");
    }
    return err;
}

// ---- traffic ----

static struct frame_copy *
copy_frame(const uint8_t *data, size_t size)
{
    struct frame_copy *frame = malloc(sizeof *frame + size);

    if (frame != NULL) {
        frame->next = NULL;
        frame->size = size;
        memcpy(frame->data, data, size);
    }
    return frame;
}

// Takes frame. The lock is held.
static void
enqueue(struct end *end, struct frame_copy *frame)
{
    if (end->last != NULL) {
        end->last->next = frame;
    } else {
        end->first = frame;
    }
    end->last = frame;
    make_ready(end);
}

static hark_err
memory_send(struct pipe *pipe, const uint8_t *data, size_t size)
{
    struct end *end = (struct end *)pipe;
    struct hark_hub *hub = end->side->hub;
    struct frame_copy *frame = copy_frame(data, size);

    if (frame == NULL) {
        return HARK_ENOMEM;
    }
    pthread_mutex_lock(&hub->lock);
    bool there = end->other != NULL && size <= end->other->side->net->frame_limit_bytes;
    if (there) {
        enqueue(end->other, frame);
    } else {
        free(frame);
    }
    pthread_mutex_unlock(&hub->lock);
    return there ? HARK_OK : HARK_ENONODE;
}

static hark_err
memory_give(struct pipe *pipe, uint8_t *data, size_t size)
{
    hark_err err = memory_send(pipe, data, size);

    free(data);
    return err;
}

static void
memory_close_pipe(struct pipe *pipe)
{
    struct end *end = (struct end *)pipe;
    struct hark_hub *hub = end->side->hub;

    pthread_mutex_lock(&hub->lock);
    if (end->other != NULL) {
        end->other->other = NULL;
        make_ready(end->other);
    }
    end_free(end);
    pthread_mutex_unlock(&hub->lock);
}

// What the poller finds: a frame, or that the other end is gone.
struct finding {
    struct end *end; // NULL: nothing
    struct frame_copy *frame;
};

static struct finding
find_work(struct memory_side *side)
{
    struct finding found = {NULL, NULL};

    pthread_mutex_lock(&side->hub->lock);
    while (found.end == NULL && !hark__list_is_empty(&side->ready)) {
        struct end *end = CONTAINER_OF(side->ready.next, struct end, by_ready);

        if (end->first != NULL) {
            found = (struct finding){end, end->first};
            end->first = end->first->next;
            end->last = end->first != NULL ? end->last : NULL;
        } else {
            hark__list_remove(&end->by_ready);
            if (end->other == NULL && !end->gone_told) {
                end->gone_told = true;
                found.end = end;
            }
        }
    }
    pthread_mutex_unlock(&side->hub->lock);
    return found;
}

// A frame that was copied here.
struct marrival {
    struct arrival arrival;
    struct frame_copy *frame; // NULL: it was kept
};

static bool
keep_copy(struct arrival *arrival, uint32_t part, struct kept *out_kept)
{
    struct marrival *frame = (struct marrival *)arrival;

    (void)part; // there are none
    *out_kept = (struct kept){frame->frame->data, frame->frame, free};
    frame->frame = NULL;
    return true;
}

static void
pass_on(struct sink *sink, struct pipe *pipe, struct frame_copy *copy)
{
    struct marrival frame = {
        .arrival = {.data = copy->data, .size = copy->size, .keep = keep_copy},
        .frame = copy,
    };

    sink->frame(sink, pipe, &frame.arrival);
    free(frame.frame);
}

bool
hark__memory_poll(struct memory_side *side)
{
    struct sink *sink = side->net->sink;

    for (unsigned i = 0; i < NET_BATCH; i++) {
        struct finding found = find_work(side);

        if (found.end == NULL) {
            return false;
        }
        if (found.frame != NULL) {
            pass_on(sink, &found.end->pipe, found.frame);
        } else {
            sink->gone(sink, &found.end->pipe, HARK_ENONODE,
                       "the other side closed it");
        }
    }
    return true;
}

// ---- a net's side ----

struct memory_side *
hark__memory_open(struct net *net)
{
    struct memory_side *side = calloc(1, sizeof *side);

    if (side != NULL) {
        side->net = net;
        side->hub = net->hub;
        hark__list_init(&side->listeners);
        hark__list_init(&side->ends);
        hark__list_init(&side->ready);
    }
    return side;
}

void
hark__memory_close(struct memory_side *side)
{
    pthread_mutex_lock(&side->hub->lock);
    while (!hark__list_is_empty(&side->listeners)) {
        struct listener *listener =
            CONTAINER_OF(side->listeners.next, struct listener, by_side);

        hark__list_remove(&listener->by_side);
        hark__list_remove(&listener->by_hub);
        free(listener);
    }
    while (!hark__list_is_empty(&side->ends)) {
        struct end *end = CONTAINER_OF(side->ends.next, struct end, by_side);

        if (end->other != NULL) {
            end->other->other = NULL;
            make_ready(end->other);
        }
        end_free(end);
    }
    pthread_mutex_unlock(&side->hub->lock);
    free(side);
}

const struct transport hark__transport_memory = {
    .scheme = "mem",
    .listen = memory_listen,
    .connect = memory_connect,
    .send = memory_send,
    .give = memory_give,
    .close = memory_close_pipe,
};
