#include "wire/decoder.h"

#include <float.h>
#include <stdio.h>

#define LIST_ALIGN 8
#define NO_INDEX SIZE_MAX

static const char too_big[] = "the message is over the size limit";

// Notes what is wrong. Always false, so that it can be returned.
static __attribute__((cold, noinline)) bool
fail(struct decoder *decoder, hark_err err, const char *what, const char *detail)
{
    decoder->err = err;
    decoder->what = what;
    decoder->detail = detail;
    return false;
}

// The value at hand is not what it should be.
static __attribute__((cold, noinline)) bool
fail_kind(struct decoder *decoder, const char *what)
{
    return fail(decoder, HARK_EDECODE, what,
                hark__item_name(hark__reader_kind(&decoder->in)));
}

// Says where it went wrong: in that field (NULL: the message itself), and that item of
// a list. The innermost place is the first to be told. Always false.
static __attribute__((cold, noinline)) bool
blame(struct decoder *decoder, const hark_type *type, const hark_field *field,
      size_t index)
{
    const struct payload_options *options = decoder->options;
    char item[24] = "";

    if (decoder->what == NULL || options->error_size == 0) {
        return false;
    }
    if (index != NO_INDEX) {
        snprintf(item, sizeof item, "[%zu]", index);
    }
    snprintf(options->error, options->error_size, "%s%s%s%s: %s%s", type->name,
             field != NULL ? "." : "", field != NULL ? field->name : "", item,
             decoder->what, decoder->detail);
    decoder->what = NULL;
    return false;
}

// Reserves size bytes in the block. *out_at is NULL in the first walk.
static inline bool
take(struct decoder *decoder, uint64_t size, size_t align, void **out_at)
{
    size_t start = (decoder->used + align - 1) & ~(align - 1);

    if (start > decoder->limit || size > decoder->limit - start) {
        return fail(decoder, HARK_ETOOBIG, too_big, "");
    }
    decoder->used = start + (size_t)size;
    *out_at = decoder->block != NULL ? decoder->block + start : NULL;
    return true;
}

// ---- numbers and refs ----

// What an integer's field holds.
struct range {
    int64_t min;
    uint64_t max;
    size_t size;
};

static const struct range ranges[] = {
    [HARK_KIND_i8] = {INT8_MIN, INT8_MAX, sizeof(int8_t)},
    [HARK_KIND_i16] = {INT16_MIN, INT16_MAX, sizeof(int16_t)},
    [HARK_KIND_i32] = {INT32_MIN, INT32_MAX, sizeof(int32_t)},
    [HARK_KIND_i64] = {INT64_MIN, INT64_MAX, sizeof(int64_t)},
    [HARK_KIND_u8] = {0, UINT8_MAX, sizeof(uint8_t)},
    [HARK_KIND_u16] = {0, UINT16_MAX, sizeof(uint16_t)},
    [HARK_KIND_u32] = {0, UINT32_MAX, sizeof(uint32_t)},
    [HARK_KIND_u64] = {0, UINT64_MAX, sizeof(uint64_t)},
};

static inline void
store_int(size_t size, uint64_t number, void *to)
{
    switch (size) {
    case 1:
        *(uint8_t *)to = (uint8_t)number;
        break;
    case 2:
        *(uint16_t *)to = (uint16_t)number;
        break;
    case 4:
        *(uint32_t *)to = (uint32_t)number;
        break;
    default:
        *(uint64_t *)to = number;
        break;
    }
}

static inline bool
get_int(struct decoder *decoder, uint8_t kind, void *to)
{
    const struct range *range = &ranges[kind];
    struct integer integer;

    if (!hark__reader_int(&decoder->in, &integer)) {
        return fail_kind(decoder, "expected an integer, found ");
    }
    if (integer.is_negative ? (int64_t)integer.number < range->min
                            : integer.number > range->max) {
        return fail(decoder, HARK_EDECODE, "the number is out of range for ",
                    hark__kind_name(kind));
    }
    if (to != NULL) {
        store_int(range->size, integer.number, to);
    }
    return true;
}

static bool
get_bool(struct decoder *decoder, bool *to)
{
    bool value;

    if (!hark__reader_bool(&decoder->in, &value)) {
        return fail_kind(decoder, "expected a bool, found ");
    }
    if (to != NULL) {
        *to = value;
    }
    return true;
}

