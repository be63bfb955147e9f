// hark/message.h - declare messages, build them, print them.
//
// A message is one block of memory with one owner. HARK_MESSAGE declares a struct, its
// field table and its type descriptor. Type descriptors are constant and may be used
// from any thread; a message belongs to one thread at a time.

#ifndef HARK_MESSAGE_H
#define HARK_MESSAGE_H

#include <hark/base.h>
#include <hark/detail/map.h>

HARK_BEGIN_DECLS

// A string: bytes of UTF-8, with a NUL behind them that len does not count once it
// stands in a message. {0} is the empty string; a null ptr with a len is HARK_EINVAL.
typedef struct hark_str {
    const char *ptr;
    size_t len; // bytes
} hark_str;

// A constant: HARK_STR("abc").
// clang-format off
#define HARK_STR(literal) HARK_INIT_(hark_str){("" literal ""), sizeof(literal) - 1}
// clang-format on

// Borrows text, which is NUL-terminated or NULL (the empty string).
HARK_API hark_str hark_str_of(const char *text);

// True if both hold the same bytes.
HARK_API bool hark_str_equal(hark_str a, hark_str b);

// A counted block of bytes that several messages may share. Opaque; any thread.
typedef struct hark_buffer hark_buffer;

// Gives a buffer of size bytes with one reference; NULL if there is no memory.
HARK_CHECKED hark_buffer *hark_buffer_new(size_t size);
// Its bytes: writable until the buffer is first sent.
HARK_API void *hark_buffer_data(hark_buffer *buffer);
// How many they are.
HARK_API size_t hark_buffer_size(const hark_buffer *buffer);
// Shares: adds a reference and returns buffer.
HARK_API hark_buffer *hark_buffer_retain(hark_buffer *buffer);
// Drops one reference; the last one frees. NULL is allowed.
HARK_API void hark_buffer_release(hark_buffer *buffer);

// Bytes; ptr may be NULL when len is 0. With a buffer the bytes are not copied when the
// message is built: the message shares the buffer instead (meant for more than 64 KiB),
// and from 32 KiB on a link sends them from there, too.
// Large bytes of a message from another process may have a buffer too: then they can be
// sent on, or kept with hark_buffer_retain, without a copy. Nobody writes to it.
typedef struct hark_bytes {
    const void *ptr;
    size_t len;          // bytes
    hark_buffer *buffer; // NULL: ptr is copied into the message
} hark_bytes;

// All of a buffer. Borrows it; the message built from the value shares it.
HARK_API hark_bytes hark_bytes_of_buffer(hark_buffer *buffer);

// clang-format off
// Lists of the plain kinds. items may be NULL when count is 0.
typedef struct hark_list_bool { const bool *items; size_t count; } hark_list_bool;
typedef struct hark_list_i8 { const int8_t *items; size_t count; } hark_list_i8;
typedef struct hark_list_i16 { const int16_t *items; size_t count; } hark_list_i16;
typedef struct hark_list_i32 { const int32_t *items; size_t count; } hark_list_i32;
typedef struct hark_list_i64 { const int64_t *items; size_t count; } hark_list_i64;
typedef struct hark_list_u8 { const uint8_t *items; size_t count; } hark_list_u8;
typedef struct hark_list_u16 { const uint16_t *items; size_t count; } hark_list_u16;
typedef struct hark_list_u32 { const uint32_t *items; size_t count; } hark_list_u32;
typedef struct hark_list_u64 { const uint64_t *items; size_t count; } hark_list_u64;
typedef struct hark_list_f32 { const float *items; size_t count; } hark_list_f32;
typedef struct hark_list_f64 { const double *items; size_t count; } hark_list_f64;
typedef struct hark_list_str { const hark_str *items; size_t count; } hark_list_str;
typedef struct hark_list_bytes {
    const hark_bytes *items;
    size_t count;
} hark_list_bytes;
typedef struct hark_list_ref { const hark_ref *items; size_t count; } hark_list_ref;
// The layout that every list has, lists of messages included.
typedef struct hark_list { const void *items; size_t count; } hark_list;
// clang-format on

