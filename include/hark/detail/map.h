// hark/detail/map.h - preprocessor helpers behind hark's macros. Not for direct use.
//
// C11 forbids an empty `...` under -Wpedantic. So every macro here takes its first item
// inside the `...` too: HARK_PP_EACH(f, ctx) with no items behind ctx is well-formed.

#ifndef HARK_DETAIL_MAP_H
#define HARK_DETAIL_MAP_H

// clang-format off
#define HARK_PP_CAT_(a, b) a##b
#define HARK_PP_CAT(a, b) HARK_PP_CAT_(a, b)

// The first of one or more arguments.
#define HARK_PP_FIRST(...) HARK_PP_FIRST_(__VA_ARGS__, )
#define HARK_PP_FIRST_(first, ...) first

// What stands behind the first of two or more arguments.
#define HARK_PP_REST(...) HARK_PP_REST_(__VA_ARGS__)
#define HARK_PP_REST_(first, ...) __VA_ARGS__

// The 65th argument, of at least 66.
#define HARK_PP_SELECT_(                                                               \
    _1, _2, _3, _4, _5, _6, _7, _8, _9, _10, _11, _12, _13, _14, _15, _16, _17, _18,   \
    _19, _20, _21, _22, _23, _24, _25, _26, _27, _28, _29, _30, _31, _32, _33, _34,    \
    _35, _36, _37, _38, _39, _40, _41, _42, _43, _44, _45, _46, _47, _48, _49, _50,    \
    _51, _52, _53, _54, _55, _56, _57, _58, _59, _60, _61, _62, _63, _64, n, ...) n

// How many arguments stand behind the first: 0 to 32, else the word more_than_32.
#define HARK_PP_COUNT_REST(...)                                                        \
    HARK_PP_SELECT_(__VA_ARGS__,                                                       \
        more_than_32, more_than_32, more_than_32, more_than_32, more_than_32,          \
        more_than_32, more_than_32, more_than_32, more_than_32, more_than_32,          \
        more_than_32, more_than_32, more_than_32, more_than_32, more_than_32,          \
        more_than_32, more_than_32, more_than_32, more_than_32, more_than_32,          \
        more_than_32, more_than_32, more_than_32, more_than_32, more_than_32,          \
        more_than_32, more_than_32, more_than_32, more_than_32, more_than_32,          \
        more_than_32, 32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18,      \
        17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, ~)

// 1 if there is one argument, 0 if there are more (up to 64).
#define HARK_PP_IS_ALONE(...)                                                          \
    HARK_PP_SELECT_(__VA_ARGS__,                                                       \
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,     \
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,     \
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, ~)

// HARK_PP_EACH(f, ctx, a, b, ...) gives f(ctx, a) f(ctx, b) ...: for 0 to 32 items.
#define HARK_PP_EACH(f, ...)                                                           \
    HARK_PP_CAT(HARK_PP_EACH_, HARK_PP_COUNT_REST(__VA_ARGS__))(f, __VA_ARGS__)
