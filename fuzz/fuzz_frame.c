// A frame as a link takes it in: head, entries, declarations against a registry,
// envelopes, and payloads of the types that were declared. Views must stay inside.

#include "fuzz.h"

#include "remote/types.h"
#include "wire/frame.h"
#include "wire/payload.h"

// What one input is, so that views can be checked.
struct input {
    const uint8_t *data;
    size_t size;
    struct types_in types;
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
    struct input input = {.data = data, .size = size};
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
    return 0;
}
