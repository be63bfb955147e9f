// Entry: batches taken apart, types declared and compared.

#include "unit/wire/written.h"

#include "message/registry.h"
#include "unit/message/shapes.h"
#include "wire/entry.h"

static char error[300];

// Reads the one entry that is all of data.
static hark_err
read_one(const void *data, size_t size, struct entry *out_entry)
{
    struct reader in = hark__reader_of(data, size);
    hark_err err;

    assert_true(hark__entry_next(&in, out_entry, &err, error, sizeof error));
    assert_int_equal(hark__reader_left(&in), 0);
    return err;
}

// The declaration of one type, as a peer would see it.
static struct type_decl
declared(const hark_type *type)
{
    struct entry entry = {0};
    struct type_decl decl;

    hark__bytes_truncate(&bytes, 0);
    hark__entry_types(&bytes, 0, 1);
    hark__entry_type(&bytes, type);
    assert_int_equal(read_one(bytes.data, bytes.size, &entry), HARK_OK);
    assert_int_equal(entry.kind, ENTRY_TYPES);
    assert_true(hark__types_next(&entry.types, &decl));
    return decl;
}

static void
a_declaration_says_name_hash_and_fields(void **state)
{
    (void)state;
    hark__entry_types(&bytes, 3, 1);
    hark__entry_type(&bytes, &deposit_type);
    assert_bytes(&bytes, RAW("\x93\x64\x03\x91"
                             "\x93\xa7"
                             "deposit\xcf\xd4\x2a\x5a\x71\xbc\x8a\xa8\x29\x92"
                             "\x94\xa6"
                             "amount\x05\x00\xc0"
                             "\x94\xa4memo\x0d\x00\xc0"));
}

static void
declared_types_are_read_in_order(void **state)
{
    struct entry entry = {0};
    struct type_decl type;
    struct field_decl field;

    (void)state;
    hark__entry_types(&bytes, 5, 2);
    hark__entry_type(&bytes, &point_type);
    hark__entry_type(&bytes, &drawing_type);
    assert_int_equal(read_one(bytes.data, bytes.size, &entry), HARK_OK);
    assert_int_equal(entry.types.first, 5);
    assert_true(hark__types_next(&entry.types, &type));
    assert_true(hark_str_equal(type.name, HARK_STR("point")));
    assert_int_equal(type.hash, hark__type_hash(&point_type));
    assert_int_equal(entry.types.first, 6);
    assert_true(hark__types_next(&entry.types, &type));
    for (uint16_t i = 0; i < drawing_type.count; i++) {
        const hark_field *ours = &drawing_type.fields[i];

        assert_true(hark__fields_next(&type, &field));
        assert_true(hark_str_equal(field.name, hark_str_of(ours->name)));
        assert_int_equal(field.kind, ours->kind);
        assert_int_equal(field.element, ours->element);
        assert_true(hark_str_equal(
            field.nested, hark_str_of(ours->type != NULL ? ours->type->name : "")));
    }
    assert_false(hark__fields_next(&type, &field));
    assert_false(hark__types_next(&entry.types, &type));
}

static void
an_introduction_comes_back(void **state)
{
    struct entry entry = {0};
    const struct node_decl node = {7, HARK_STR("third"), HARK_STR("tcp://h:1")};

    (void)state;
    hark__entry_node(&bytes, &node);
    assert_int_equal(read_one(bytes.data, bytes.size, &entry), HARK_OK);
    assert_int_equal(entry.kind, ENTRY_NODE);
    assert_int_equal(entry.node.incarnation, 7);
    assert_true(hark_str_equal(entry.node.name, node.name));
    assert_true(hark_str_equal(entry.node.endpoint, node.endpoint));
}

// ---- repeats ----

// Appends an envelope with the payload [1].
static void
put_one(uint8_t kind)
{
    hark__envelope_encode(&bytes,
                          &(struct envelope){.kind = kind,
                                             .target = 5,
                                             .sender = {7, 8},
                                             .correlation = 9,
                                             .remaining_ms = 10,
                                             .credits = 11,
                                             .type = 3,
                                             .text = HARK_STR("x"),
                                             .payload = hark__reader_of("\x91\1", 2)});
}

