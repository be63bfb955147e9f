// A frame as a link takes it in: head, entries, declarations against a registry,
// envelopes, and payloads of the types that were declared. Views must stay inside.

#include "fuzz.h"

#include "remote/callees.h"
#include "remote/traces.h"
#include "remote/types.h"
#include "wire/frame.h"
#include "wire/payload.h"

// What one input is, so that views can be checked.
struct input {
    const uint8_t *data;
    size_t size;
    struct types_in types;
    struct traces_in traces;
    uint32_t trace_room;
};

// Made once, with the first input.
static struct registry *
known_types(void)
{
    static struct registry *registry;

    if (registry == NULL) {
        registry = hark__registry_new();
        FUZZ_HOLDS(registry != NULL);
        for (size_t i = 0; i < FUZZ_TYPES; i++) {
            FUZZ_HOLDS(hark__registry_add(registry, fuzz_types[i]) == HARK_OK);
        }
    }
    return registry;
}

// As above. They fill up in the course of a run, as those of a node do.
static struct traces *
known_traces(void)
{
    static struct traces traces;

    if (traces.rows == NULL) {
        FUZZ_HOLDS(hark__traces_init(&traces));
    }
    return &traces;
}

// As above: a table that is never full.
static struct callees *
known_callees(void)
{
    static struct callees callees;
    static bool is_made;

    if (!is_made) {
        hark__callees_init(&callees);
        is_made = true;
    }
    return &callees;
}

static void
check_view(const struct input *input, const void *at, size_t size)
{
    const uint8_t *start = (const uint8_t *)at;

    FUZZ_HOLDS(size == 0
               || (start >= input->data && size <= input->size
                   && start + size <= input->data + input->size));
}

static void
take_envelope(struct input *input, struct envelope *envelope)
{
    char error[FUZZ_TEXT] = "";
    struct payload_options options = {
        .limit_bytes = FUZZ_LIMIT_BYTES, .error = error, .error_size = sizeof error};
    struct hark_message *message = NULL;

    check_view(input, envelope->text.ptr, envelope->text.len);
    check_view(input, envelope->payload.at, hark__reader_left(&envelope->payload));
    FUZZ_HOLDS(envelope->kind != 0);
    const struct type_in *type = hark__types_in_find(&input->types, envelope->type);
    if (type == NULL || type->local == NULL) {
        FUZZ_HOLDS(type == NULL || type->why[0] != '\0');
        return;
    }
    struct reader value = envelope->payload;
    if (hark__payload_decode(fuzz_pool(), type->local, &envelope->payload, &options,
                             &message)
        == HARK_OK) {
        // The decoder and who only skips agree where the value ends.
        FUZZ_HOLDS(hark__reader_skip(&value) && value.at == envelope->payload.at);
        hark__message_free(fuzz_pool(), message);
    }
}

static void
take_trace(struct input *input, const struct trace_decl *trace)
{
    const struct trace_source source = {known_traces(), "here", "there",
                                        &input->trace_room};

    check_view(input, trace->who.ptr, trace->who.len);
    check_view(input, trace->in.ptr, trace->in.len);
    check_view(input, trace->site.ptr, trace->site.len);
    check_view(input, trace->node.ptr, trace->node.len);
    hark__traces_in_declare(&input->traces, &source, trace);
    uint16_t number = hark__traces_in_find(&input->traces, trace->number);
    FUZZ_HOLDS(number == 0 || hark__trace_row(source.traces, number)->parent < number);
}

static void
take_called(struct input *input, const struct called_decl *called)
{
    const hark_ref actor = {1, called->actor};
    char name[CALLED_SIZE];

    check_view(input, called->name.ptr, called->name.len);
    FUZZ_HOLDS(called->actor != 0);
    hark__callees_learn(known_callees(), actor, called->name);
    if (called->name.len > 0) {
        FUZZ_HOLDS(hark__callees_find(known_callees(), actor, name));
        FUZZ_HOLDS(strlen(name) < CALLED_SIZE);
    }
}

// False: the link would end.
static bool
take_entry(struct input *input, struct entry *entry)
{
    switch (entry->kind) {
    case ENTRY_ENVELOPE:
        take_envelope(input, &entry->envelope);
        return true;
    case ENTRY_TYPES:
        return hark__types_in_declare(&input->types, known_types(), &entry->types)
               == HARK_OK;
    case ENTRY_NODE:
        check_view(input, entry->node.name.ptr, entry->node.name.len);
        check_view(input, entry->node.endpoint.ptr, entry->node.endpoint.len);
        FUZZ_HOLDS(entry->node.incarnation != 0);
        return true;
    case ENTRY_TRACE:
        take_trace(input, &entry->trace);
        return true;
    case ENTRY_WHO:
    case ENTRY_CALLED:
        take_called(input, &entry->called);
        return true;
    default:
        return true;
    }
}

static void
take_frame(struct input *input, struct frame *frame)
{
    char error[FUZZ_TEXT];
    struct entry entry = {0};
    bool goes_on = true;
    hark_err err;

    check_view(input, frame->text.ptr, frame->text.len);
    check_view(input, frame->hello.node_name.ptr, frame->hello.node_name.len);
    check_view(input, frame->hello.endpoint.ptr, frame->hello.endpoint.len);
    while (goes_on && frame->kind == FRAME_BATCH
           && hark__entry_next(&frame->entries, &entry, &err, error, sizeof error)) {
        FUZZ_HOLDS(err == HARK_OK || err == HARK_EDECODE);
        goes_on = err != HARK_OK || take_entry(input, &entry);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {.data = data, .size = size, .trace_room = TRACES_OF_PEER};
    char error[FUZZ_TEXT] = "";
    struct frame frame;
    hark_err err = hark__frame_decode(data, size, &frame, error, sizeof error);

    if (err == HARK_OK) {
        take_frame(&input, &frame);
    } else {
        FUZZ_HOLDS(err == HARK_EDECODE || err == HARK_EPROTO);
        FUZZ_HOLDS(error[0] != '\0');
    }
    hark__types_in_fini(&input.types);
    hark__traces_in_fini(&input.traces);
    return 0;
}