// An integer will do: many languages write 1.0 as 1.
static bool
read_number(struct reader *in, double *out_value)
{
    struct integer integer;

    if (hark__reader_f64(in, out_value)) {
        return true;
    }
    if (!hark__reader_int(in, &integer)) {
        return false;
    }
    *out_value =
        integer.is_negative ? (double)(int64_t)integer.number : (double)integer.number;
    return true;
}

static bool
get_float(struct decoder *decoder, uint8_t kind, void *to)
{
    double value;

    if (!read_number(&decoder->in, &value)) {
        return fail_kind(decoder, "expected a number, found ");
    }
    if (kind == HARK_KIND_f64) {
        if (to != NULL) {
            *(double *)to = value;
        }
        return true;
    }

    // Infinity and NaN pass; a finite double may be too large for a float.
    bool is_finite = value >= -DBL_MAX && value <= DBL_MAX;

    if (is_finite && (value > (double)FLT_MAX || value < -(double)FLT_MAX)) {
        return fail(decoder, HARK_EDECODE, "the number is out of range for ", "f32");
    }
    if (to != NULL) {
        *(float *)to = (float)value;
    }
    return true;
}

static bool
get_ref(struct decoder *decoder, hark_ref *to)
{
    hark_ref ref;

    if (!hark__reader_ref(&decoder->in, &ref)) {
        return fail_kind(decoder, "expected a ref, found ");
    }
    if (to != NULL) {
        *to = ref;
    }
    return true;
}

// ---- text and bytes ----

static inline __attribute__((always_inline)) bool
get_str(struct decoder *decoder, hark_str *to)
{
    void *text = NULL;
    hark_str view;

    if (!hark__reader_str(&decoder->in, &view)) {
        return fail_kind(decoder, "expected a string, found ");
    }
    if (!take(decoder, str_size(view), 1, &text)) {
        return false;
    }
    if (to != NULL) {
        *to = text != NULL ? copy_str(view, text) : view;
    }
    return true;
}

// The message shares bytes that have a buffer.
static void
share_view(struct decoder *decoder, hark_bytes view, hark_bytes *to)
{
    decoder->has_buffers = true;
    if (decoder->block != NULL) {
        hark_buffer_retain(view.buffer);
    }
    if (to != NULL) {
        *to = view;
    }
}

// Large bytes stay where they are, if their memory can be kept. False: they move into
// the block.
static __attribute__((cold, noinline)) bool
share_bytes(struct decoder *decoder, hark_bytes view, hark_bytes *to)
{
    if (decoder->shared == NULL) {
        decoder->shared = decoder->options->share(decoder->options->share_arg);
    }
    if (decoder->shared == NULL) {
        decoder->share_least = SIZE_MAX;
        return false;
    }
    view.buffer = decoder->shared;
    share_view(decoder, view, to);
    return true;
}

static inline bool
place_bytes(struct decoder *decoder, hark_bytes view, hark_bytes *to)
{
    void *data = NULL;

    if (!take(decoder, view.len, 1, &data)) {
        return false;
    }
    if (to != NULL) {
        *to = data != NULL ? copy_bytes(view, data) : view;
    }
    return true;
}

// What is no bytes may stand for those of a part of the frame.
static __attribute__((cold, noinline)) bool
get_part(struct decoder *decoder, hark_bytes *to)
{
    const struct payload_options *options = decoder->options;
    uint16_t number;
    hark_bytes view;

    if (!hark__reader_part(&decoder->in, &number)) {
        return fail_kind(decoder, "expected bytes, found ");
    }
    if (options->find_part == NULL
        || !options->find_part(options->part_arg, number, &view)) {
        return fail(decoder, HARK_EDECODE, "the frame has no such part", "");
    }
    if (view.buffer != NULL) {
        share_view(decoder, view, to);
        return true;
    }
    return place_bytes(decoder, view, to);
}

static inline __attribute__((always_inline)) bool
get_bytes(struct decoder *decoder, hark_bytes *to)
{
    hark_bytes view;

    if (!hark__reader_bin(&decoder->in, &view)) {
        return get_part(decoder, to);
    }
    if (view.len >= decoder->share_least && share_bytes(decoder, view, to)) {
        return true;
    }
    return place_bytes(decoder, view, to);
}

// ---- messages and lists ----

static __attribute__((noinline)) bool get_list(struct decoder *decoder,
                                               const hark_type *type,
                                               const hark_field *field, hark_list *to);