static void
put_repeat(uint64_t correlation, const void *payload, size_t size)
{
    hark__entry_repeat(&bytes, correlation);
    hark__bytes_append(&bytes, payload, size);
}

static void
a_repeat_is_the_envelope_before_with_another_payload(void **state)
{
    struct entry entry = {0};
    hark_err err;

    (void)state;
    put_one(ENVELOPE_ASK);
    put_repeat(300, RAW("\x91\2"));
    hark__entry_node(&bytes, &(struct node_decl){9, HARK_STR("n"), HARK_STR("")});
    put_repeat(0, RAW("\x93\xa1x\xc0\3"));
    struct reader in = hark__reader_of(bytes.data, bytes.size);
    for (int i = 0; i < 4; i++) {
        assert_true(hark__entry_next(&in, &entry, &err, error, sizeof error));
        assert_int_equal(err, HARK_OK);
        assert_int_equal(entry.kind, i == 2 ? ENTRY_NODE : ENTRY_ENVELOPE);
        assert_int_equal(entry.envelope.kind, ENVELOPE_ASK);
        assert_int_equal(entry.envelope.target, 5);
        assert_int_equal(entry.envelope.sender.node, 7);
        assert_int_equal(entry.envelope.sender.actor, 8);
        assert_int_equal(entry.envelope.correlation, i == 0 ? 9 : i == 3 ? 0 : 300);
        assert_int_equal(entry.envelope.remaining_ms, 10);
        assert_int_equal(entry.envelope.type, 3);
    }
    assert_int_equal(hark__reader_left(&entry.envelope.payload), 5);
    assert_memory_equal(entry.envelope.payload.at, "\x93\xa1x\xc0\3", 5);
    assert_false(hark__entry_next(&in, &entry, &err, error, sizeof error));
}

static void
items_may_be_repeated(void **state)
{
    struct entry entry = {0};
    hark_err err;

    (void)state;
    put_one(ENVELOPE_ITEM);
    put_repeat(9, RAW("\x91\2"));
    struct reader in = hark__reader_of(bytes.data, bytes.size);
    for (int i = 0; i < 2; i++) {
        assert_true(hark__entry_next(&in, &entry, &err, error, sizeof error));
        assert_int_equal(err, HARK_OK);
        assert_int_equal(entry.envelope.kind, ENVELOPE_ITEM);
        assert_int_equal(entry.envelope.correlation, 9);
        assert_int_equal(entry.envelope.credits, 11);
    }
}

static void
a_repeat_takes_three_bytes_and_its_payload(void **state)
{
    (void)state;
    put_repeat(0, RAW("\x91\2"));
    assert_bytes(&bytes, RAW("\x93\x66\x00\x91\2"));
}

static void
repeats_of_nothing_are_refused(void **state)
{
    static const uint8_t others[] = {ENVELOPE_FAILURE,
                                     ENVELOPE_LOOKUP,
                                     ENVELOPE_FOUND,
                                     ENVELOPE_CANCEL,
                                     ENVELOPE_DOWN,
                                     ENVELOPE_CREDIT,
                                     99};
    struct entry entry = {0};
    hark_err err;

    (void)state;
    put_repeat(1, RAW("\x91\2"));
    assert_int_equal(read_one(bytes.data, bytes.size, &entry), HARK_EDECODE);
    assert_string_equal(error, "entry: a repeat of nothing");
    for (size_t i = 0; i < sizeof others; i++) {
        hark__bytes_truncate(&bytes, 0);
        put_one(ENVELOPE_TELL);
        put_one(others[i]);
        put_repeat(1, RAW("\x91\2"));
        struct reader in = hark__reader_of(bytes.data, bytes.size);
        for (int j = 0; j < 3; j++) {
            assert_true(hark__entry_next(&in, &entry, &err, error, sizeof error));
        }
        assert_int_equal(err, HARK_EDECODE);
    }
    hark__bytes_truncate(&bytes, 0);
    put_one(ENVELOPE_TELL);
    hark__bytes_append(&bytes, RAW("\x91\5")); // an envelope without elements
    put_repeat(1, RAW("\x91\2"));
    struct reader in = hark__reader_of(bytes.data, bytes.size);
    for (int i = 0; i < 3; i++) {
        assert_true(hark__entry_next(&in, &entry, &err, error, sizeof error));
        assert_int_equal(err, i == 0 ? HARK_OK : HARK_EDECODE);
    }
}

