// How src/sched/park.c lets a worker that has nothing to do wait in the idler, where
// things come from outside, while others sleep on their futex: doze, unpark, enter_idler,
// park, and find in sched.c. What parking.pml says of searching, rings and timers is left
// out.
//
// A waker owes a token to the worker whose idle bit it got, and must also end its wait,
// which is in one of two places. Token and in_idler are seq_cst on both sides in C: spin
// knows nothing weaker. The wait on the futex compares and sleeps in one step, and wakes
// only by a call.
//
// A turn may be long: it lasts until `noon`, when all that can move has moved.
//
// Checked: nobody sleeps with a task of its own, or while a task is there for all, or in
// the idler while something is there; at the end all has run, and stop ends every worker.
//
// also: -DTHINGS=2 -DINJECT=0
// also: -DLATE -DINJECT=0
// BUG_WAIT_IN_WAKES_NOBODY needs: -DLATE -DINJECT=0

#define WORKERS 2
#ifndef THINGS
#define THINGS 1 // from outside
#endif
#ifndef INJECT
#define INJECT 1 // tasks from other threads
#endif

byte there;           // in the idler's world, to be polled
byte injected;
byte next[WORKERS];   // tasks of a worker's own
bool idle[WORKERS], token[WORKERS], in_idler[WORKERS];
bool on_futex[WORKERS]; // sleeps until a wake
bool waits[WORKERS];    // ghost: in the idler
bool used, unwait, stopping, noon;
byte user; // the last one that was in the idler
#ifdef LATE
bool has_idler;
#else
bool has_idler = true;
#endif
byte ran, coming, gone;

inline unpark(i)
{
    atomic { got_bit = idle[i]; idle[i] = false }
    if
    :: got_bit ->
#ifdef BUG_WAKER_LOOKS_FIRST
        inside = in_idler[i];
        token[i] = true;
#else
        token[i] = true;
        inside = in_idler[i];
#endif
#ifdef BUG_WAKES_THE_FUTEX_ONLY
        inside = false;
#endif
        if
        :: inside -> unwait = true
        :: else -> on_futex[i] = false
        fi
    :: else
    fi;
    inside = false
}

inline wake_one()
{
    do
    ::  atomic {
            if
            :: idle[0] -> victim = 0
            :: !idle[0] && idle[1] -> victim = 1
            :: else -> break
            fi
        }
        unpark(victim);
        if
        :: got_bit -> break
        :: else
        fi
    od;
    atomic { got_bit = false; victim = 0 }
}

proctype producer()
{
    byte n, victim;
    bool got_bit, inside;

    do
    :: n < INJECT -> n++; injected++; wake_one()
    :: else -> break
    od;
    coming--
}

proctype outside()
{
    byte n, victim;
    bool got_bit, inside;

#ifdef LATE
    has_idler = true;
#ifndef BUG_WAIT_IN_WAKES_NOBODY
    unpark(0);
    unpark(1);
#endif
#endif
    do
    :: n < THINGS -> n++; there++
    :: else -> break
    od;
    coming--
}

inline enter()
{
    atomic {
        entered = has_idler && !used;
        used = used || entered;
#ifndef BUG_KEPT_FOR_ONE_WHO_DOES_NOT_COME
        user = (entered -> me : user)
#endif
    }
}

inline poll_and_leave()
{
    atomic { next[me] = next[me] + there; there = 0 }
    used = false
}

inline take(queue)
{
    atomic {
        if
        :: queue > 0 -> queue--; got = true
        :: else
        fi
    }
}

inline take_own()
{
    if
    :: !got -> take(next[me])
    :: else
    fi
}

inline find()
{
    take_own();
    if
    :: !got ->
        enter();
        if
        :: entered -> poll_and_leave()
        :: else
        fi;
        entered = false;
        take(injected)
    :: else
    fi;
#ifndef BUG_NO_LOOK_AT_WHAT_A_LOOK_BROUGHT
    take_own()
#endif
}

inline futex_wait()
{
    atomic {
        if
        :: !token[me] -> on_futex[me] = true
        :: else
        fi
    }
    !on_futex[me]
}

// May leave the idler to who was in it and is in a turn; never for ever, in C.
inline doze()
{
    if
    :: user != me -> skip
    :: enter()
    fi;
    if
    :: entered ->
#ifdef BUG_TOKEN_BEFORE_IN_IDLER
        if
        :: token[me] -> skip_it = true
        :: else
        fi;
        in_idler[me] = true;
#else
        in_idler[me] = true;
        skip_it = token[me];
#endif
        if
        :: !skip_it ->
            atomic {
                waits[me] = true;
                (unwait || there > 0);
                waits[me] = false;
                unwait = false;
                came = there > 0
            }
        :: else
        fi;
        in_idler[me] = false;
#ifndef BUG_THE_IDLER_IS_KEPT
        if
        :: !came -> used = false
        :: else
        fi;
#endif
        skip_it = false;
        entered = false
    :: else -> futex_wait()
    fi
}

inline park_once()
{
    idle[me] = true;
    if
    :: injected > 0 || stopping -> woken = true
    :: else ->
        do
        :: !token[me] && !came -> doze()
        :: else -> break
        od
    fi;
    atomic { got_bit = idle[me]; idle[me] = false }
    if
    :: got_bit
    :: else ->
        do
        :: !token[me] -> futex_wait()
        :: else -> break
        od;
        token[me] = false;
        woken = true
    fi;
    got_bit = false;
    if
    :: came -> poll_and_leave(); came = false
    :: else
    fi
}

inline park()
{
    do
    ::  park_once();
#ifndef BUG_SLEEPS_ON_WHAT_CAME
        if
        :: next[me] > 0 -> break
        :: else
        fi;
#endif
        if
        :: woken -> break
        :: else
        fi
    od;
#ifndef BUG_KEEPS_A_WAKE_FOR_ITSELF
    if
    :: woken && next[me] > 0 -> wake_one()
    :: else
    fi;
#endif
    woken = false
}

proctype worker(byte me)
{
    byte victim;
    bool got, got_bit, inside, entered, came, woken, skip_it;

    do
    ::  if
        :: stopping -> break
        :: else
        fi;
        find();
        if
        :: got ->
            got = false;
            if
            :: true // a short turn
            :: true -> noon
            fi;
            ran++
        :: else -> park()
        fi
    od;
    gone++
}

#define SLEEPS(i) (on_futex[i] || waits[i])

init {
    byte victim;
    bool got_bit, inside;

    atomic {
        coming = 2;
        run worker(0);
        run worker(1);
        run producer();
        run outside()
    }
    timeout;
    assert(coming == 0);
    assert(!(SLEEPS(0) && next[0] > 0) && !(SLEEPS(1) && next[1] > 0));
    assert(!((SLEEPS(0) || SLEEPS(1)) && injected > 0));
    assert(!((waits[0] || waits[1]) && there > 0));
    noon = true;
    timeout;
    assert(ran == THINGS + INJECT && there == 0);
    stopping = true;
    unpark(0);
    unpark(1);
    gone == WORKERS
}
