// Endpoints of the ZeroMQ transport, "tcp://host:port" and "ipc://path": what they say,
// and what of them libzmq is told. Any thread.

#ifndef NET_ZMQ_ENDPOINT_H
#define NET_ZMQ_ENDPOINT_H

#include "net/transport.h"

// libzmq's (or the system's) error number as ours, with a text.
hark_err hark__endpoint_explain(struct net_error *error, const char *endpoint,
                                int code);
// Where "tcp://host:port" divides; NULL: error tells.
const char *hark__endpoint_port(const char *endpoint, bool to_listen,
                                struct net_error *error);
// Is that an ipc endpoint? HARK_EENDPOINT: error tells.
hark_err hark__endpoint_check_ipc(const char *endpoint, struct net_error *error);
// May we bind there? HARK_EEXIST: error tells.
hark_err hark__endpoint_check_free(const char *endpoint, struct net_error *error);
// What zmq_bind takes for a tcp endpoint whose port is at port.
void hark__endpoint_binding(const char *endpoint, const char *port, char *out,
                            size_t size);
// What others connect to, of a socket that is bound.
void hark__endpoint_bound(void *zmq, char *out, size_t size);

#endif // NET_ZMQ_ENDPOINT_H