static void
a_malformed_repeat_harms_itself_only(void **state)
{
    struct entry entry = {0};
    hark_err err;

    (void)state;
    put_one(ENVELOPE_TELL);
    hark__bytes_append(&bytes, RAW("\x93\x66\xff\x91\2"));      // correlation -1
    hark__bytes_append(&bytes, RAW("\x92\x66\x01"));            // no payload
    hark__bytes_append(&bytes, RAW("\x94\x66\x01\x91\2\xa1x")); // a later element
    struct reader in = hark__reader_of(bytes.data, bytes.size);
    for (int i = 0; i < 4; i++) {
        assert_true(hark__entry_next(&in, &entry, &err, error, sizeof error));
        assert_int_equal(err, i == 1 || i == 2 ? HARK_EDECODE : HARK_OK);
    }
    assert_int_equal(entry.envelope.kind, ENVELOPE_TELL);
    assert_int_equal(entry.envelope.correlation, 1);
    assert_memory_equal(entry.envelope.payload.at, "\x91\2", 2);
    assert_false(hark__entry_next(&in, &entry, &err, error, sizeof error));
}

// ---- payloads ----

// Whoever takes the entries decodes some payloads and leaves others.
static void
payloads_are_passed_whether_they_were_decoded_or_not(void **state)
{
    struct entry entry = {0};
    hark_err err;

    (void)state;
    for (unsigned decoded = 0; decoded < 8; decoded++) {
        hark__bytes_truncate(&bytes, 0);
        put_one(ENVELOPE_TELL);
        hark__bytes_append(&bytes, RAW("\x94\x66\x01\x91\2\xa1x")); // a later element
        put_one(ENVELOPE_LOOKUP);
        struct reader in = hark__reader_of(bytes.data, bytes.size);
        for (unsigned i = 0; i < 3; i++) {
            assert_true(hark__entry_next(&in, &entry, &err, error, sizeof error));
            assert_int_equal(err, HARK_OK);
            assert_int_equal(entry.kind, ENTRY_ENVELOPE);
            assert_int_equal(entry.envelope.correlation, i == 1 ? 1 : 9);
            assert_true((decoded >> i & 1) == 0
                        || hark__reader_skip(&entry.envelope.payload));
        }
        assert_false(hark__entry_next(&in, &entry, &err, error, sizeof error));
        assert_int_equal(hark__reader_left(&in), 0);
    }
}

// It is given, so that an ASK can be answered with an error; and then the batch ends.
static void
an_envelope_without_its_payload_ends_the_batch(void **state)
{
    struct entry entry = {0};
    hark_err err;

    (void)state;
    put_one(ENVELOPE_ASK);
    for (size_t cut = 1; cut <= 2; cut++) {
        struct reader in = hark__reader_of(bytes.data, bytes.size - cut);

        assert_true(hark__entry_next(&in, &entry, &err, error, sizeof error));
        assert_int_equal(err, HARK_OK);
        assert_int_equal(entry.envelope.kind, ENVELOPE_ASK);
        assert_true(hark__entry_next(&in, &entry, &err, error, sizeof error));
        assert_int_equal(err, HARK_EDECODE);
        assert_string_equal(error, "entry: cut off, or no msgpack");
        assert_false(hark__entry_next(&in, &entry, &err, error, sizeof error));
    }
}

// ---- what is malformed ----

