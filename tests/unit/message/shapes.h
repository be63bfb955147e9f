// The messages that the tests of message and wire use: one of every form of field.

#ifndef TESTS_SHAPES_H
#define TESTS_SHAPES_H

#include <hark/message.h>

HARK_MESSAGE(get_balance)
HARK_MESSAGE(deposit, (i64, amount), (str, memo))
HARK_MESSAGE(point, (f64, x), (f64, y))
HARK_MESSAGE(line, (message, point, from), (message, point, to), (u8, width))
HARK_MESSAGE(drawing, (str, title), (message, point, origin),
             (list, message, point, outline), (list, message, deposit, costs),
             (message, deposit, price))
HARK_MESSAGE(numbers, (bool, b), (i8, s8), (i16, s16), (i32, s32), (i64, s64), (u8, n8),
             (u16, n16), (u32, n32), (u64, n64), (f32, f), (f64, d), (ref, who))
HARK_MESSAGE(lists, (list, bool, b), (list, i8, s8), (list, i16, s16), (list, i32, s32),
             (list, i64, s64), (list, u8, n8), (list, u16, n16), (list, u32, n32),
             (list, u64, n64), (list, f32, f), (list, f64, d), (list, ref, who),
             (list, str, names), (list, bytes, parts))
HARK_MESSAGE(blob, (bytes, data), (str, name))
HARK_MESSAGE(album, (list, message, blob, blobs), (message, blob, cover))

#endif // TESTS_SHAPES_H
