// The protocol of src/sched/park.c, of search.c, and of submit in sched.c, by which
// workers sleep and are woken: a producer makes work visible and then looks for a searcher or a
// sleeper; a worker announces itself and then looks for work; a waker that gets a
// worker's idle bit owes it a token; and a timer that is armed from outside wakes a
// worker that sleeps too long for it.
//
// Tasks are counted, not named (ring.pml has their identity). A turn may be long: it
// lasts until the end of the model's first day (see `noon`), so work that waits behind it
// can be told from work that nobody is awake for. The run-next place is left out: it is
// not announced by design, and the watcher, which serves it, only ever wakes by itself.
//
// Checked: when nothing moves any more,
// - no task is visible while a worker sleeps, even if others are in long turns;
// - no timer is due;
// - and after all turns have ended, every task has run, and stop ends every worker.
// A worker's token is never given twice, nor to one that did not lose its bit.
//
// Spin explores sequentially consistent histories only. The pairs that need that (work
// then idle/searching against idle/searching then work; wheel then sleep_until against
// sleep_until then wheel) are seq_cst on both sides in the C code. The rest is weaker:
// - the idle bit is cleared acq_rel: read-modify-writes of one word are in one order, so
//   one of waker and worker gets it;
// - the token is released by the waker and acquired by the worker: what the waker queued
//   is seen; its reset is relaxed, since nobody writes it until the bit is set again;
// - sleep_until back to "awake" is relaxed: who reads the old value claims a bit that is
//   clear already, or wakes a worker for nothing.
//
// also: -DTIMERS=2 -DINJECT=1 -DSPAWN=0
// also: -DWORKERS=3 -DINJECT=1 -DSPAWN=0
// also: -DEARLY_STOP -DINJECT=2 -DSPAWN=1
// BUG_ARM_DOES_NOT_WAKE needs: -DTIMERS=2 -DINJECT=0 -DSPAWN=0
// BUG_ARM_LOOKS_FIRST needs: -DTIMERS=2 -DINJECT=0 -DSPAWN=0
// BUG_SLEEP_LOOKS_FIRST needs: -DTIMERS=2 -DINJECT=0 -DSPAWN=0
// BUG_STOP_LOOKS_FIRST needs: -DEARLY_STOP -DINJECT=0 -DSPAWN=0

#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef INJECT
#define INJECT 2 /* tasks from outside */
#endif
#ifndef SPAWN
#define SPAWN 1 /* how many of the tasks put another one into their worker's ring */
#endif
#ifndef TIMERS
#define TIMERS 0 /* armed on worker 0 from outside, the later one first */
#endif

#define NEVER 9
#define AWAKE 0

byte injected;
byte ring[WORKERS];
bool idle[WORKERS];
bool token[WORKERS];
byte searching;
bool stopping;

// Worker 0's wheel, as its lock makes it: next is read without.
byte wheel_next = NEVER;
bool armed[4]; // by deadline, which is 1 or 2
byte sleep_until = AWAKE;
byte now = 1; // deadlines are 2 and 3

bool noon; // long turns end
byte started, ended; // ghost: turns
byte spawned, fired;
byte producing = 1; // how many producers are not done
bool asleep[WORKERS]; // ghost: waits, and nothing is on its way
byte gone; // workers that have ended

// True: we are the one to wake it, and have.
inline unpark(index)
{
    atomic {
        got_bit = idle[index];
        idle[index] = false
    }
    if
    :: got_bit ->
        atomic {
            assert(!token[index]);
            token[index] = true
        }
    :: else
    fi
}