static void
a_bad_entry_harms_itself_only(void **state)
{
    // a string; an envelope without elements; a lookup; a later version's entry
    static const char batch[] = "\xa1x"
                                "\x91\x05"
                                "\x9a\x05\x00\xc0\x01\x00\x00\x00\x00\xc0\x91\xa1n"
                                "\x92\xcd\x01\x00\x00";
    struct reader in = hark__reader_of(batch, sizeof batch - 1);
    struct entry entry = {0};
    hark_err err;

    (void)state;
    assert_true(hark__entry_next(&in, &entry, &err, error, sizeof error));
    assert_int_equal(err, HARK_EDECODE);
    assert_string_equal(error, "entry: not an array that begins with a number");
    assert_true(hark__entry_next(&in, &entry, &err, error, sizeof error));
    assert_int_equal(err, HARK_EDECODE);
    assert_string_equal(error, "envelope: malformed array");
    assert_true(hark__entry_next(&in, &entry, &err, error, sizeof error));
    assert_int_equal(err, HARK_OK);
    assert_int_equal(entry.kind, ENTRY_ENVELOPE);
    assert_int_equal(entry.envelope.kind, ENVELOPE_LOOKUP);
    assert_true(hark__entry_next(&in, &entry, &err, error, sizeof error));
    assert_int_equal(err, HARK_OK);
    assert_int_equal(entry.kind, ENTRY_UNKNOWN);
    assert_false(hark__entry_next(&in, &entry, &err, error, sizeof error));
}

static void
an_entry_without_an_end_ends_the_batch(void **state)
{
    struct reader in = hark__reader_of("\x92\x05\xdd\x05\0\0\0\xc0", 8);
    struct entry entry = {0};
    hark_err err;

    (void)state;
    assert_true(hark__entry_next(&in, &entry, &err, error, sizeof error));
    assert_int_equal(err, HARK_EDECODE);
    assert_string_equal(error, "entry: cut off, or no msgpack");
    assert_false(hark__entry_next(&in, &entry, &err, error, sizeof error));
}

static void
malformed_declarations_are_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
    } rows[] = {
        {RAW("\x92\x64\x00")},                                     // no types
        {RAW("\x93\x64\xff\x90")},                                 // number -1
        {RAW("\x93\x64\x00\x91\xa1x")},                            // type no array
        {RAW("\x93\x64\x00\x91\x92\xa1x\x01")},                    // without fields
        {RAW("\x93\x64\x00\x91\x93\x01\x01\x90")},                 // name no text
        {RAW("\x93\x64\x00\x91\x93\xa1x\xa1x\x90")},               // hash no number
        {RAW("\x93\x64\x00\x91\x93\xa1x\x01\x91\x93\xa1k\x05\0")}, // 3 of a field's 4
        {RAW("\x93\x64\x00\x91\x93\xa1x\x01\x91\x94\xa1k\xcd\1\0\0\xc0")}, // kind 256
        {RAW(
            "\x93\x64\x00\x91\x93\xa1x\x01\x91\x94\xa1k\x05\0\x01")}, // nested a number
        {RAW("\x93\x64\xce\xff\xff\xff\xff\x91\x93\xa1x\x01\x90")},   // past 2^32
    };
    struct entry entry = {0};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(read_one(rows[i].bytes, rows[i].size, &entry), HARK_EDECODE);
        assert_string_equal(error, "entry: malformed declaration of types");
    }
    assert_int_equal(read_one(RAW("\x94\x65\x00\xa1n\xa1"
                                  "e"),
                              &entry),
                     HARK_EDECODE);
    assert_string_equal(error, "entry: malformed introduction of a node");
    assert_int_equal(read_one(RAW("\x93\x65\x01\xa1n"), &entry), HARK_EDECODE);
}

