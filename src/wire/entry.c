#include "wire/entry.h"

#include <stdio.h>

#include "message/registry.h"
#include "message/type.h"

#define TYPES_CODE 100
#define NODE_CODE 101

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

// Skips what stands in an array behind the elements that are known.
static bool
skip_rest(struct reader *in, uint32_t count, uint32_t known)
{
    for (uint32_t i = known; i < count; i++) {
        if (!hark__reader_skip(in)) {
            return false;
        }
    }
    return true;
}

static bool
get_nested(struct reader *in, hark_str *out_name)
{
    *out_name = (hark_str){"", 0};
    return hark__reader_nil(in) || hark__reader_str(in, out_name);
}

static bool
get_field(struct reader *in, struct field_decl *field)
{
    uint32_t count, kind, element;

    if (!hark__reader_array(in, &count) || count < 4
        || !hark__reader_str(in, &field->name) || !hark__reader_u32(in, &kind)
        || kind > UINT8_MAX || !hark__reader_u32(in, &element) || element > UINT8_MAX
        || !get_nested(in, &field->nested)) {
        return false;
    }
    field->kind = (uint8_t)kind;
    field->element = (uint8_t)element;
    return skip_rest(in, count, 4);
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
    return skip_rest(in, count, 3);
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

// Decodes an entry that is all of `in`.
static hark_err
decode(struct reader *in, struct entry *entry, char *error, size_t error_size)
{
    struct reader inner = *in;
    uint32_t count, code;

    if (!hark__reader_array(&inner, &count) || !hark__reader_u32(&inner, &code)) {
        snprintf(error, error_size, "entry: not an array that begins with a number");
        return HARK_EDECODE;
    }
    if (code < TYPES_CODE) {
        entry->kind = ENTRY_ENVELOPE;
        return hark__envelope_decode(in, &entry->envelope, error, error_size);
    }
    if (code == TYPES_CODE) {
        entry->kind = ENTRY_TYPES;
        if (count < 3 || !get_types(&inner, &entry->types)) {
            snprintf(error, error_size, "entry: malformed declaration of types");
            return HARK_EDECODE;
        }
    } else if (code == NODE_CODE) {
        entry->kind = ENTRY_NODE;
        if (count < 4 || !get_node(&inner, &entry->node)) {
            snprintf(error, error_size, "entry: malformed introduction of a node");
            return HARK_EDECODE;
        }
    } else {
        entry->kind = ENTRY_UNKNOWN;
    }
    return HARK_OK;
}

// Most entries are; they are decoded without a walk to find their end.
static bool
is_envelope(struct reader in)
{
    uint32_t count, code;

    return hark__reader_array(&in, &count) && hark__reader_u32(&in, &code)
           && code < TYPES_CODE;
}

bool
hark__entry_next(struct reader *entries, struct entry *out_entry, hark_err *out_err,
                 char *error, size_t error_size)
{
    if (hark__reader_left(entries) == 0) {
        return false;
    }

    struct reader one = *entries;

    if (is_envelope(one)) {
        out_entry->kind = ENTRY_ENVELOPE;
        *out_err = hark__envelope_decode(&one, &out_entry->envelope, error, error_size);
        if (*out_err == HARK_OK) {
            entries->at = one.at;
            return true;
        }
        one = *entries; // where does it end?
    }
    if (!hark__reader_skip(entries)) {
        entries->at = entries->end;
        snprintf(error, error_size, "entry: cut off, or no msgpack");
        *out_err = HARK_EDECODE;
        return true;
    }
    one.end = entries->at;
    *out_err = decode(&one, out_entry, error, error_size);
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