inline wake_one()
{
    do
    ::  if
        :: searching > 0 -> break
        :: else
        fi;
#if WORKERS == 2
        atomic { // one load of the word; the lowest bit
            if
            :: idle[0] -> victim = 0
            :: !idle[0] && idle[1] -> victim = 1
            :: else -> break
            fi
        }
#else
        atomic {
            if
            :: idle[0] -> victim = 0
            :: !idle[0] && idle[1] -> victim = 1
            :: !idle[0] && !idle[1] && idle[2] -> victim = 2
            :: else -> break
            fi
        }
#endif
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
    byte i, victim;
    bool got_bit;

    do
    :: i < INJECT ->
        i++;
#ifdef BUG_WAKES_BEFORE_QUEUEING
        wake_one();
        injected++
#else
        injected++;
        wake_one()
#endif
    :: else -> break
    od;
    producing--
}

// Arms deadline 3, then 2, on worker 0.
proctype armer()
{
    byte i, deadline, victim;
    bool got_bit, earlier, needed;

    do
    :: i < TIMERS ->
        deadline = 3 - i;
#ifdef BUG_ARM_LOOKS_FIRST
        needed = sleep_until > deadline;
#endif
        atomic { // under the wheel's lock
            armed[deadline] = true;
            earlier = deadline < wheel_next;
            if
            :: earlier -> wheel_next = deadline
            :: else
            fi
        }
#ifndef BUG_ARM_LOOKS_FIRST
        needed = sleep_until > deadline;
#endif
#ifndef BUG_ARM_DOES_NOT_WAKE
        if
        :: earlier && needed -> unpark(0)
        :: else
        fi;
#endif
        atomic { i++; earlier = false; needed = false; got_bit = false; deadline = 0 }
    :: else -> break
    od;
    producing--
}

inline poll_timers()
{
    if
    :: me == 0 && wheel_next <= now ->
        atomic { // under the wheel's lock
            if
            :: armed[2] && now >= 2 -> armed[2] = false; fired++
            :: else
            fi;
            if
            :: armed[3] && now >= 3 -> armed[3] = false; fired++
            :: else
            fi;
            if
            :: armed[2] -> wheel_next = 2
            :: !armed[2] && armed[3] -> wheel_next = 3
            :: else -> wheel_next = NEVER
            fi
        }
    :: else
    fi
}