static void
a_trace_comes_back(void **state)
{
    struct entry entry = {0};
    const struct trace_decl *trace = &entry.trace;

    (void)state;
    hark__entry_trace(&bytes, &(struct trace_decl){
                                  .number = 300,
                                  .parent = 7,
                                  .kind = 2,
                                  .who = HARK_STR("w"),
                                  .site = HARK_STR("a.c:1"),
                              });
    assert_bytes(&bytes, RAW("\x98\x67\xcd\x01\x2c\x07\x02\xa1w\xc0\xa5"
                             "a.c:1\xc0"));
    assert_int_equal(read_one(bytes.data, bytes.size, &entry), HARK_OK);
    assert_int_equal(entry.kind, ENTRY_TRACE);
    assert_int_equal(trace->number, 300);
    assert_int_equal(trace->parent, 7);
    assert_int_equal(trace->kind, 2);
    assert_true(hark_str_equal(trace->who, HARK_STR("w")));
    assert_true(hark_str_equal(trace->site, HARK_STR("a.c:1")));
    assert_int_equal(trace->in.len, 0);
    assert_int_equal(trace->node.len, 0);
    // A later version says more.
    assert_int_equal(
        read_one(RAW("\x99\x67\x01\x00\x00\xc0\xa1i\xc0\xa1n\x93\x01\x02\x03"), &entry),
        HARK_OK);
    assert_true(hark_str_equal(trace->in, HARK_STR("i")));
    assert_true(hark_str_equal(trace->node, HARK_STR("n")));
}

static void
malformed_traces_are_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
    } rows[] = {
        {RAW("\x97\x67\x01\x00\x00\xc0\xc0\xc0")},             // no node
        {RAW("\x98\x67\x00\x00\x00\xc0\xc0\xc0\xc0")},         // number 0
        {RAW("\x98\x67\xff\x00\x00\xc0\xc0\xc0\xc0")},         // number -1
        {RAW("\x98\x67\xce\0\1\0\0\x00\x00\xc0\xc0\xc0\xc0")}, // number 65536
        {RAW("\x98\x67\x01\xce\0\1\0\0\x00\xc0\xc0\xc0\xc0")}, // parent 65536
        {RAW("\x98\x67\x01\xc0\x00\xc0\xc0\xc0\xc0")},         // parent nil
        {RAW("\x98\x67\x01\x00\xcd\x01\x00\xc0\xc0\xc0\xc0")}, // kind 256
        {RAW("\x98\x67\x01\x00\x00\x01\xc0\xc0\xc0")},         // who a number
        {RAW("\x98\x67\x01\x00\x00\xc0\xc4\x01x\xc0\xc0")},    // in bytes
        {RAW("\x98\x67\x01\x00\x00\xc0\xc0\x90\xc0")},         // site an array
        {RAW("\x98\x67\x01\x00\x00\xc0\xc0\xc0\xc3")},         // node true
    };
    struct entry entry = {0};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(read_one(rows[i].bytes, rows[i].size, &entry), HARK_EDECODE);
        assert_string_equal(error, "entry: malformed declaration of a trace");
    }
}

static void
what_an_actor_is_called_comes_back(void **state)
{
    struct entry entry = {0};
    const struct called_decl *called = &entry.called;

    (void)state;
    hark__entry_who(&bytes, 300);
    assert_bytes(&bytes, RAW("\x92\x68\xcd\x01\x2c"));
    assert_int_equal(read_one(bytes.data, bytes.size, &entry), HARK_OK);
    assert_int_equal(entry.kind, ENTRY_WHO);
    assert_int_equal(called->actor, 300);
    assert_int_equal(called->name.len, 0);

    hark__bytes_truncate(&bytes, 0);
    hark__entry_called(&bytes, &(struct called_decl){5, HARK_STR("till")});
    assert_bytes(&bytes, RAW("\x93\x69\x05\xa4till"));
    assert_int_equal(read_one(bytes.data, bytes.size, &entry), HARK_OK);
    assert_int_equal(entry.kind, ENTRY_CALLED);
    assert_int_equal(called->actor, 5);
    assert_true(hark_str_equal(called->name, HARK_STR("till")));
    // A later version says more.
    assert_int_equal(read_one(RAW("\x93\x68\x05\xa1x"), &entry), HARK_OK);
    assert_int_equal(entry.kind, ENTRY_WHO);
    assert_int_equal(read_one(RAW("\x94\x69\x05\xa1x\x80"), &entry), HARK_OK);
    assert_int_equal(entry.kind, ENTRY_CALLED);
}

