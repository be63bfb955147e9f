// A value as text. Writes what fits and counts the rest, as snprintf does.

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hark/message.h"
#include "message/type.h"

// What is longer is cut with "...".
#define STR_BYTES 64
#define DATA_BYTES 16
#define LIST_ITEMS 8

struct text {
    char *out;
    size_t size;
    size_t len; // of the whole text
    int depth;
};

static void
put_text(struct text *text, const char *from, size_t len)
{
    if (text->len + 1 < text->size) {
        size_t room = text->size - 1 - text->len;

        memcpy(text->out + text->len, from, len < room ? len : room);
    }
    text->len += len;
}

static void
put(struct text *text, const char *from)
{
    put_text(text, from, strlen(from));
}

static void HARK_PRINTF(2, 3) put_format(struct text *text, const char *format, ...)
{
    char part[64]; // numbers only
    va_list args;

    va_start(args, format);
    vsnprintf(part, sizeof part, format, args);
    va_end(args);
    put(text, part);
}

// Floats: with few digits if those read back as the same number, else with all.
static void
put_f32(struct text *text, float value)
{
    char part[64];

    snprintf(part, sizeof part, "%.6g", (double)value);
    if (strtof(part, NULL) != value) {
        snprintf(part, sizeof part, "%.9g", (double)value);
    }
    put(text, part);
}

static void
put_f64(struct text *text, double value)
{
    char part[64];

    snprintf(part, sizeof part, "%.15g", value);
    if (strtod(part, NULL) != value) {
        snprintf(part, sizeof part, "%.17g", value);
    }
    put(text, part);
}

static void
put_char(struct text *text, unsigned char c)
{
    if (c == '"' || c == '\\') {
        put_format(text, "\\%c", c);
    } else if (c == '\n') {
        put(text, "\\n");
    } else if (c == '\t') {
        put(text, "\\t");
    } else if (c < 0x20 || c == 0x7f) {
        put_format(text, "\\x%02x", c);
    } else {
        put_text(text, (const char *)&c, 1);
    }
}

static void
put_str(struct text *text, const hark_str *str)
{
    size_t len = str->len;

    if (str->ptr == NULL && len > 0) {
        put(text, "null");
        return;
    }
    if (len > STR_BYTES) {
        // Cut before a character, not inside: 10xxxxxx bytes continue one.
        for (len = STR_BYTES; len > 0 && (str->ptr[len] & 0xc0) == 0x80; len--) {
        }
    }
    put(text, "\"");
    for (size_t i = 0; i < len; i++) {
        put_char(text, (unsigned char)str->ptr[i]);
    }
    put(text, len < str->len ? "\"..." : "\"");
}

static void
put_bytes(struct text *text, const hark_bytes *bytes)
{
    const uint8_t *data = bytes->ptr;
    size_t len = bytes->len < DATA_BYTES ? bytes->len : DATA_BYTES;

    put_format(text, "<%zu bytes", bytes->len);
    if (data == NULL && len > 0) {
        put(text, ": null>");
        return;
    }
    for (size_t i = 0; i < len; i++) {
        put_format(text, i == 0 ? ": %02x" : " %02x", data[i]);
    }
    put(text, len < bytes->len ? "...>" : ">");
}

// As hark_ref_print without a ctx does, so that both can be found in one log.
static void
put_ref(struct text *text, const hark_ref *ref)
{
    if (hark_ref_is_null(*ref)) {
        put(text, "nobody");
    } else {
        put_format(text, "actor<%04" PRIx64 ".%" PRIu32 ".%" PRIu32 ">",
                   ref->node >> 48, (uint32_t)ref->actor, (uint32_t)(ref->actor >> 32));
    }
}

static void put_value(struct text *text, uint8_t kind, const hark_field *field,
                      const void *at);

static void
put_list(struct text *text, const hark_field *field, const hark_list *list)
{
    size_t stride = hark__kind_size(field->element, field->type);
    size_t count = list->count < LIST_ITEMS ? list->count : LIST_ITEMS;

    if (list->items == NULL && count > 0) {
        put(text, "null");
        return;
    }
    put(text, "[");
    for (size_t i = 0; i < count; i++) {
        put(text, i > 0 ? ", " : "");
        put_value(text, field->element, field,
                  (const uint8_t *)list->items + i * stride);
    }
    put(text, count < list->count ? ", ...]" : "]");
}

static void
put_message(struct text *text, const hark_type *type, const uint8_t *value)
{
    put(text, type->name);
    if (text->depth == MAX_DEPTH) {
        put(text, "{...}");
        return;
    }
    text->depth++;
    put(text, "{");
    for (uint16_t i = 0; i < type->count; i++) {
        const hark_field *field = &type->fields[i];

        put(text, i > 0 ? ", " : "");
        put(text, field->name);
        put(text, ": ");
        put_value(text, field->kind, field, value + field->offset);
    }
    put(text, "}");
    text->depth--;
}

// One arm a kind; each is a line.
static void
put_value(struct text *text, uint8_t kind, const hark_field *field, const void *at)
{
    switch (kind) {
    case HARK_KIND_bool:
        put(text, *(const bool *)at ? "true" : "false");
        break;
    case HARK_KIND_i8:
        put_format(text, "%" PRId8, *(const int8_t *)at);
        break;
    case HARK_KIND_i16:
        put_format(text, "%" PRId16, *(const int16_t *)at);
        break;
    case HARK_KIND_i32:
        put_format(text, "%" PRId32, *(const int32_t *)at);
        break;
    case HARK_KIND_i64:
        put_format(text, "%" PRId64, *(const int64_t *)at);
        break;
    case HARK_KIND_u8:
        put_format(text, "%" PRIu8, *(const uint8_t *)at);
        break;
    case HARK_KIND_u16:
        put_format(text, "%" PRIu16, *(const uint16_t *)at);
        break;
    case HARK_KIND_u32:
        put_format(text, "%" PRIu32, *(const uint32_t *)at);
        break;
    case HARK_KIND_u64:
        put_format(text, "%" PRIu64, *(const uint64_t *)at);
        break;
    case HARK_KIND_f32:
        put_f32(text, *(const float *)at);
        break;
    case HARK_KIND_f64:
        put_f64(text, *(const double *)at);
        break;
    case HARK_KIND_ref:
        put_ref(text, at);
        break;
    case HARK_KIND_str:
        put_str(text, at);
        break;
    case HARK_KIND_bytes:
        put_bytes(text, at);
        break;
    case HARK_KIND_message:
        put_message(text, field->type, at);
        break;
    default:
        put_list(text, field, at);
        break;
    }
}

size_t
hark_print(char *out, size_t size, const hark_type *type, const void *value)
{
    struct text text = {.out = out, .size = size};

    if (type == NULL || value == NULL) {
        put(&text, type != NULL ? type->name : "(nothing)");
    } else {
        put_message(&text, type, value);
    }
    if (size > 0) {
        out[text.len < size ? text.len : size - 1] = '\0';
    }
    return text.len;
}
