// hark/detail/message_macros.h - what HARK_MESSAGE expands to. Include hark/message.h.
//
// Each field is a tuple, told apart by its length:
//
//     2   (kind, name)
//     3   (list, kind, name)   (message, T, name)
//     4   (list, message, T, name)
//
// An unknown kind ends in a type that does not exist, and so in a readable error:
// "unknown type name 'hark_kind_i63'; did you mean 'hark_kind_i64'?".

#ifndef HARK_DETAIL_MESSAGE_MACROS_H
#define HARK_DETAIL_MESSAGE_MACROS_H

#include <hark/detail/map.h>

// The C type of each kind.
typedef bool hark_kind_bool;
typedef int8_t hark_kind_i8;
typedef int16_t hark_kind_i16;
typedef int32_t hark_kind_i32;
typedef int64_t hark_kind_i64;
typedef uint8_t hark_kind_u8;
typedef uint16_t hark_kind_u16;
typedef uint32_t hark_kind_u32;
typedef uint64_t hark_kind_u64;
typedef float hark_kind_f32;
typedef double hark_kind_f64;
typedef hark_ref hark_kind_ref;
typedef hark_str hark_kind_str;
typedef hark_bytes hark_kind_bytes;

// In C `bool` is a macro, so a field of that kind arrives here as `_Bool`.
typedef bool hark_kind__Bool;
typedef hark_list_bool hark_list__Bool;
#define HARK_KIND__Bool HARK_KIND_bool

// clang-format off
#define HARK_MESSAGE(...)                                                              \
    HARK_MESSAGE_(HARK_PP_FIRST(__VA_ARGS__), HARK_PP_COUNT_REST(__VA_ARGS__),         \
                  HARK_PP_IS_ALONE(__VA_ARGS__), __VA_ARGS__)

#define HARK_MESSAGE_(m, n, is_alone, ...)                                             \
    HARK_MESSAGE_BODY_(m, n, HARK_PP_CAT(HARK_UNIT_, is_alone), __VA_ARGS__)

// The table's last row is never read; it keeps a table without fields well-formed.
#define HARK_MESSAGE_BODY_(m, n, unit, ...)                                            \
    typedef struct m {                                                                 \
        HARK_PP_EACH(HARK_FIELD_MEMBER_, __VA_ARGS__) unit                             \
    } m;                                                                               \
    typedef struct hark_list_##m {                                                     \
        const m *items;                                                                \
        size_t count;                                                                  \
    } hark_list_##m;                                                                   \
    enum { m##_is_flat_ = 1 HARK_PP_EACH(HARK_FIELD_FLAT_, __VA_ARGS__) };             \
    HARK_BEGIN_DECLS                                                                   \
    extern const hark_type m##_type __attribute__((weak, visibility("default")));      \
    HARK_END_DECLS                                                                     \
    static const hark_field m##_fields_[] = {                                          \
        HARK_PP_EACH(HARK_FIELD_ROW_, __VA_ARGS__){NULL, 0, 0, 0, NULL}};              \
    const hark_type m##_type = {#m, sizeof(m), n, m##_is_flat_, m##_fields_};          \
    static const hark_type *const m##_entry_                                           \
        __attribute__((section("hark_types"), used)) = &m##_type;

// C has no struct without a member.
#define HARK_UNIT_1 char unit_ HARK_ZERO_;
#define HARK_UNIT_0

// Takes a tuple apart: HARK_FIELD_(what, m, (a, b)) gives what##2_(m, a, b).
#define HARK_FIELD_(what, m, tuple)                                                    \
    HARK_FIELD_BY_LENGTH_(what, HARK_FIELD_LENGTH_ tuple, m, HARK_FIELD_ITEMS_ tuple)
#define HARK_FIELD_BY_LENGTH_(what, length, ...)                                       \
    HARK_FIELD_DISPATCH_(what, length, __VA_ARGS__)
#define HARK_FIELD_DISPATCH_(what, length, ...) what##length##_(__VA_ARGS__)
#define HARK_FIELD_LENGTH_(...) HARK_FIELD_SELECT_(__VA_ARGS__, 4, 3, 2, 1, ~)
#define HARK_FIELD_SELECT_(_1, _2, _3, _4, n, ...) n
#define HARK_FIELD_ITEMS_(...) __VA_ARGS__

// The member of the struct.
#define HARK_FIELD_MEMBER_(m, tuple) HARK_FIELD_(HARK_MEMBER_, m, tuple)
#define HARK_MEMBER_2_(m, kind, name) hark_kind_##kind name HARK_ZERO_;
#define HARK_MEMBER_3_(m, shape, of, name) HARK_MEMBER_3_##shape##_(of, name)
#define HARK_MEMBER_3_list_(kind, name) hark_list_##kind name HARK_ZERO_;
#define HARK_MEMBER_3_message_(T, name) T name HARK_ZERO_;
#define HARK_MEMBER_4_(m, list, message, T, name)                                      \
    HARK_MEMBER_4_##list##_##message##_(T, name)
#define HARK_MEMBER_4_list_message_(T, name) hark_list_##T name HARK_ZERO_;

// The row of the field table.
#define HARK_FIELD_ROW_(m, tuple) HARK_FIELD_(HARK_ROW_, m, tuple)
#define HARK_ROW_2_(m, kind, name)                                                     \
    {#name, HARK_KIND_##kind, 0, offsetof(m, name), NULL},
#define HARK_ROW_3_(m, shape, of, name) HARK_ROW_3_##shape##_(m, of, name)
#define HARK_ROW_3_list_(m, kind, name)                                                \
    {#name, HARK_KIND_list, HARK_KIND_##kind, offsetof(m, name), NULL},
#define HARK_ROW_3_message_(m, T, name)                                                \
    {#name, HARK_KIND_message, 0, offsetof(m, name), &T##_type},
#define HARK_ROW_4_(m, list, message, T, name)                                         \
    {#name, HARK_KIND_list, HARK_KIND_message, offsetof(m, name), &T##_type},

// `&& true` or `&& false`: does the field stay inside the struct?
#define HARK_FIELD_FLAT_(m, tuple) &&HARK_FIELD_(HARK_FLAT_, m, tuple)
#define HARK_FLAT_2_(m, kind, name) (HARK_KIND_##kind < HARK_KIND_str)
#define HARK_FLAT_3_(m, shape, of, name) HARK_FLAT_3_##shape##_(of)
#define HARK_FLAT_3_list_(kind) 0
#define HARK_FLAT_3_message_(T) T##_is_flat_
#define HARK_FLAT_4_(m, list, message, T, name) 0

// clang-format on

#endif // HARK_DETAIL_MESSAGE_MACROS_H