static void
malformed_names_of_actors_are_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        const char *error;
    } rows[] = {
        {RAW("\x91\x68"), "entry: malformed question for an actor"},
        {RAW("\x92\x68\x00"), "entry: malformed question for an actor"},
        {RAW("\x92\x68\xff"), "entry: malformed question for an actor"},
        {RAW("\x92\x68\xc0"), "entry: malformed question for an actor"},
        {RAW("\x92\x69\x05"), "entry: malformed name of an actor"},
        {RAW("\x93\x69\x00\xa1x"), "entry: malformed name of an actor"},
        {RAW("\x93\x69\x05\xc0"), "entry: malformed name of an actor"},
        {RAW("\x93\x69\x05\xc4\x01x"), "entry: malformed name of an actor"},
    };
    struct entry entry = {0};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(read_one(rows[i].bytes, rows[i].size, &entry), HARK_EDECODE);
        assert_string_equal(error, rows[i].error);
    }
}

// ---- comparing types ----

static void
a_type_is_compatible_with_itself(void **state)
{
    struct type_decl decl = declared(&drawing_type);

    (void)state;
    assert_true(hark__types_compatible(&drawing_type, &decl, error, sizeof error));
    decl.hash++; // then by its fields
    assert_true(hark__types_compatible(&drawing_type, &decl, error, sizeof error));
}

static void
appended_fields_are_compatible_both_ways(void **state)
{
    hark_field fields[] = {
        {"amount", HARK_KIND_i64, 0, 0, NULL},
        {"memo", HARK_KIND_str, 0, 8, NULL},
        {"when", HARK_KIND_u64, 0, 24, NULL},
    };
    hark_type longer = {"deposit", 32, 3, false, fields};
    hark_type shorter = {"deposit", 8, 1, true, fields};
    struct type_decl decl = declared(&longer);

    (void)state;
    assert_true(hark__types_compatible(&deposit_type, &decl, error, sizeof error));
    decl = declared(&shorter);
    assert_true(hark__types_compatible(&deposit_type, &decl, error, sizeof error));
}

static void
the_field_that_differs_is_named(void **state)
{
    char longname[101];
    hark_field fields[] = {
        {"amount", HARK_KIND_i64, 0, 0, NULL},
        {"memo", HARK_KIND_str, 0, 8, NULL},
    };
    hark_type other = {"deposit", 24, 2, false, fields};
    struct type_decl decl;

    (void)state;
    fields[1].name = "note";
    decl = declared(&other);
    assert_false(hark__types_compatible(&deposit_type, &decl, error, sizeof error));
    assert_string_equal(error, "deposit: field 2 is (str memo) here and (str note) at "
                               "the peer");
    fields[1] = (hark_field){"memo", HARK_KIND_list, HARK_KIND_str, 8, NULL};
    decl = declared(&other);
    assert_false(hark__types_compatible(&deposit_type, &decl, error, sizeof error));
    assert_string_equal(error,
                        "deposit: field 2 is (str memo) here and (list str memo) "
                        "at the peer");
    fields[1] = (hark_field){"memo", HARK_KIND_message, 0, 8, &point_type};
    decl = declared(&other);
    assert_false(hark__types_compatible(&deposit_type, &decl, error, sizeof error));
    assert_string_equal(error, "deposit: field 2 is (str memo) here and (message point "
                               "memo) at the peer");
    // Long names are cut, and not left out.
    memset(longname, 'n', sizeof longname - 1);
    longname[sizeof longname - 1] = '\0';
    for (size_t len = 60; len < sizeof longname; len += 4) {
        fields[1] = (hark_field){longname + 100 - len, HARK_KIND_str, 0, 8, NULL};
        decl = declared(&other);
        assert_false(hark__types_compatible(&deposit_type, &decl, error, sizeof error));
        assert_non_null(strstr(error, "(str nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"));
    }
    decl = declared(&point_type);
    assert_false(hark__types_compatible(&deposit_type, &decl, error, sizeof error));
    assert_string_equal(error, "deposit: the peer's type is named otherwise");
}

// ---- bytes that nobody vouches for ----

enum { WHOLE = 7 }; // entries

