// Coordinator: the actor that hands out chunks and adds up what comes back.

#ifndef WORDCOUNT_COORDINATOR_H
#define WORDCOUNT_COORDINATOR_H

#include <hark/hark.h>

#include "job.h"

// Borrows job until the actor has ended. A null ref on error: hark_error_of(ctx).
hark_ref coordinator_spawn(hark_ctx *ctx, struct job *job);

#endif // WORDCOUNT_COORDINATOR_H
