// Frames with parts, over each transport that takes them.

#include "nets.h"

#include <stdatomic.h>

enum { LEAST_KEPT = 9000 }; // bytes of a part that libzmq can surely keep

static enum carrier carrier;

// What came, by a sink that keeps each part it can until the next frame.
struct taker {
    struct place place; // first
    struct kept kept[NET_PARTS];
    size_t kept_bytes[NET_PARTS];
    uint32_t kept_count;
    // Under the place's lock:
    uint64_t parts, part_bytes, kept_parts;
};

static _Atomic(uint64_t) released; // any thread counts; the test reads

// A part's bytes tell its size by themselves.
static uint8_t *
part_new(size_t size)
{
    uint8_t *data = malloc(size > 0 ? size : 1);

    assert_non_null(data);
    for (size_t i = 0; i < size; i++) {
        data[i] = (uint8_t)(i * 13 + size);
    }
    return data;
}

static bool
is_part(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (data[i] != (uint8_t)(i * 13 + size)) {
            return false;
        }
    }
    return true;
}

static void
part_release(void *data, void *handle)
{
    assert_ptr_equal(data, handle);
    free(data);
    // release: pairs with wait_for_releases.
    atomic_fetch_add_explicit(&released, 1, memory_order_release);
}

static hark_err
send_parts(struct pipe *pipe, uint64_t number, const size_t *sizes, uint32_t count)
{
    struct net_part parts[NET_PARTS];
    uint8_t *data = place_frame(number, 100);

    for (uint32_t i = 0; i < count; i++) {
        uint8_t *bytes = part_new(sizes[i]);

        parts[i] = (struct net_part){bytes, sizes[i], part_release, bytes};
    }
    hark_err err = hark__pipe_send_parts(pipe, data, 100, parts, count);
    free(data);
    return err;
}

static void
let_go(struct taker *taker)
{
    for (uint32_t i = 0; i < taker->kept_count; i++) {
        taker->place.bad += !is_part(taker->kept[i].data, taker->kept_bytes[i]);
        taker->kept[i].release(taker->kept[i].handle);
    }
    taker->kept_count = 0;
}

static void
on_frame(struct sink *sink, struct pipe *pipe, struct arrival *arrival)
{
    struct taker *taker = (struct taker *)sink;
    struct place *place = &taker->place;
    struct kept *kept = taker->kept;

    pthread_mutex_lock(&place->lock);
    let_go(taker);
    for (uint32_t i = 0; i < arrival->part_count; i++) {
        const struct arrived_part *part = &arrival->parts[i];

        taker->part_bytes += part->size;
        place->bad += !is_part(part->data, part->size);
        if (arrival->keep(arrival, i + 1, &kept[taker->kept_count])) {
            place->bad += kept[taker->kept_count].data != part->data;
            taker->kept_bytes[taker->kept_count++] = part->size;
            taker->kept_parts += part->size >= LEAST_KEPT;
        }
    }
    taker->parts += arrival->part_count;
    pthread_mutex_unlock(&place->lock);
    place_on_frame(sink, pipe, arrival);
}

// Two nets whose sinks take parts.
struct world {
    struct hark_hub *hub;
    struct taker here, there;
    struct pipe *pipe; // from here
};

static int
setup(void **state)
{
    static struct world world;
    struct world *w = &world;
    char endpoint[256], error[256] = "";

    memset(w, 0, sizeof *w);
    // relaxed: no other thread yet.
    atomic_store_explicit(&released, 0, memory_order_relaxed);
    w->hub = hark__hub_new();
    place_open(&w->here.place, w->hub, TICK_MS);
    place_open(&w->there.place, w->hub, TICK_MS);
    w->here.place.sink.frame = w->there.place.sink.frame = on_frame;
    assert_int_equal(hark__net_listen(w->there.place.net, nets_wish(carrier), endpoint,
                                      sizeof endpoint, error, sizeof error),
                     HARK_OK);
    assert_int_equal(hark__net_connect(w->here.place.net, endpoint, NULL, &w->pipe,
                                       error, sizeof error),
                     HARK_OK);
    *state = w;
    return 0;
}

