// Remote: links between this node and others.
//
//   send here -> target (peer) -> link's outbox -> net ~~~ net -> inbound -> send there
//
// Opened by the system above a node; gives the node's ctx calls that reach other nodes
// their substance (hark_listen, hark_connect, hark_lookup).

#ifndef REMOTE_REMOTE_H
#define REMOTE_REMOTE_H

#include "actor/node.h"
#include "hark/system.h"

struct remote;

struct remote_options {
    struct node *node;
    hark_hub *hub;         // NULL: no mem:// endpoints
    uint32_t heartbeat_ms; // silence after which a node is down
    uint32_t connect_ms;
    size_t link_limit_bytes;
    size_t frame_limit_bytes;
};

// Gives a remote and sets node->remote. No thread runs before the first listen or
// connect.
HARK_CHECKED hark_err hark__remote_open(const struct remote_options *options,
                                        struct remote **out_remote);
// Says goodbye to every peer and closes every link. The node's actors have ended.
void hark__remote_close(struct remote *remote);
// Fills in links and frames_rejected.
void hark__remote_stats(struct remote *remote, hark_stats *out_stats);

#endif // REMOTE_REMOTE_H
