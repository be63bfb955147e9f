#include "net/zmq_endpoint.h"

#include <errno.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <zmq.h>

enum {
    TCP_HOST = 200,
};

// ---- errors ----

hark_err
hark__endpoint_explain(struct net_error *error, const char *endpoint, int code)
{
    snprintf(error->text, error->size, "endpoint \"%s\": %s", endpoint,
             zmq_strerror(code));
    return code == EADDRINUSE                                   ? HARK_EEXIST
           : code == ENOMEM || code == EMFILE || code == ENFILE ? HARK_ENOMEM
                                                                : HARK_EENDPOINT;
}

static hark_err
malformed(struct net_error *error, const char *endpoint, const char *why)
{
    snprintf(error->text, error->size, "endpoint \"%s\": %s", endpoint, why);
    return HARK_EENDPOINT;
}

// ---- checking ----

const char *
hark__endpoint_port(const char *endpoint, bool to_listen, struct net_error *error)
{
    const char *host = endpoint + strlen("tcp://");
    const char *colon = strrchr(host, ':');
    char *end;

    if (colon == NULL || colon[1] == '\0') {
        malformed(error, endpoint, "the port is missing");
        return NULL;
    }
    if (colon == host || (size_t)(colon - host) >= TCP_HOST) {
        malformed(error, endpoint,
                  colon == host ? "the host is missing" : "the host is too long");
        return NULL;
    }
    unsigned long port = strtoul(colon + 1, &end, 10);
    bool any = to_listen && strcmp(colon + 1, "*") == 0;
    if (!any && (*end != '\0' || colon[1] < '0' || colon[1] > '9' || port > 65535)) {
        malformed(error, endpoint, "the port is not a number from 0 to 65535");
        return NULL;
    }
    if (!to_listen && (port == 0 || host[0] == '*')) {
        malformed(error, endpoint, "that names nobody to connect to");
        return NULL;
    }
    return colon + 1;
}

hark_err
hark__endpoint_check_ipc(const char *endpoint, struct net_error *error)
{
    struct sockaddr_un address;
    size_t size = strlen(endpoint) - strlen("ipc://");

    if (size == 0) {
        return malformed(error, endpoint, "the path is missing");
    }
    if (size >= sizeof address.sun_path) {
        return malformed(error, endpoint, "the path is too long for a socket");
    }
    return HARK_OK;
}

// libzmq would remove whatever is at that path: a living process's socket as well as a
// user's file.
hark_err
hark__endpoint_check_free(const char *endpoint, struct net_error *error)
{
    const char *path = endpoint + strlen("ipc://");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat status;
    int fd;

    if (path[0] == '@' || lstat(path, &status) != 0) {
        return HARK_OK; // abstract names are refused by the kernel
    }
    if (!S_ISSOCK(status.st_mode)) {
        malformed(error, endpoint, "there is something that is no socket");
        return HARK_EEXIST;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return hark__endpoint_explain(error, endpoint, errno);
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    bool in_use = connect(fd, (const struct sockaddr *)&address, sizeof address) == 0
                  || errno == EAGAIN; // it lives, and is busy
    close(fd);
    return in_use ? hark__endpoint_explain(error, endpoint, EADDRINUSE) : HARK_OK;
}

// ---- names ----

// The address of this machine that others may use.
static void
own_address(char *out, size_t size)
{
    struct ifaddrs *all = NULL;

    snprintf(out, size, "127.0.0.1");
    if (getifaddrs(&all) != 0) {
        return;
    }
    for (const struct ifaddrs *at = all; at != NULL; at = at->ifa_next) {
        char host[TCP_HOST];

        if (at->ifa_addr != NULL && at->ifa_addr->sa_family == AF_INET
            && getnameinfo(at->ifa_addr, sizeof(struct sockaddr_in), host, sizeof host,
                           NULL, 0, NI_NUMERICHOST)
                   == 0
            && strncmp(host, "127.", 4) != 0) {
            snprintf(out, size, "%s", host);
            break;
        }
    }
    freeifaddrs(all);
}

// What zmq_bind takes for a tcp endpoint: names of the loopback and "any port"
// replaced.
void
hark__endpoint_binding(const char *endpoint, const char *port, char *out, size_t size)
{
    const char *host = endpoint + strlen("tcp://");
    int host_size = (int)(port - 1 - host);
    bool is_localhost = host_size == 9 && strncmp(host, "localhost", 9) == 0;

    snprintf(out, size, "tcp://%.*s:%s", is_localhost ? 9 : host_size,
             is_localhost ? "127.0.0.1" : host, strcmp(port, "0") == 0 ? "*" : port);
}

// From what libzmq bound: not "any address", nor IPv4 written as IPv6.
void
hark__endpoint_bound(void *zmq, char *out, size_t size)
{
    static const char mapped[] = "tcp://[::ffff:";
    char last[512] = "";
    size_t last_size = sizeof last;
    char host[TCP_HOST];

    zmq_getsockopt(zmq, ZMQ_LAST_ENDPOINT, last, &last_size);
    const char *end = strchr(last, ']');
    if (strncmp(last, "tcp://0.0.0.0:", 14) == 0
        || strncmp(last, "tcp://[::]:", 11) == 0) {
        own_address(host, sizeof host);
        snprintf(out, size, "tcp://%s%s", host, strrchr(last, ':'));
    } else if (strncmp(last, mapped, sizeof mapped - 1) == 0 && end != NULL) {
        const char *ipv4 = last + sizeof mapped - 1;

        snprintf(out, size, "tcp://%.*s%s", (int)(end - ipv4), ipv4, end + 1);
    } else {
        snprintf(out, size, "%s", last);
    }
}
