// A descriptor that libzmq gives to a new connection while frames of the old one wait.
// The strangers here speak ZMTP 3.0 on plain sockets: so they know what the other side
// has read.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "nets.h"

enum {
    GREETING_BYTES = 64,
    COMMAND = 4, // a frame's first byte
    DESCRIPTORS = 1024,
};

static int
setup(void **state)
{
    *state = nets_open(OVER_TCP);
    return 0;
}

static int
teardown(void **state)
{
    nets_close(*state);
    return 0;
}

// ---- ZMTP ----

// Not connected.
static int
stranger_open(void)
{
    const struct timeval limit = {.tv_sec = NETS_WAIT_S};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    return fd;
}

static void
stranger_write(int fd, const void *data, size_t size)
{
    assert_int_equal(send(fd, data, size, MSG_NOSIGNAL), size);
}

static void
stranger_read(int fd, void *data, size_t size)
{
    assert_int_equal(recv(fd, data, size, MSG_WAITALL), size);
}

// Reads one short frame. Gives its size.
static size_t
stranger_read_frame(int fd, uint8_t *body)
{
    uint8_t head[2];

    stranger_read(fd, head, sizeof head);
    stranger_read(fd, body, head[1]);
    return head[1];
}

static void
stranger_connect(int fd, const char *endpoint)
{
    static const char ready[] = "\4\34\5READY\13Socket-Type\0\0\0\6DEALER";
    const char *port = strrchr(endpoint, ':');
    struct sockaddr_in address = {.sin_family = AF_INET};
    uint8_t greeting[GREETING_BYTES] = {0xff, [9] = 0x7f, 3};
    uint8_t body[UINT8_MAX];

    assert_non_null(port);
    address.sin_port = htons((uint16_t)strtoul(port + 1, NULL, 10));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    memcpy(greeting + 12, "NULL", 4);
    stranger_write(fd, greeting, sizeof greeting);
    stranger_read(fd, greeting, sizeof greeting);
    stranger_write(fd, ready, sizeof ready - 1);
    stranger_read_frame(fd, body);
}

static void
stranger_send(int fd, uint64_t number)
{
    uint8_t frame[10] = {0, 8};

    memcpy(frame + 2, &number, sizeof number);
    stranger_write(fd, frame, sizeof frame);
}

// All that was sent has come to the other side's socket. The answer to the first PING
// may be on its way before that; the next one is read after it.
static void
stranger_flush(int fd)
{
    static const char ping[] = "\4\7\4PING\0\0";
    uint8_t body[UINT8_MAX];

    for (int i = 0; i < 2; i++) {
        stranger_write(fd, ping, sizeof ping - 1);
        size_t size = stranger_read_frame(fd, body);
        assert_true(size >= 5 && memcmp(body, "\4PONG", 5) == 0);
    }
}

// Sends no more, and waits until the other side has closed its descriptor.
static void
stranger_end(int fd)
{
    uint8_t byte;

    shutdown(fd, SHUT_WR);
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
}

// The descriptor that this process, which is both sides, has for the other end.
static int
other_end(int fd)
{
    struct sockaddr_in own, peer;
    socklen_t size = sizeof own;

    assert_int_equal(getsockname(fd, (struct sockaddr *)&own, &size), 0);
    for (int other = 0; other < DESCRIPTORS; other++) {
        size = sizeof peer;
        if (getpeername(other, (struct sockaddr *)&peer, &size) == 0
            && peer.sin_family == AF_INET && peer.sin_port == own.sin_port) {
            return other;
        }
    }
    return -1;
}

// ---- tests ----

static void
late_frames_do_not_end_the_connection_that_has_their_descriptor(void **state)
{
    enum { OLD = 0, NEW = 100, OF_OLD = 5, OF_NEW = 2 };
    struct nets *n = *state;
    int old = stranger_open();
    int new = stranger_open();

    pthread_mutex_lock(&n->there.lock); // it hears nothing, or one frame, for now
    stranger_connect(old, n->endpoint);
    int descriptor = other_end(old);
    for (uint64_t i = 0; i < OF_OLD; i++) {
        stranger_send(old, OLD + i);
    }
    stranger_end(old);
    stranger_connect(new, n->endpoint);
    assert_int_equal(other_end(new), descriptor);
    for (uint64_t i = 0; i < OF_NEW; i++) {
        stranger_send(new, NEW + i);
    }
    stranger_flush(new);
    pthread_mutex_unlock(&n->there.lock);

    place_wait(&n->there, &n->there.next, NEW + OF_NEW);
    for (uint64_t i = 0; i < OF_OLD; i++) { // what may still wait is read before them
        stranger_send(new, NEW + OF_NEW + i);
    }
    place_wait(&n->there, &n->there.next, NEW + OF_NEW + OF_OLD);
    assert_in_range(place_get(&n->there, &n->there.gone), 0, 1);
    close(old);
    close(new);
}

static void
frames_of_a_dead_connection_come_before_the_news_of_its_end(void **state)
{
    enum { FRAMES = 50 };
    struct nets *n = *state;
    int fd = stranger_open();

    pthread_mutex_lock(&n->there.lock);
    stranger_connect(fd, n->endpoint);
    for (uint64_t i = 0; i < FRAMES; i++) {
        stranger_send(fd, i);
    }
    stranger_end(fd);
    pthread_mutex_unlock(&n->there.lock);

    place_wait(&n->there, &n->there.gone, 1);
    assert_int_equal(place_get(&n->there, &n->there.frames), FRAMES);
    assert_int_equal(place_get(&n->there, &n->there.disorder), 0);
    close(fd);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            late_frames_do_not_end_the_connection_that_has_their_descriptor, setup,
            teardown),
        cmocka_unit_test_setup_teardown(
            frames_of_a_dead_connection_come_before_the_news_of_its_end, setup,
            teardown),
    };

    return cmocka_run_group_tests_name("descriptors", tests, NULL, NULL);
}
