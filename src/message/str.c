#include <string.h>

#include "hark/message.h"

hark_str
hark_str_of(const char *text)
{
    return text != NULL ? (hark_str){text, strlen(text)} : (hark_str){"", 0};
}

bool
hark_str_equal(hark_str a, hark_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
