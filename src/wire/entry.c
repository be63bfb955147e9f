#include "wire/entry.h"

#include <stdio.h>

#include "message/registry.h"
#include "message/type.h"
#include "wire/pack.h"

#define TYPES_CODE 100
#define NODE_CODE 101
#define TRACE_CODE 103
#define TRACE_ELEMENTS 8
#define WHO_CODE 104
#define WHO_ELEMENTS 2
#define CALLED_CODE 105
#define CALLED_ELEMENTS 3
#define REPEAT_ELEMENTS 3

void
hark__entry_types(struct bytes *out, uint32_t first, uint32_t count)
{
    hark__bytes_put_array(out, 3);
    hark__bytes_put_u64(out, TYPES_CODE);
    hark__bytes_put_u64(out, first);
    hark__bytes_put_array(out, count);
}

// The message type that a field refers to; NULL: none.
static const hark_type *
nested_type(const hark_field *field)
{
    bool has_type =
        field->kind == HARK_KIND_message || field->element == HARK_KIND_message;

    return has_type ? field->type : NULL;
}

static void
put_field(struct bytes *out, const hark_field *field)
{
    const hark_type *nested = nested_type(field);

    hark__bytes_put_array(out, 4);
    hark__bytes_put_str(out, hark_str_of(field->name));
    hark__bytes_put_u64(out, field->kind);
    hark__bytes_put_u64(out, field->element);
    if (nested != NULL) {
        hark__bytes_put_str(out, hark_str_of(nested->name));
    } else {
        hark__bytes_put_nil(out);
    }
}

void
hark__entry_type(struct bytes *out, const hark_type *type)
{
    hark__bytes_put_array(out, 3);
    hark__bytes_put_str(out, hark_str_of(type->name));
    hark__bytes_put_u64(out, hark__type_hash(type));
    hark__bytes_put_array(out, type->count);
    for (uint16_t i = 0; i < type->count; i++) {
        put_field(out, &type->fields[i]);
    }
}

void
hark__entry_node(struct bytes *out, const struct node_decl *node)
{
    hark__bytes_put_array(out, 4);
    hark__bytes_put_u64(out, NODE_CODE);
    hark__bytes_put_u64(out, node->incarnation);
    hark__bytes_put_str(out, node->name);
    hark__bytes_put_str(out, node->endpoint);
}

static void
put_optional(struct bytes *out, hark_str text)
{
    if (text.len > 0) {
        hark__bytes_put_str(out, text);
    } else {
        hark__bytes_put_nil(out);
    }
}

void
hark__entry_trace(struct bytes *out, const struct trace_decl *trace)
{
    hark__bytes_put_array(out, TRACE_ELEMENTS);
    hark__bytes_put_u64(out, TRACE_CODE);
    hark__bytes_put_u64(out, trace->number);
    hark__bytes_put_u64(out, trace->parent);
    hark__bytes_put_u64(out, trace->kind);
    put_optional(out, trace->who);
    put_optional(out, trace->in);
    put_optional(out, trace->site);
    put_optional(out, trace->node);
}

void
hark__entry_who(struct bytes *out, uint64_t actor)
{
    hark__bytes_put_array(out, WHO_ELEMENTS);
    hark__bytes_put_u64(out, WHO_CODE);
    hark__bytes_put_u64(out, actor);
}

void
hark__entry_called(struct bytes *out, const struct called_decl *called)
{
    hark__bytes_put_array(out, CALLED_ELEMENTS);
    hark__bytes_put_u64(out, CALLED_CODE);
    hark__bytes_put_u64(out, called->actor);
    hark__bytes_put_str(out, called->name);
}

void
hark__entry_repeat_any(struct bytes *out, uint64_t correlation)
{
    uint8_t *at = hark__bytes_open(out, REPEAT_ELEMENTS * PACK_MOST);

    if (at == NULL) {
        return; // the outbox says so
    }
    at = hark__pack_array_head(at, REPEAT_ELEMENTS);
    at = hark__pack_u64(at, ENTRY_REPEAT_CODE);
    hark__bytes_close(out, hark__pack_u64(at, correlation));
}

// A text, or nil: empty.
static bool
get_optional(struct reader *in, hark_str *out_text)
{
    *out_text = (hark_str){"", 0};
    return hark__reader_nil(in) || hark__reader_str(in, out_text);
}

static bool
get_field(struct reader *in, struct field_decl *field)
{
    uint32_t count, kind, element;

    if (!hark__reader_array(in, &count) || count < 4
        || !hark__reader_str(in, &field->name) || !hark__reader_u32(in, &kind)
        || kind > UINT8_MAX || !hark__reader_u32(in, &element) || element > UINT8_MAX
        || !get_optional(in, &field->nested)) {
        return false;
    }
    field->kind = (uint8_t)kind;
    field->element = (uint8_t)element;
    return hark__reader_skip_rest(in, count, 4);
}