#define HARK_PP_EACH_0(f, c)
#define HARK_PP_EACH_1(f, c, a) f(c, a)
#define HARK_PP_EACH_2(f, c, a, ...) f(c, a) HARK_PP_EACH_1(f, c, __VA_ARGS__)
#define HARK_PP_EACH_3(f, c, a, ...) f(c, a) HARK_PP_EACH_2(f, c, __VA_ARGS__)
#define HARK_PP_EACH_4(f, c, a, ...) f(c, a) HARK_PP_EACH_3(f, c, __VA_ARGS__)
#define HARK_PP_EACH_5(f, c, a, ...) f(c, a) HARK_PP_EACH_4(f, c, __VA_ARGS__)
#define HARK_PP_EACH_6(f, c, a, ...) f(c, a) HARK_PP_EACH_5(f, c, __VA_ARGS__)
#define HARK_PP_EACH_7(f, c, a, ...) f(c, a) HARK_PP_EACH_6(f, c, __VA_ARGS__)
#define HARK_PP_EACH_8(f, c, a, ...) f(c, a) HARK_PP_EACH_7(f, c, __VA_ARGS__)
#define HARK_PP_EACH_9(f, c, a, ...) f(c, a) HARK_PP_EACH_8(f, c, __VA_ARGS__)
#define HARK_PP_EACH_10(f, c, a, ...) f(c, a) HARK_PP_EACH_9(f, c, __VA_ARGS__)
#define HARK_PP_EACH_11(f, c, a, ...) f(c, a) HARK_PP_EACH_10(f, c, __VA_ARGS__)
#define HARK_PP_EACH_12(f, c, a, ...) f(c, a) HARK_PP_EACH_11(f, c, __VA_ARGS__)
#define HARK_PP_EACH_13(f, c, a, ...) f(c, a) HARK_PP_EACH_12(f, c, __VA_ARGS__)
#define HARK_PP_EACH_14(f, c, a, ...) f(c, a) HARK_PP_EACH_13(f, c, __VA_ARGS__)
#define HARK_PP_EACH_15(f, c, a, ...) f(c, a) HARK_PP_EACH_14(f, c, __VA_ARGS__)
#define HARK_PP_EACH_16(f, c, a, ...) f(c, a) HARK_PP_EACH_15(f, c, __VA_ARGS__)
#define HARK_PP_EACH_17(f, c, a, ...) f(c, a) HARK_PP_EACH_16(f, c, __VA_ARGS__)
#define HARK_PP_EACH_18(f, c, a, ...) f(c, a) HARK_PP_EACH_17(f, c, __VA_ARGS__)
#define HARK_PP_EACH_19(f, c, a, ...) f(c, a) HARK_PP_EACH_18(f, c, __VA_ARGS__)
#define HARK_PP_EACH_20(f, c, a, ...) f(c, a) HARK_PP_EACH_19(f, c, __VA_ARGS__)
#define HARK_PP_EACH_21(f, c, a, ...) f(c, a) HARK_PP_EACH_20(f, c, __VA_ARGS__)
#define HARK_PP_EACH_22(f, c, a, ...) f(c, a) HARK_PP_EACH_21(f, c, __VA_ARGS__)
#define HARK_PP_EACH_23(f, c, a, ...) f(c, a) HARK_PP_EACH_22(f, c, __VA_ARGS__)
#define HARK_PP_EACH_24(f, c, a, ...) f(c, a) HARK_PP_EACH_23(f, c, __VA_ARGS__)
#define HARK_PP_EACH_25(f, c, a, ...) f(c, a) HARK_PP_EACH_24(f, c, __VA_ARGS__)
#define HARK_PP_EACH_26(f, c, a, ...) f(c, a) HARK_PP_EACH_25(f, c, __VA_ARGS__)
#define HARK_PP_EACH_27(f, c, a, ...) f(c, a) HARK_PP_EACH_26(f, c, __VA_ARGS__)
#define HARK_PP_EACH_28(f, c, a, ...) f(c, a) HARK_PP_EACH_27(f, c, __VA_ARGS__)
#define HARK_PP_EACH_29(f, c, a, ...) f(c, a) HARK_PP_EACH_28(f, c, __VA_ARGS__)
#define HARK_PP_EACH_30(f, c, a, ...) f(c, a) HARK_PP_EACH_29(f, c, __VA_ARGS__)
#define HARK_PP_EACH_31(f, c, a, ...) f(c, a) HARK_PP_EACH_30(f, c, __VA_ARGS__)
#define HARK_PP_EACH_32(f, c, a, ...) f(c, a) HARK_PP_EACH_31(f, c, __VA_ARGS__)

// (a, b) becomes a, b.
#define HARK_PP_UNPAREN(...) __VA_ARGS__

// HARK_INIT_(T){...} makes a value of type T in both languages.
//
// HARK_VALUE_(T, initialiser...) gives a `const void *` to a temporary T; what is not
// named is zero, and there may be no initialiser at all. The comma put behind the last
// argument is what makes that work for any number of them: it ends the initialisers, or
// leaves them empty. In C the temporary lives until the enclosing block ends, in C++
// until the full expression does.
//
// HARK_ZERO_ stands behind a member's name: without it g++ warns of each member that an
// initialiser leaves out.
//
// HARK_FORWARD_ declares a constant that HARK_STATIC_ defines further down. C has
// tentative definitions for that. C++ has not; but there a constant is static by itself
// unless it was declared as extern, which an unnamed namespace makes as good as static.
#ifdef __cplusplus

#define HARK_INIT_(T) T
#define HARK_ZERO_ {}
#define HARK_FORWARD_ extern
#define HARK_STATIC_
#define HARK_VALUE_T_(T, ...) (::hark_detail::address_of(T{__VA_ARGS__}))

extern "C++" {
namespace hark_detail {

template <class T>
inline const void *
address_of(const T &temporary)
{
    return &temporary;
}

} // namespace hark_detail
}

#else

#define HARK_INIT_(T) (T)
#define HARK_ZERO_
#define HARK_FORWARD_ static
#define HARK_STATIC_ static
#define HARK_VALUE_T_(T, ...) (__extension__(const void *) & (T){__VA_ARGS__})

#endif

#define HARK_VALUE_(...) HARK_VALUE_T_(__VA_ARGS__, )

// HARK_TYPE_(m, anything...) gives `&m_type`, m's descriptor.
#define HARK_TYPE_(...) (&HARK_PP_CAT(HARK_PP_FIRST(__VA_ARGS__), _type))

// HARK_BEHAVIOR_(actor, anything...) gives `&actor_behavior`.
#define HARK_BEHAVIOR_(...) (&HARK_PP_CAT(HARK_PP_FIRST(__VA_ARGS__), _behavior))

// clang-format on

#endif // HARK_DETAIL_MAP_H
