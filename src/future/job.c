// Job: the user's function that starts work, for retry, hedge and each.

#include "future/combine.h"

bool
hark__work_run(const struct work *work, struct computed *computed, struct input *input,
               size_t index, struct outcome *out_outcome, void *turn)
{
    hark__outcome_begin(out_outcome, computed, input);
    work->job->run(turn, index, work->arg);
    if (!hark__outcome_end(out_outcome, turn)) {
        return false;
    }
    if (out_outcome->kind == OUTCOME_NONE) {
        out_outcome->kind = OUTCOME_FAILURE;
        out_outcome->code = HARK_ENOREPLY;
    }
    return true;
}

void
hark__work_drop(struct work *work)
{
    const hark_job *job = work->job;

    work->job = NULL;
    if (job != NULL && job->drop != NULL) {
        job->drop(work->arg);
    }
}
