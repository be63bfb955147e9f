// A field's kind is one of those that the wire knows.
// expect: unknown type name 'hark_kind_i63'

#include <hark/message.h>

#ifdef FIXED
HARK_MESSAGE(deposit, (i64, amount))
#else
HARK_MESSAGE(deposit, (i63, amount))
#endif