// What a field holds. The numbers are part of the wire protocol.
typedef enum hark_kind {
    HARK_KIND_bool = 1,
    HARK_KIND_i8 = 2,
    HARK_KIND_i16 = 3,
    HARK_KIND_i32 = 4,
    HARK_KIND_i64 = 5,
    HARK_KIND_u8 = 6,
    HARK_KIND_u16 = 7,
    HARK_KIND_u32 = 8,
    HARK_KIND_u64 = 9,
    HARK_KIND_f32 = 10,
    HARK_KIND_f64 = 11,
    HARK_KIND_ref = 12,
    HARK_KIND_str = 13, // from here on a field points outside the struct
    HARK_KIND_bytes = 14,
    HARK_KIND_message = 15, // a nested message, by value
    HARK_KIND_list = 16,    // of element's kind
} hark_kind;

struct hark_type;

// One field of a message.
typedef struct hark_field {
    const char *name;
    uint8_t kind;                 // hark_kind
    uint8_t element;              // hark_kind of a list's elements, else 0
    uint32_t offset;              // bytes from the start of the struct
    const struct hark_type *type; // of a nested message or of a list's messages
} hark_field;

// A type of message. Static data. Its identity is its name and its fields: descriptors
// at other addresses (in another shared object) with the same content are the same
// type.
typedef struct hark_type {
    const char *name;
    uint32_t size;  // of the struct, bytes
    uint16_t count; // fields
    bool flat;      // no field points outside the struct
    const hark_field *fields;
} hark_type;

// HARK_MESSAGE(name, field...) declares `typedef struct name {...} name`, its type
// `name_type`, and `hark_list_name`, a list of them. At file level, without a semicolon
// behind it (ISO C has no stray semicolons there, and -Wpedantic says so). A field is
// one of
//
//     (i64, amount)              bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64
//                                str bytes ref
//     (list, str, names)         a list of any of these
//     (message, point, origin)   a nested message declared before
//     (list, message, point, outline)
//
// and there may be none, up to 32. Put it in a header that all who use it include.
// A message without fields has one unused byte, since C has no empty struct: its type
// has size 1 and count 0. A program's types are found through the ELF section
// `hark_types`: pointers to types, between __start_hark_types and __stop_hark_types,
// the same type as often as it was included.
// (see hark/detail/message_macros.h)

// A message on its way: header and payload in one block. Opaque.
typedef struct hark_message hark_message;

// Gives a message: value (a struct of that type, everything it points to) is copied
// into one block; buffers are shared. NULL on error, with the reason in
// hark_error_of(ctx): HARK_EINVAL (a null argument, or a field with a length and a null
// pointer), HARK_ETOOBIG (over 4 GiB, or nested deeper than 32), HARK_ENOMEM.
HARK_CHECKED hark_message *hark_message_new(hark_ctx *ctx, const hark_type *type,
                                            const void *value);
// Takes a message that is not sent after all. NULL is allowed.
HARK_API void hark_message_free(hark_ctx *ctx, hark_message *message);
// Its type's descriptor: static data.
HARK_API const hark_type *hark_message_type(const hark_message *message);
// Borrows the payload: a struct of the message's type.
HARK_API const void *hark_message_value(const hark_message *message);
// The payload if the message is of that type, else NULL, as for no message.
HARK_API const void *hark_message_as(const hark_message *message,
                                     const hark_type *type);
// Who sent it; a null ref if nobody can be answered.
HARK_API hark_ref hark_message_sender(const hark_message *message);

// Writes value as text, like `deposit{amount: 42, memo: "x"}`, and ends it with NUL if
// size > 0. Long strings, bytes and lists are cut with `...`. Returns the length that
// the whole text has, as snprintf does. Any thread. Without a value it is the type's
// name alone.
HARK_API size_t hark_print(char *out, size_t size, const hark_type *type,
                           const void *value);

// True if both describe the same message: same name, same fields in the same order (by
// name, kind, element and nested type), same layout.
HARK_API bool hark_type_equal(const hark_type *a, const hark_type *b);

HARK_END_DECLS

#include <hark/detail/message_macros.h>

#endif // HARK_MESSAGE_H
