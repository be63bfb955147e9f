// repeat: a message to where the one before went, to msgpack and back into a block, which
// is freed.

#include "parcel.h"
#include "wire/entry.h"

// Reads the only entry of bytes and gives its parcel's number.
static uint64_t
read_one(struct pool *pool, const struct bytes *bytes, struct entry *entry)
{
    struct reader in = hark__reader_of(bytes->data, bytes->size);
    char error[128] = "no envelope";
    uint64_t number;
    hark_err err;

    if (!hark__entry_next(&in, entry, &err, error, sizeof error) || err != HARK_OK
        || entry->kind != ENTRY_ENVELOPE) {
        fail("entry: %s", error);
    }
    number = parcel_decode(pool, &entry->envelope);
    if (hark__entry_next(&in, entry, &err, error, sizeof error)) {
        fail("more than one entry");
    }
    return number;
}

int
main(int argc, char **argv)
{
    int64_t count = gate_count(argv);
    struct depot *depot = hark__depot_open();
    struct pool *pool = depot == NULL ? NULL : hark__pool_open(depot);
    struct entry entry = {0};
    struct bytes bytes;
    uint64_t sum = 0;

    (void)argc;
    if (pool == NULL) {
        fail("no memory");
    }
    hark__bytes_init(&bytes);
    parcel_encode(&bytes, 0);
    sum += read_one(pool, &bytes, &entry); // the envelope that all others repeat
    for (int64_t i = 0; i < count; i++) {
        hark__bytes_truncate(&bytes, 0);
        hark__entry_repeat(&bytes, 0);
        parcel_encode_payload(&bytes, 0x1000000u);
        sum += read_one(pool, &bytes, &entry);
    }
    expect_count("numbers", (long long)sum, count * 0x1000000);
    hark__bytes_fini(&bytes);
    hark__pool_close(pool);
    hark__depot_close(depot);
    return 0;
}