// Takes one task and may move the other to our ring: the share of take_injected.
inline take_injected()
{
    if
    :: injected > 0 ->
        atomic { // under the lock
            if
            :: injected > 0 -> injected--; got = true
            :: else
            fi
        }
        if // the share, still under the lock in C; a look in between finds less
        :: got ->
            atomic {
                if
                :: injected > 0 -> injected--; ring[me]++
                :: injected > 0 -> more = true
                :: else
                fi;
                more = more || ring[me] > 0
            }
#ifndef BUG_NO_WAKE_FOR_THE_REST
            if
            :: more -> wake_one()
            :: else
            fi;
#endif
            more = false
        :: else
        fi
    :: else
    fi
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

inline steal()
{
    i = 0;
    do
    :: i < WORKERS && !got ->
        if
        :: i != me -> take(ring[i])
        :: else
        fi;
        i++
    :: else -> break
    od;
    i = 0
}

// more: another worker may find something.
inline look_for_what_is_left()
{
    more = injected > 0;
    i = 0;
    do
    :: i < WORKERS -> more = more || ring[i] > 0; i++
    :: else -> break
    od;
    i = 0
}

inline search()
{
    searching++;
    steal();
    if
    :: !got -> take_injected()
    :: else
    fi;
#ifdef BUG_LAST_LOOKS_BEFORE_IT_STOPS
    look_for_what_is_left();
    atomic { searching--; last = searching == 0 }
#else
    atomic { searching--; last = searching == 0 }
    if
    :: got && last -> look_for_what_is_left()
    :: else
    fi;
#endif
#ifndef BUG_LAST_SEARCHER_IS_SILENT
    if
    :: got && last && more -> wake_one()
    :: else
    fi;
#endif
    atomic { last = false; more = false }
}

inline find()
{
    take(ring[me]);
    if
    :: !got -> take_injected()
    :: else
    fi;
    if
    :: !got -> search()
    :: else
    fi
}

// until: when to get up by oneself.
inline wait_until()
{
    // One futex wait: compare and sleep are one step.
    atomic {
        asleep[me] = true;
        (token[me] || now >= until || (me == 0 && until == AWAKE));
        asleep[me] = false
    }
}

inline announce()
{
    idle[me] = true
}

inline look()
{
    if
    :: injected > 0 || stopping -> until = AWAKE
    :: else
    fi;
    i = 0;
    do
    :: i < WORKERS ->
        if
        :: ring[i] > 0 -> until = AWAKE
        :: else
        fi;
        i++
    :: else -> break
    od;
    i = 0
}

inline park()
{
    if
    :: me == 0 -> until = wheel_next
    :: else -> until = NEVER
    fi;
#ifdef BUG_LOOKS_BEFORE_ANNOUNCING
    look();
    announce();
#else
    announce();
    look();
#endif
    if
    :: me == 0 ->
#ifdef BUG_SLEEP_LOOKS_FIRST
        if
        :: wheel_next >= until -> sleep_until = until; wait_until()
        :: else
        fi;
#else
        sleep_until = until;
        if
        :: wheel_next >= until -> wait_until()
        :: else
        fi;
#endif
        sleep_until = AWAKE
    :: else ->
        if
        :: until == AWAKE
        :: else -> wait_until()
        fi
    fi;
    atomic { until = 0; got_bit = idle[me]; idle[me] = false }
    if
    :: got_bit // ours still: nobody woke us
    :: else ->
#ifndef BUG_TOKEN_NOT_AWAITED
        token[me];
#endif
        token[me] = false
    fi;
    got_bit = false;
    poll_timers()
}

inline run_turn()
{
    atomic { got = false; started++ }
    if
    :: spawned < SPAWN ->
        atomic { spawned++; ring[me]++ }
        wake_one()
    :: true
    fi;
    if
    :: true // a short turn
    :: true -> noon // a long one
    fi;
    ended++
}

proctype worker(byte me)
{
    byte i, until, victim;
    bool got, got_bit, last, more;

    do
    ::  if
        :: stopping -> break
        :: else
        fi;
        find();
        if
        :: got -> run_turn()
        :: else -> park()
        fi
    od;
    gone++
}

inline stop()
{
#ifdef BUG_STOP_LOOKS_FIRST
    i = 0;
    do
    :: i < WORKERS -> unpark(i); i++
    :: else -> break
    od;
    stopping = true;
#else
    stopping = true;
    i = 0;
    do
    :: i < WORKERS -> unpark(i); i++
    :: else -> break
    od;
#endif
    gone == WORKERS
}

#if WORKERS == 2
#define VISIBLE (injected > 0 || ring[0] > 0 || ring[1] > 0)
#define SLEEPS (asleep[0] || asleep[1])
#else
#define VISIBLE (injected > 0 || ring[0] > 0 || ring[1] > 0 || ring[2] > 0)
#define SLEEPS (asleep[0] || asleep[1] || asleep[2])
#endif

init {
    byte i;
    bool got_bit;

    atomic {
        run producer();
        if
        :: TIMERS > 0 -> producing++; run armer()
        :: else
        fi;
        i = 0;
        do
        :: i < WORKERS -> run worker(i); i++
        :: else -> break
        od;
        i = 0
    }
#ifdef EARLY_STOP
    noon = true;
    stop()
#else
    do
    :: timeout -> // nothing moves any more
        assert(producing == 0);
        assert(!(VISIBLE && SLEEPS));
        // A timer of a worker in a long turn waits for the watcher.
        assert(!asleep[0] || ((!armed[2] || now < 2) && (!armed[3] || now < 3)));
        if
        :: now < 3 -> now++
        :: else -> break
        fi
    :: now < 3 -> now++ // time passes while others move
    od;
    noon = true;
    timeout;
    assert(started == INJECT + spawned && ended == started);
    assert(fired == TIMERS);
    assert(!VISIBLE);
    stop()
#endif
}
