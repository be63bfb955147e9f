// Letters: who wants to hear of dead letters. Any thread; locked.

#ifndef ACTOR_LETTERS_H
#define ACTOR_LETTERS_H

#include "hark/actor.h"

enum { LETTERS_SUBSCRIBERS = 16 };

struct letters;

// NULL: no memory.
struct letters *hark__letters_new(void);
void hark__letters_free(struct letters *letters);

// HARK_ELIMIT. Subscribing twice is once.
HARK_CHECKED hark_err hark__letters_add(struct letters *letters, hark_ref subscriber);
void hark__letters_remove(struct letters *letters, hark_ref subscriber);
// Cheap.
bool hark__letters_wanted(struct letters *letters);
// Copies them to out (of LETTERS_SUBSCRIBERS). Returns how many.
unsigned hark__letters_read(struct letters *letters, hark_ref *out);

#endif // ACTOR_LETTERS_H