// Reads one type and leaves `in` behind it. Checks its fields on the way.
static bool
get_type(struct reader *in, struct type_decl *type)
{
    struct field_decl field;
    uint32_t count;

    if (!hark__reader_array(in, &count) || count < 3
        || !hark__reader_str(in, &type->name) || !hark__reader_u64(in, &type->hash)
        || !hark__reader_array(in, &type->left)) {
        return false;
    }
    type->in = *in;
    for (uint32_t i = 0; i < type->left; i++) {
        if (!get_field(in, &field)) {
            return false;
        }
    }
    return hark__reader_skip_rest(in, count, 3);
}

bool
hark__types_next(struct types *types, struct type_decl *out_type)
{
    if (types->left == 0 || !get_type(&types->in, out_type)) {
        return false;
    }
    types->first++;
    types->left--;
    return true;
}

bool
hark__fields_next(struct type_decl *type, struct field_decl *out_field)
{
    if (type->left == 0 || !get_field(&type->in, out_field)) {
        return false;
    }
    type->left--;
    return true;
}

static bool
get_types(struct reader *in, struct types *types)
{
    struct type_decl type;

    if (!hark__reader_u32(in, &types->first) || !hark__reader_array(in, &types->left)
        || types->left > UINT32_MAX - types->first) {
        return false;
    }
    types->in = *in;
    for (struct types rest = *types; rest.left > 0;) {
        if (!hark__types_next(&rest, &type)) {
            return false;
        }
    }
    return true;
}

static bool
get_node(struct reader *in, struct node_decl *node)
{
    return hark__reader_u64(in, &node->incarnation) && node->incarnation != 0
           && hark__reader_str(in, &node->name)
           && hark__reader_str(in, &node->endpoint);
}

static bool
get_trace(struct reader *in, struct trace_decl *trace)
{
    uint32_t kind;

    if (!hark__reader_u32(in, &trace->number) || trace->number == 0
        || trace->number > TRACE_NUMBER_MOST || !hark__reader_u32(in, &trace->parent)
        || trace->parent > TRACE_NUMBER_MOST || !hark__reader_u32(in, &kind)
        || kind > UINT8_MAX) {
        return false;
    }
    trace->kind = (uint8_t)kind;
    return get_optional(in, &trace->who) && get_optional(in, &trace->in)
           && get_optional(in, &trace->site) && get_optional(in, &trace->node);
}

static bool
get_actor(struct reader *in, struct called_decl *called)
{
    called->name = (hark_str){"", 0};
    return hark__reader_u64(in, &called->actor) && called->actor != 0;
}

static hark_err
fail(char *error, size_t error_size, const char *what)
{
    snprintf(error, error_size, "entry: %s", what);
    return HARK_EDECODE;
}

// Decodes who asks, or says, what an actor is called: behind its code.
static hark_err
decode_called(struct reader *in, uint32_t count, uint32_t code, struct entry *entry,
              char *error, size_t error_size)
{
    if (code == WHO_CODE) {
        entry->kind = ENTRY_WHO;
        return count >= WHO_ELEMENTS && get_actor(in, &entry->called)
                   ? HARK_OK
                   : fail(error, error_size, "malformed question for an actor");
    }
    entry->kind = ENTRY_CALLED;
    return count >= CALLED_ELEMENTS && get_actor(in, &entry->called)
                   && hark__reader_str(in, &entry->called.name)
               ? HARK_OK
               : fail(error, error_size, "malformed name of an actor");
}

// Decodes an entry that is neither an envelope nor a repeat, and all of `in`: behind
// its code.
static hark_err
decode_other(struct reader *in, uint32_t count, uint32_t code, struct entry *entry,
             char *error, size_t error_size)
{
    if (code == TYPES_CODE) {
        entry->kind = ENTRY_TYPES;
        return count >= 3 && get_types(in, &entry->types)
                   ? HARK_OK
                   : fail(error, error_size, "malformed declaration of types");
    }
    if (code == NODE_CODE) {
        entry->kind = ENTRY_NODE;
        return count >= 4 && get_node(in, &entry->node)
                   ? HARK_OK
                   : fail(error, error_size, "malformed introduction of a node");
    }
    if (code == TRACE_CODE) {
        entry->kind = ENTRY_TRACE;
        return count >= TRACE_ELEMENTS && get_trace(in, &entry->trace)
                   ? HARK_OK
                   : fail(error, error_size, "malformed declaration of a trace");
    }
    if (code == WHO_CODE || code == CALLED_CODE) {
        return decode_called(in, count, code, entry, error, error_size);
    }
    entry->kind = ENTRY_UNKNOWN;
    return HARK_OK;
}

// Of the envelope only the payload, and what stands behind it, is left to be read.
static void
open_envelope(struct entry *entry, uint32_t behind)
{
    entry->kind = ENTRY_ENVELOPE;
    entry->is_open = true;
    entry->behind = behind;
    entry->start = entry->envelope.payload.at;
}

