// Worker: a process that counts words for a coordinator on another node.

#ifndef WORDCOUNT_WORKER_H
#define WORDCOUNT_WORKER_H

// `wordcount worker ENDPOINT INDEX`: works until the coordinator is gone. Returns the
// exit status.
int worker_main(const char *endpoint, const char *index);

#endif // WORDCOUNT_WORKER_H