static int
teardown(void **state)
{
    struct world *w = *state;

    place_close(&w->here.place);
    place_close(&w->there.place);
    let_go(&w->here);
    let_go(&w->there);
    assert_int_equal(w->here.place.bad + w->there.place.bad, 0);
    assert_int_equal(w->here.place.disorder + w->there.place.disorder, 0);
    place_fini(&w->here.place);
    place_fini(&w->there.place);
    hark__hub_release(w->hub);
    return 0;
}

// Both nets are closed: libzmq has nothing any more.
static void
expect_releases(struct world *w, uint64_t count)
{
    place_close(&w->here.place);
    place_close(&w->there.place);
    // acquire: pairs with part_release.
    assert_int_equal(atomic_load_explicit(&released, memory_order_acquire), count);
}

static void
parts_arrive_as_they_were_both_ways(void **state)
{
    static const size_t sizes[NET_PARTS] = {0,       1,     33,     34, 100,  8192,
                                            8193,    9000,  65536,  70, 1000, 131072,
                                            1 << 20, 32768, 200000, 0};
    struct world *w = *state;
    uint64_t number = 0, parts = 0;

    place_set(&w->there.place, &w->there.place.echoes); // so its pipe is known
    assert_true(place_send(w->pipe, number++, 8));
    place_wait(&w->here.place, &w->here.place.frames, 1);
    struct pipe *back = place_pipe(&w->there.place);
    w->there.place.echoes = false; // nothing is on its way
    for (uint32_t count = 0; count <= NET_PARTS; count++, number++) {
        assert_int_equal(send_parts(w->pipe, number, sizes, count), HARK_OK);
        assert_int_equal(send_parts(back, number, sizes + NET_PARTS - count, count),
                         HARK_OK);
        parts += count;
    }
    assert_true(place_send(w->pipe, number, 1000)); // and one without
    place_wait(&w->there.place, &w->there.place.frames, number + 1);
    place_wait(&w->here.place, &w->here.place.frames, number);
    assert_int_equal(place_get(&w->there.place, &w->there.parts), parts);
    assert_int_equal(place_get(&w->here.place, &w->here.parts), parts);
    assert_true(place_get(&w->there.place, &w->there.kept_parts) > 0);
    expect_releases(w, 2 * parts);
}

static void
more_bytes_than_a_frame_may_have_are_no_frame(void **state)
{
    static const size_t halves[] = {NETS_LIMIT_BYTES / 2, NETS_LIMIT_BYTES / 2};
    struct world *w = *state;

    assert_int_equal(send_parts(w->pipe, 0, halves, 2), HARK_OK);
    place_wait(&w->there.place, &w->there.place.frames, 1);
    assert_int_equal(place_get(&w->there.place, &w->there.parts), 0);
    assert_int_equal(place_get(&w->there.place, &w->there.place.bytes), 0);
    w->there.place.disorder = 0; // it had no number
    expect_releases(w, 2);
}

static void
parts_are_released_when_nobody_is_there_any_more(void **state)
{
    static const size_t sizes[] = {100, 70000};
    struct world *w = *state;

    assert_true(place_send(w->pipe, 0, 8));
    place_wait(&w->there.place, &w->there.place.frames, 1);
    struct pipe *back = place_pipe(&w->there.place);
    place_keep(&w->there.place);
    place_keep(&w->here.place);
    place_close(&w->here.place);
    place_wait(&w->there.place, &w->there.place.gone, 1);
    (void)send_parts(back, 1, sizes, 2); // refused, or lost
    expect_releases(w, 2);
}

static void
pipes_in_memory_take_no_parts(void **state)
{
    struct world *w = *state;

    assert_false(hark__pipe_takes_parts(w->pipe));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(parts_arrive_as_they_were_both_ways),
        TEST(more_bytes_than_a_frame_may_have_are_no_frame),
        TEST(parts_are_released_when_nobody_is_there_any_more),
    };
    const struct CMUnitTest in_memory[] = {TEST(pipes_in_memory_take_no_parts)};
    int failed;

    carrier = OVER_MEM;
    failed = cmocka_run_group_tests_name("parts over mem", in_memory, NULL, NULL);
    carrier = OVER_IPC;
    failed += cmocka_run_group_tests_name("parts over ipc", tests, NULL, NULL);
    carrier = OVER_TCP;
    return failed + cmocka_run_group_tests_name("parts over tcp", tests, NULL, NULL);
}