static void
write_batch(void)
{
    hark__bytes_truncate(&bytes, 0);
    hark__entry_types(&bytes, 0, 2);
    hark__entry_type(&bytes, &point_type);
    hark__entry_type(&bytes, &drawing_type);
    hark__entry_node(&bytes,
                     &(struct node_decl){9, HARK_STR("n"), HARK_STR("tcp://h:1")});
    hark__entry_trace(&bytes, &(struct trace_decl){.number = 1,
                                                   .who = HARK_STR("who"),
                                                   .site = HARK_STR("a.c:1")});
    hark__entry_who(&bytes, 6);
    hark__entry_called(&bytes, &(struct called_decl){5, HARK_STR("till")});
    hark__envelope_encode(
        &bytes, &(struct envelope){.kind = ENVELOPE_TELL,
                                   .target = 5,
                                   .type = 1,
                                   .payload = hark__reader_of("\x91\xa1t", 3)});
    put_repeat(70000, RAW("\x91\xa1u"));
}

// Walks over a batch as a receiver does. Gives how many entries were good.
static unsigned
walk(const uint8_t *data, size_t size)
{
    uint8_t *copy = exact_copy(data, size);
    struct reader in = hark__reader_of(copy, size);
    struct entry entry = {0};
    struct type_decl type;
    struct field_decl field;
    unsigned good = 0;
    hark_err err;

    while (hark__entry_next(&in, &entry, &err, error, sizeof error)) {
        good += err == HARK_OK
                && (entry.kind != ENTRY_ENVELOPE
                    || hark__reader_skip(&entry.envelope.payload));
        while (err == HARK_OK && entry.kind == ENTRY_TYPES
               && hark__types_next(&entry.types, &type)) {
            (void)hark__types_compatible(&drawing_type, &type, error, sizeof error);
            while (hark__fields_next(&type, &field)) {
            }
        }
    }
    assert_int_equal(hark__reader_left(&in), 0);
    free(copy);
    return good;
}

static void
every_truncation_loses_what_is_cut_and_no_more(void **state)
{
    (void)state;
    write_batch();
    size_t whole = bytes.size;
    assert_int_equal(walk(bytes.data, whole), WHOLE);
    for (size_t size = 0; size < whole; size++) {
        assert_true(walk(bytes.data, size) < WHOLE);
    }
}

static void
every_change_of_one_byte_is_handled(void **state)
{
    (void)state;
    write_batch();
    for (size_t at = 0; at < bytes.size; at++) {
        uint8_t was = bytes.data[at];

        for (unsigned other = 0; other < 256; other++) {
            bytes.data[at] = (uint8_t)other;
            (void)walk(bytes.data, bytes.size);
        }
        bytes.data[at] = was;
    }
    assert_int_equal(walk(bytes.data, bytes.size), WHOLE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_declaration_says_name_hash_and_fields),
        TEST(declared_types_are_read_in_order),
        TEST(an_introduction_comes_back),
        TEST(a_repeat_is_the_envelope_before_with_another_payload),
        TEST(items_may_be_repeated),
        TEST(a_repeat_takes_three_bytes_and_its_payload),
        TEST(repeats_of_nothing_are_refused),
        TEST(a_malformed_repeat_harms_itself_only),
        TEST(payloads_are_passed_whether_they_were_decoded_or_not),
        TEST(an_envelope_without_its_payload_ends_the_batch),
        TEST(a_bad_entry_harms_itself_only),
        TEST(an_entry_without_an_end_ends_the_batch),
        TEST(malformed_declarations_are_refused),
        TEST(a_trace_comes_back),
        TEST(malformed_traces_are_refused),
        TEST(what_an_actor_is_called_comes_back),
        TEST(malformed_names_of_actors_are_refused),
        TEST(a_type_is_compatible_with_itself),
        TEST(appended_fields_are_compatible_both_ways),
        TEST(the_field_that_differs_is_named),
        TEST(every_truncation_loses_what_is_cut_and_no_more),
        TEST(every_change_of_one_byte_is_handled),
    };
    return cmocka_run_group_tests_name("wire/entry", tests, NULL, NULL);
}
