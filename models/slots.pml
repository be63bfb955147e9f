// The memory of a chunk of slots goes and comes back (src/actor/slot_trim.c, surplus.c,
// send.c): here a chunk of one slot, with its mailbox, which two workers and a thread
// that is no worker push to, by the refs of whoever lived there.
//
// The mailbox itself is mailbox.pml's affair: a push is an exchange that tells whether
// it was idle, and then a link; the reader takes what is linked, and sleeps only when
// nothing was pushed. What is done under the table's lock is atomic.
//
// The thread says when it is at a slot by plain stores, which arrive late: its store
// buffer is written out, and the trimmer's barrier empties it, as in next.pml. Workers
// say nothing, and pass a point between two turns when a round has begun.
//
// Checked: nobody pushes to memory that is going or gone; no message goes with it; each
// is looked at by whom it was for, or is a dead letter; nobody is born with a generation
// that somebody had; a slot is not scheduled twice, or while it is gone.

// also: -DTHREAD_SENDS=2 -DTRIMS=1
// also: -DBIRTHS=3
// BUG_CLOSES_BEFORE_IT_RETIRES needs: -DTHREAD_SENDS=2

#ifndef BIRTHS
#define BIRTHS 2
#endif
#ifndef SENDS
#define SENDS 1 // of one of the workers
#endif
#ifndef THREAD_SENDS
#define THREAD_SENDS 1
#endif
#ifndef TRIMS
#define TRIMS 2
#endif

#define THREAD 2 // as a sender; 0 and 1 are workers
#define ROOM 3   // messages at once, at most

// The chunk.
#define TAKEN 0 // lived in, or in somebody's hand
#define FREE 1  // in the list
#define RETIRING 2
#define GOING 3
#define GONE 4
byte state = FREE;
byte saved; // generation while it is gone

// The slot. Zeros are what a page that is gone reads as.
byte generation; // odd: somebody lives here
bool idle = true;
byte box[ROOM];    // whom messages are for, oldest first,
byte from[ROOM];   // whose they are,
bool linked[ROOM]; // and whether they can be reached
byte pushed;

bool scheduled; // in a run queue
bool running;   // ghost: somebody has its turn

byte newest; // ref that others have; odd, 0: none
byte births;
byte round, passed[2];

// The thread's announcement, in memory, and its store buffer.
byte calls;
byte buffer[2];
byte stored;

byte sent, looked_at, dead_letters; // ghosts

inline arrive()
{
    calls = buffer[0];
    buffer[0] = buffer[1];
    buffer[1] = 0;
    stored--
}

proctype memory()
{
end:
    do
    :: atomic { stored > 0 -> arrive() }
    od
}

inline schedule()
{
    atomic {
        assert(!scheduled && !running);
        assert(state != GONE);
        scheduled = true
    }
}

// Sends to a ref that somebody has, or had.
inline push(me)
{
    seen = generation;
    if
    :: seen != ref -> dead_letters++
    :: else ->
        atomic { // the exchange
            assert(state != GOING && state != GONE);
            was_idle = idle;
            idle = false;
            box[pushed] = ref;
            from[pushed] = me;
            pushed++
        }
        atomic { // it may have moved up meanwhile
            i = 0;
            do
            :: from[i] != me || linked[i] -> i++
            :: else -> break
            od;
            linked[i] = true;
            i = 0
        }
        if
        :: was_idle -> schedule()
        :: else
        fi
    fi;
    atomic { seen = 0; was_idle = false; ref = 0 }
}

inline choose_ref()
{
    atomic {
        sent++;
        if
        :: ref = newest
        :: newest > 1 -> ref = newest - 2
        fi
    }
}

// A worker's turn of the slot.
inline turn()
{
    do
    :: atomic { pushed > 0 && linked[0] ->
            if
            :: box[0] == generation -> looked_at++
            :: else -> dead_letters++
            fi;
            box[0] = box[1]; from[0] = from[1]; linked[0] = linked[1];
            box[1] = box[2]; from[1] = from[2]; linked[1] = linked[2];
            box[2] = 0; from[2] = 0; linked[2] = false;
            pushed--
        }
    :: generation % 2 == 1 -> // its end
        generation++;
        atomic { assert(state == TAKEN); state = FREE }
    :: atomic { pushed == 0 ->
            assert(state != GONE && state != GOING);
            running = false; idle = true; break
        }
    :: atomic { pushed > 0 && !linked[0] -> // its sender is at it
            running = false; scheduled = true; break
        }
    od
}

