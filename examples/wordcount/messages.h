// What main, the coordinator and the workers say to each other.

#ifndef WORDCOUNT_MESSAGES_H
#define WORDCOUNT_MESSAGES_H

#include <hark/hark.h>

// main asks the coordinator to begin. Answered by finished, or refused when no workers
// are left.
HARK_MESSAGE(run)
HARK_MESSAGE(finished, (u64, words), (u64, chunks), (u64, retried), (u32, lost))

// A worker asks to be given work. There is no answer: the ask ends when the coordinator
// does, and that tells the worker to go home.
HARK_MESSAGE(worker_ready, (ref, worker), (u32, index), (i64, pid))
HARK_MESSAGE(go_home)

// The coordinator asks a worker to count the words of a text.
HARK_MESSAGE(count_chunk, (u64, id), (bytes, text))
HARK_MESSAGE(word_count, (str, word), (u64, count))
HARK_MESSAGE(chunk_counts, (u64, id), (u64, words), (list, message, word_count, counts))

#endif // WORDCOUNT_MESSAGES_H
