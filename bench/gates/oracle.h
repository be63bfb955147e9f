// oracle.h - an actor that answers: what `ask`, `await` and `step` ask.

#ifndef BENCH_GATES_ORACLE_H
#define BENCH_GATES_ORACLE_H

#include "gate.h"

HARK_MESSAGE(question, (i64, value))
HARK_MESSAGE(answer, (i64, value))

typedef struct {
    int64_t answered;
} oracle;

HARK_ON(oracle, question) {
    hark_reply(ctx, answer, .value = msg->value + 1);
}

HARK_ACTOR(oracle, question)

#endif // BENCH_GATES_ORACLE_H
