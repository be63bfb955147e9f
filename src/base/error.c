#include "hark/base.h"

struct error_row {
    int code;
    const char *name;
    const char *text;
};

#define ROW(code, text)                                                                \
    {                                                                                  \
        code, #code, text                                                              \
    }

static const struct error_row rows[] = {
    ROW(HARK_OK, "success"),
    ROW(HARK_EINVAL, "invalid argument"),
    ROW(HARK_ENOMEM, "out of memory"),
    ROW(HARK_ETIMEOUT, "timed out"),
    ROW(HARK_ESTOPPED, "stopped"),
    ROW(HARK_ENOACTOR, "no such actor"),
    ROW(HARK_ENOREPLY, "handler returned without answering"),
    ROW(HARK_ENOHANDLER, "no handler for this message"),
    ROW(HARK_ETYPE, "message type unknown or different"),
    ROW(HARK_ENONODE, "node unknown or down"),
    ROW(HARK_ENONAME, "no actor of that name"),
    ROW(HARK_EEXIST, "already taken"),
    ROW(HARK_ELIMIT, "limit reached"),
    ROW(HARK_EPROTO, "protocol error"),
    ROW(HARK_EENDPOINT, "endpoint malformed or unusable"),
    ROW(HARK_ECANCELLED, "cancelled"),
    ROW(HARK_ESTALE, "future or promise has ended or is not yours"),
    ROW(HARK_ENOASK, "nobody asked"),
    ROW(HARK_ENOTSUP, "not possible here"),
    ROW(HARK_EDECODE, "malformed message"),
    ROW(HARK_ETOOBIG, "message too large"),
    ROW(HARK_EDEADLK, "handlers wait for each other"),
    ROW(HARK_EEND, "end of the stream"),
    ROW(HARK_EAGAIN, "no room now"),
};

static const struct error_row unknown = {0, "HARK_?", "unknown error"};
static const struct error_row user = ROW(HARK_EUSER, "refused");

static const struct error_row *
find(int code)
{
    if (code >= HARK_EUSER) {
        return &user;
    }
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].code == code) {
            return &rows[i];
        }
    }
    return &unknown;
}

const char *
hark_err_name(int code)
{
    return find(code)->name;
}

const char *
hark_err_text(int code)
{
    return find(code)->text;
}

const char *
hark_stage_name(hark_stage stage)
{
    static const char *const names[] = {"not sent", "sent", "queued", "running",
                                        "reply lost"};

    return (unsigned)stage < sizeof names / sizeof names[0] ? names[stage] : "unknown";
}
