// decode: a message and its envelope from msgpack, into a block, which is freed.

#include "parcel.h"

// Decodes the message in bytes and gives its number.
static uint64_t
decode(struct pool *pool, const struct bytes *bytes)
{
    struct reader in = hark__reader_of(bytes->data, bytes->size);
    struct envelope envelope;
    uint32_t behind;
    char error[128];

    if (hark__envelope_decode(in, &envelope, &behind, error, sizeof error) != HARK_OK) {
        fail("envelope: %s", error);
    }
    return parcel_decode(pool, &envelope);
}

int
main(int argc, char **argv)
{
    int64_t count = gate_count(argv);
    struct depot *depot = hark__depot_open();
    struct pool *pool = depot == NULL ? NULL : hark__pool_open(depot);
    struct bytes bytes;
    uint64_t sum = 0;

    (void)argc;
    if (pool == NULL) {
        fail("no memory");
    }
    hark__bytes_init(&bytes);
    parcel_encode(&bytes, 0x1000000u);
    for (int64_t i = 0; i < count; i++) {
        sum += decode(pool, &bytes);
    }
    expect_count("numbers", (long long)sum, count * 0x1000000);
    hark__bytes_fini(&bytes);
    hark__pool_close(pool);
    hark__depot_close(depot);
    return 0;
}
