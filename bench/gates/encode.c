// encode: a message and its envelope to msgpack.

#include "parcel.h"

int
main(int argc, char **argv)
{
    int64_t count = gate_count(argv);
    struct bytes out;
    size_t sum = 0;

    (void)argc;
    hark__bytes_init(&out);
    for (int64_t i = 0; i < count; i++) {
        hark__bytes_truncate(&out, 0);
        parcel_encode(&out, 0x1000000u); // the same size each time
        sum += out.size;
    }
    expect_count("bytes", (long long)sum, count * (long long)out.size);
    if (out.failed || out.size < sizeof parcel_inside) {
        fail("too few bytes");
    }
    hark__bytes_fini(&out);
    return 0;
}