inline birth()
{
    atomic { // claim
        if
        :: idle -> idle = false; mine = true
        :: else -> state = FREE // it is being drained
        fi
    };
    if
    :: mine ->
        atomic {
            generation++;
            assert(generation > newest && generation % 2 == 1);
            newest = generation
        };
        atomic {
            mine = false;
            if
            :: pushed == 0 -> idle = true
            :: else -> assert(!scheduled && !running); scheduled = true
            fi
        }
    :: else
    fi
}

inline come_back()
{
    idle = true;
#ifdef BUG_GENERATIONS_BEGIN_ANEW
    generation = 0;
#else
    generation = saved;
#endif
    state = FREE
}

proctype worker(byte me)
{
    byte ref, seen, sends, i;
    bool was_idle, mine;

end:
    do
    :: atomic { round != passed[me] -> passed[me] = round }
    :: atomic { scheduled -> scheduled = false; running = true }
        turn()
    :: me == 0 && sends < SENDS && newest > 0 -> choose_ref(); sends++; push(me)
    :: atomic { births < BIRTHS && (state == FREE || state == RETIRING) ->
            births++; state = TAKEN
        }
        birth()
    :: atomic { births < BIRTHS && state == GONE -> state = TAKEN }
        come_back()
    od
}

inline say(value)
{
    atomic { stored < 2 -> buffer[stored] = value; stored++ }
}

proctype thread()
{
    byte ref, seen, sends, i;
    bool was_idle;

end:
    do
    :: sends < THREAD_SENDS && newest > 0 ->
        choose_ref();
        sends++;
#ifdef BUG_THREAD_SAYS_NOTHING
        push(THREAD)
#else
#ifdef BUG_THREAD_LEAVES_BEFORE_IT_PUSHES
        say(2 * sends - 1);
        say(2 * sends);
        push(THREAD)
#else
        say(2 * sends - 1);
        push(THREAD);
        say(2 * sends)
#endif
#endif
    od
}

inline barrier()
{
#ifdef BUG_NO_BARRIER
    skip
#else
    atomic {
        do
        :: stored > 0 -> arrive()
        :: else -> break
        od
    }
#endif
}

inline begin_closing()
{
    barrier();
    calls_seen = calls;
    round++
}

proctype trimmer()
{
    byte trims, calls_seen;

end:
    do
    :: trims < TRIMS && state == FREE && births > 0 ->
        trims++;
#ifdef BUG_CLOSES_BEFORE_IT_RETIRES
        begin_closing();
#endif
        atomic {
            if
            :: state == FREE -> state = RETIRING
            :: else
            fi
        };
#ifndef BUG_CLOSES_BEFORE_IT_RETIRES
        begin_closing();
#endif
#ifndef BUG_WORKERS_NEED_NOT_PASS
        passed[0] == round && passed[1] == round;
#endif
        calls_seen % 2 == 0 || calls != calls_seen;
        if
#ifndef BUG_GOES_WITH_MESSAGES
        :: !idle ->
            atomic {
                if
                :: state == RETIRING -> state = FREE
                :: else
                fi
            }
#endif
        :: else ->
            saved = generation;
            atomic {
                if
#ifdef BUG_GOES_THOUGH_TAKEN
                :: true -> state = GOING
#else
                :: state == RETIRING -> state = GOING
                :: else
#endif
                fi
            };
            if
            :: state == GOING ->
                atomic {
                    assert(pushed == 0 && !scheduled && !running);
                    assert(generation % 2 == 0);
                    generation = 0;
                    idle = false
                };
                state = GONE
            :: else
            fi
        fi;
        calls_seen = 0
    od
}

init {
    atomic {
        run memory();
        run worker(0);
        run worker(1);
        run thread();
        run trimmer()
    }
    timeout -> // nobody has anything to do
    assert(pushed == 0 && !scheduled && !running);
    assert(sent == looked_at + dead_letters)
}