// Reads one value, of that field of the type or of its list, into `to`, if that is not
// NULL. One arm a kind.
static inline __attribute__((always_inline)) bool
get_value(struct decoder *decoder, const hark_type *type, const hark_field *field,
          uint8_t kind, void *to)
{
    switch (kind) {
    case HARK_KIND_bool:
        return get_bool(decoder, to);
    case HARK_KIND_f32:
    case HARK_KIND_f64:
        return get_float(decoder, kind, to);
    case HARK_KIND_ref:
        return get_ref(decoder, to);
    case HARK_KIND_str:
        return get_str(decoder, to);
    case HARK_KIND_bytes:
        return get_bytes(decoder, to);
    case HARK_KIND_message:
        return hark__decoder_read(decoder, field->type, to);
    case HARK_KIND_list:
        return get_list(decoder, type, field, to);
    default:
        return get_int(decoder, kind, to);
    }
}

// Enters an array. False: it is none, or too deep.
static inline bool
enter(struct decoder *decoder, uint32_t *out_count)
{
    if (!hark__reader_array(&decoder->in, out_count)) {
        return fail_kind(decoder, "expected an array, found ");
    }
    if (decoder->depth == PAYLOAD_DEPTH) {
        return fail(decoder, HARK_EDECODE, "nested too deep", "");
    }
    decoder->depth++;
    return true;
}

static bool
get_list(struct decoder *decoder, const hark_type *type, const hark_field *field,
         hark_list *to)
{
    size_t stride = hark__kind_size(field->element, field->type);
    void *items = NULL;
    uint32_t count;

    if (!enter(decoder, &count)) {
        return false;
    }
    // A count is at most the bytes at hand, and 32 bits; a stride is 32 bits.
    if (count > 0) {
        decoder->has_items = true;
        if (!take(decoder, count * (uint64_t)stride, LIST_ALIGN, &items)) {
            return false;
        }
    }
    if (to != NULL) {
        *to = (hark_list){.items = items, .count = count};
    }
    for (uint32_t i = 0; i < count; i++) {
        void *item = items != NULL ? (uint8_t *)items + i * stride : NULL;

        if (!get_value(decoder, type, field, field->element, item)) {
            return blame(decoder, type, field, i);
        }
    }
    decoder->depth--;
    return true;
}

static __attribute__((noinline)) bool
skip_rest(struct decoder *decoder, const hark_type *type, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!hark__reader_skip(&decoder->in)) {
            fail(decoder, HARK_EDECODE, "a field behind the last is cut off", "");
            return blame(decoder, type, NULL, NO_INDEX);
        }
    }
    return true;
}

// Text and bytes always point somewhere, also those that the sender did not have.
static void
set_empty(const hark_type *type, uint8_t *to)
{
    for (uint16_t i = 0; i < type->count; i++) {
        const hark_field *field = &type->fields[i];
        void *at = to + field->offset;

        if (field->kind == HARK_KIND_str) {
            ((hark_str *)at)->ptr = "";
        } else if (field->kind == HARK_KIND_bytes) {
            ((hark_bytes *)at)->ptr = "";
        } else if (field->kind == HARK_KIND_message) {
            set_empty(field->type, at);
        }
    }
}

static inline bool
get_fields(struct decoder *decoder, const hark_type *type, uint8_t *to)
{
    uint32_t count;

    if (!enter(decoder, &count)) {
        return false;
    }

    uint32_t known = count < type->count ? count : type->count;

    if (known < type->count && to != NULL) {
        memset(to, 0, type->size);
        set_empty(type, to);
    }
    const hark_field *field = type->fields;

    for (uint32_t left = known; left > 0; left--, field++) {
        if (!get_value(decoder, type, field, field->kind,
                       to != NULL ? to + field->offset : NULL)) {
            return blame(decoder, type, field, NO_INDEX);
        }
    }
    decoder->depth--;
    return count == known || skip_rest(decoder, type, count - known);
}

bool
hark__decoder_read(struct decoder *decoder, const hark_type *type, uint8_t *to)
{
    return get_fields(decoder, type, to);
}

hark_err
hark__decoder_walk(struct decoder *decoder, const hark_type *type, uint8_t *block,
                   uint8_t *to)
{
    decoder->block = block;
    decoder->used = type->size;
    if (!get_fields(decoder, type, to)) {
        (void)blame(decoder, type, NULL, NO_INDEX);
    }
    return decoder->err;
}

void
hark__decoder_too_big(struct decoder *decoder, const hark_type *type)
{
    (void)fail(decoder, HARK_ETOOBIG, too_big, "");
    (void)blame(decoder, type, NULL, NO_INDEX);
}
