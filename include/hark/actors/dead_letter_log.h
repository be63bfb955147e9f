// hark/actors/dead_letter_log.h - a stock actor that writes dead letters to a file.
//
// One line each, and no more than so many a second; what is left out is counted in a
// line of its own. It uses no clock and no timer while there is nothing to write.

#ifndef HARK_ACTORS_DEAD_LETTER_LOG_H
#define HARK_ACTORS_DEAD_LETTER_LOG_H

#include <stdio.h>

#include <hark/actor.h>

HARK_BEGIN_DECLS

// How a log is set up. All zero is a good default.
typedef struct hark_dead_letter_log_options {
    FILE *out; // NULL: stderr. Borrowed until the actor has ended; it is flushed, and
               // never closed
    const char *prefix;      // of each line, such as "bank: "; NULL: none. Borrowed
                             // likewise
    uint32_t lines_a_second; // 0: 10
} hark_dead_letter_log_options;

// Spawns the actor and subscribes it to the dead letters of ctx's system. options may
// be NULL. A null ref on error, with the reason in hark_error_of(ctx): as
// hark_spawn_value, or HARK_ELIMIT: too many subscribers. Letters that come faster than
// it can take them are still counted in hark_stats. It ends with the system, or by
// hark_actor_stop.
//
//     dead letter: HARK_ENOACTOR: no such actor: to account<3f9a.17.4>: deposit{...}
//     ... and 12 more dead letters
HARK_API hark_ref hark_dead_letter_log(hark_ctx *ctx,
                                       const hark_dead_letter_log_options *options);

HARK_END_DECLS

#endif // HARK_ACTORS_DEAD_LETTER_LOG_H