// Decodes a repeat behind its code, up to its payload.
static hark_err
decode_repeat(struct reader in, uint32_t count, struct entry *entry, char *error,
              size_t error_size)
{
    if (!entry->is_repeatable) {
        return fail(error, error_size, "a repeat of nothing");
    }
    if (count < REPEAT_ELEMENTS
        || !hark__reader_u64(&in, &entry->envelope.correlation)) {
        return fail(error, error_size, "malformed repeat");
    }
    entry->envelope.payload = in;
    entry->is_repeat = true;
    open_envelope(entry, count - REPEAT_ELEMENTS);
    return HARK_OK;
}

static hark_err
decode_envelope(struct reader in, struct entry *entry, char *error, size_t error_size)
{
    uint32_t behind;
    hark_err err =
        hark__envelope_decode(in, &entry->envelope, &behind, error, error_size);

    entry->is_repeatable = err == HARK_OK && hark__is_repeatable(entry->envelope.kind);
    if (err == HARK_OK) {
        open_envelope(entry, behind);
    }
    return err;
}

static hark_err
decode(struct reader in, struct entry *entry, char *error, size_t error_size)
{
    struct reader inner = in;
    uint32_t count, code;

    if (!hark__reader_array(&inner, &count) || !hark__reader_u32(&inner, &code)) {
        return fail(error, error_size, "not an array that begins with a number");
    }
    if (code == ENTRY_REPEAT_CODE) {
        return decode_repeat(inner, count, entry, error, error_size);
    }
    if (code < TYPES_CODE) {
        return decode_envelope(in, entry, error, error_size);
    }
    return decode_other(&inner, count, code, entry, error, error_size);
}

// Skips values of the batch. False: one has no end, and nor has the batch.
static bool
pass(struct reader *entries, uint32_t values)
{
    for (uint32_t i = 0; i < values; i++) {
        if (!hark__reader_skip(entries)) {
            entries->at = entries->end;
            return false;
        }
    }
    return true;
}

// Goes on behind the last envelope.
static bool
close_envelope(struct reader *entries, struct entry *entry)
{
    const uint8_t *at = entry->envelope.payload.at;

    entry->is_open = false;
    entries->at = at;
    return pass(entries, entry->behind + (at == entry->start));
}

bool
hark__entry_next_any(struct reader *entries, struct entry *entry, hark_err *out_err,
                     char *error, size_t error_size)
{
    bool is_whole = !entry->is_open || close_envelope(entries, entry);

    if (is_whole && hark__reader_left(entries) == 0) {
        return false;
    }
    if (is_whole) {
        entry->is_repeat = false;
        *out_err = decode(*entries, entry, error, error_size);
        is_whole = entry->is_open || pass(entries, 1);
    }
    if (!is_whole) {
        *out_err = fail(error, error_size, "cut off, or no msgpack");
    }
    return true;
}

static bool
is_text(hark_str text, const char *other)
{
    return hark_str_equal(text, hark_str_of(other));
}

static bool
is_same_field(const hark_field *field, const struct field_decl *declared)
{
    const hark_type *nested = nested_type(field);

    return is_text(declared->name, field->name) && declared->kind == field->kind
           && declared->element == field->element
           && is_text(declared->nested, nested != NULL ? nested->name : "");
}

enum { NAME_SHOWN = 63 };

static int
shown(hark_str name)
{
    return (int)(name.len < NAME_SHOWN ? name.len : NAME_SHOWN);
}

// A field as its declaration reads: "list i64 names", "message point origin".
static void
describe(char *out, size_t size, const struct field_decl *field)
{
    bool is_list = field->kind == HARK_KIND_list;

    snprintf(out, size, "%s%s%s%.*s %.*s", is_list ? "list " : "",
             hark__kind_name(is_list ? field->element : field->kind),
             field->nested.len > 0 ? " " : "", shown(field->nested), field->nested.ptr,
             shown(field->name), field->name.ptr);
}

static void
explain(char *why, size_t why_size, const hark_type *local, uint16_t index,
        const struct field_decl *declared)
{
    const hark_field *field = &local->fields[index];
    const hark_type *nested = nested_type(field);
    struct field_decl ours = {.name = hark_str_of(field->name),
                              .kind = field->kind,
                              .element = field->element,
                              .nested =
                                  hark_str_of(nested != NULL ? nested->name : "")};
    char here[160], there[160];

    describe(here, sizeof here, &ours);
    describe(there, sizeof there, declared);
    snprintf(why, why_size, "%s: field %u is (%s) here and (%s) at the peer",
             local->name, index + 1u, here, there);
}

bool
hark__types_compatible(const hark_type *local, const struct type_decl *declared,
                       char *why, size_t why_size)
{
    struct type_decl rest = *declared;
    struct field_decl field;

    if (!is_text(declared->name, local->name)) {
        snprintf(why, why_size, "%s: the peer's type is named otherwise", local->name);
        return false;
    }
    if (declared->hash == hark__type_hash(local)) {
        return true;
    }
    for (uint16_t i = 0; i < local->count && hark__fields_next(&rest, &field); i++) {
        if (!is_same_field(&local->fields[i], &field)) {
            explain(why, why_size, local, i, &field);
            return false;
        }
    }
    return true;
}
