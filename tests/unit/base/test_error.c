#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "hark/base.h"

static const int codes[] = {
    HARK_OK,         HARK_EINVAL,   HARK_ENOMEM,     HARK_ETIMEOUT, HARK_ESTOPPED,
    HARK_ENOACTOR,   HARK_ENOREPLY, HARK_ENOHANDLER, HARK_ETYPE,    HARK_ENONODE,
    HARK_ENONAME,    HARK_EEXIST,   HARK_ELIMIT,     HARK_EPROTO,   HARK_EENDPOINT,
    HARK_ECANCELLED, HARK_ESTALE,   HARK_ENOASK,     HARK_ENOTSUP,  HARK_EDECODE,
    HARK_ETOOBIG,
};

enum { CODES = sizeof codes / sizeof codes[0] };

static void
every_code_has_a_name_and_a_text_of_its_own(void **state)
{
    (void)state;
    for (size_t i = 0; i < CODES; i++) {
        assert_string_not_equal(hark_err_name(codes[i]), "HARK_?");
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(hark_err_name(codes[i]), hark_err_name(codes[j]));
            assert_string_not_equal(hark_err_text(codes[i]), hark_err_text(codes[j]));
        }
    }
}

static void
names_and_texts_say_what_the_code_is(void **state)
{
    (void)state;
    assert_string_equal(hark_err_name(HARK_ETIMEOUT), "HARK_ETIMEOUT");
    assert_string_equal(hark_err_text(HARK_ETIMEOUT), "timed out");
    assert_string_equal(hark_err_name(HARK_OK), "HARK_OK");
}

static void
an_applications_own_codes_share_one_name(void **state)
{
    (void)state;
    assert_string_equal(hark_err_name(HARK_EUSER), "HARK_EUSER");
    assert_string_equal(hark_err_name(HARK_EUSER + 77), "HARK_EUSER");
    assert_string_equal(hark_err_name(INT32_MAX), "HARK_EUSER");
}

static void
an_unknown_code_still_has_a_name_and_a_text(void **state)
{
    (void)state;
    assert_string_equal(hark_err_name(HARK_EUSER - 1), "HARK_?");
    assert_string_equal(hark_err_name(-5), "HARK_?");
    assert_string_equal(hark_err_text(INT32_MIN), "unknown error");
}

static void
every_stage_has_a_name(void **state)
{
    (void)state;
    assert_string_equal(hark_stage_name(HARK_STAGE_NOT_SENT), "not sent");
    assert_string_equal(hark_stage_name(HARK_STAGE_SENT), "sent");
    assert_string_equal(hark_stage_name(HARK_STAGE_QUEUED), "queued");
    assert_string_equal(hark_stage_name(HARK_STAGE_RUNNING), "running");
    assert_string_equal(hark_stage_name(HARK_STAGE_REPLY_LOST), "reply lost");
    assert_string_equal(hark_stage_name((hark_stage)99), "unknown");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_a_name_and_a_text_of_its_own),
        cmocka_unit_test(names_and_texts_say_what_the_code_is),
        cmocka_unit_test(an_applications_own_codes_share_one_name),
        cmocka_unit_test(an_unknown_code_still_has_a_name_and_a_text),
        cmocka_unit_test(every_stage_has_a_name),
    };
    return cmocka_run_group_tests_name("base/error", tests, NULL, NULL);
}
