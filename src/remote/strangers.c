#include "remote/strangers.h"

#include "wire/entry.h"

enum {
    PART_LEAST = 32 * 1024, // bytes that are worth a part of their own
};

static bool
is_known(const struct strangers *strangers, uint64_t node)
{
    const struct link *link = strangers->link;

    if (node == 0 || node == link->remote->node->id
        || (link->peer != NULL && node == link->peer->incarnation)) {
        return true;
    }
    for (uint32_t i = 0; i < link->introduced_count; i++) {
        if (link->introduced[i] == node) {
            return true;
        }
    }
    for (uint32_t i = 0; i < strangers->count; i++) {
        if (strangers->nodes[i] == node) {
            return true;
        }
    }
    return false;
}

void
hark__strangers_ref(void *arg, hark_ref ref)
{
    struct strangers *strangers = arg;

    if (strangers->count < NODES_MOST && !is_known(strangers, ref.node)) {
        strangers->nodes[strangers->count++] = ref.node;
    }
}

// Large bytes that have a buffer go as they are.
uint16_t
hark__strangers_bytes(void *arg, const hark_bytes *bytes)
{
    struct link *link = ((struct strangers *)arg)->link;

    if (!link->takes_parts || bytes->len < PART_LEAST
        || link->part_count == NET_PARTS) {
        return 0;
    }
    hark_buffer_retain(bytes->buffer);
    link->parts[link->part_count++] = *bytes;
    link->part_bytes += bytes->len;
    return (uint16_t)link->part_count;
}

static void
introduce(struct link *link, const struct peer *peer)
{
    hark__entry_node(&link->outbox, &(struct node_decl){
                                        .incarnation = peer->incarnation,
                                        .name = hark_str_of(peer->name),
                                        .endpoint = hark_str_of(peer->endpoint),
                                    });
    if (link->introduced_count < NODES_INTRODUCED) {
        link->introduced[link->introduced_count++] = peer->incarnation;
    }
}

// A peer is a target, and targets stay: no lock but theirs is needed to find one.
void
hark__strangers_introduce(struct link *link, const struct strangers *strangers)
{
    for (uint32_t i = 0; i < strangers->count; i++) {
        struct target *target =
            hark__targets_find(&link->remote->node->targets, strangers->nodes[i]);

        if (target != NULL) {
            introduce(link, CONTAINER_OF(target, struct peer, target));
        }
    }
}
