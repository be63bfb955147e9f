// Who polls a net (src/net/poll.c): a guest, which waits in an epoll of its own and may go
// away for long; and the net's own thread, which serves while no guest comes, stands by
// while one does, and sleeps when all is quiet and a guest waits.
//
// What comes from outside shows at a descriptor, in both epolls, edge-triggered; what comes
// from inside (a frame over memory, a kick) sets pending, and its event is written only if
// somebody sleeps. One look takes at most BATCH things.
//
// The looks of a thread that stands by, every 2 ms, may happen at any moment here, and
// after QUIET of them it may sleep. Nothing may rely on a tick that comes by the clock: one
// comes only with -DTICKS, of own thread's, at any moment; it holds the lock and looks at
// nothing. A kick is for a tick, too, and whoever looks next does it.
//
// Checked: when nothing moves any more, all that came has been polled, and each kick seen,
// though the guest may just be in a long turn (until `noon`); and at the end all threads stop.
//
// -DPASSER: a busy worker polls once, too. -DKICKS=1: somebody kicks.
//
// also: -DOUTSIDE=0 -DINSIDE=1 -DTICKS=1
// also: -DOUTSIDE=1 -DINSIDE=0 -DTICKS=1
// also: -DOUTSIDE=0 -DINSIDE=1 -DKICKS=1
// also: -DOUTSIDE=0 -DINSIDE=0 -DKICKS=2 -DTICKS=1
// BUG_WAKES_BEFORE_THE_KICK needs: -DOUTSIDE=0 -DINSIDE=1 -DKICKS=1
// BUG_KICK_IS_SILENT needs: -DOUTSIDE=0 -DINSIDE=0 -DKICKS=1
// also: -DOUTSIDE=2 -DINSIDE=0
// also: -DOUTSIDE=0 -DPASSER
// BUG_WHAT_IS_PENDING_HAS_BEEN_TOLD needs: -DOUTSIDE=0 -DINSIDE=2 -DPASSER
// BUG_LEAVES_WITHOUT_A_LOOK needs: -DOUTSIDE=0 -DINSIDE=2 -DPASSER
// BUG_MORE_IS_SILENT needs: -DOUTSIDE=0 -DINSIDE=2 -DPASSER
// BUG_SLEEPER_LOOKS_FIRST needs: -DOUTSIDE=0 -DINSIDE=2 -DPASSER

#ifndef OUTSIDE
#define OUTSIDE 1 // things that show at a descriptor
#endif
#ifndef INSIDE
#define INSIDE 1 // things that somebody of this process leaves
#endif
#ifndef KICKS
#define KICKS 0
#endif
#ifndef TICKS
#define TICKS 0 // by own thread's clock
#endif
#define BATCH 1
#define QUIET 1
#define OWN 0
#define GUEST 1

byte there;         // things to be polled
bool event[2];      // by epoll: an edge that was not taken yet
bool unwait;        // the guest's epoll only
bool pending, kicked;
byte sleepers;
bool polling;       // the lock
bool own_polls;     // own has the lock, or waits for it

bool guest_waits, watching = true, stopping;
bool looked; // the guest has looked since own saw: looks != own->looks
bool called; // duty != what own has seen of it

bool noon;          // long turns end
byte coming = 1;    // senders that are not done
byte ended;         // threads that have

inline write_event()
{
    atomic { event[OWN] = true; event[GUEST] = true }
}

inline wake()
{
    atomic { was = pending; pending = true }
    if
    :: !was && sleepers > 0 -> write_event()
    :: else
    fi;
    was = false
}

proctype outside()
{
    byte n;

    do
    :: n < OUTSIDE ->
        n++;
        atomic { there++; event[OWN] = true; event[GUEST] = true }
    :: else -> break
    od;
    coming--
}

proctype inside()
{
    byte n;
    bool was;

    do
    :: n < INSIDE ->
        n++;
#ifdef BUG_WAKES_BEFORE_LEAVING_IT
        wake();
        there++
#else
        there++;
        wake()
#endif
    :: else -> break
    od;
    coming--
}

proctype kicker()
{
    byte n;
    bool was;

    do
    :: n < KICKS ->
        n++;
#ifdef BUG_WAKES_BEFORE_THE_KICK
        wake();
        kicked = true
#else
        kicked = true;
#ifndef BUG_KICK_IS_SILENT
        wake()
#endif
#endif
    :: else -> break
    od;
    coming--
}

// One look; the lock is held.
inline look()
{
    more = false;
#ifdef BUG_CLEARS_AFTER_LOOKING
    was = pending;
#else
    atomic { was = pending; pending = false }
#endif
    if
    :: was ->
        // More at the same time would be more steps of the same kind.
        atomic {
            if
            :: there > BATCH -> there = there - BATCH; more = true
            :: else -> there = 0
            fi
        }
    :: else
    fi;
#ifdef BUG_CLEARS_AFTER_LOOKING
    pending = false;
#endif
    kicked = false; // and if it was set, the tick
    was = false
}

// Only own waits for the lock; others leave what is there to who has it.
inline poll(waits_for_it)
{
    rounds = 0;
    do
    ::  atomic {
            if
            :: !polling -> polling = true; got = true
            :: polling && !waits_for_it -> got = false
            fi
        }
        if
        :: got
        :: else -> break
        fi;
        look();
        polling = false;
#ifdef BUG_LEAVES_WITHOUT_A_LOOK
        break;
#endif
        rounds++;
        filled = more;
        more = more || pending;
        if
        :: more && !filled && rounds < 2
        :: else -> break
        fi
    od;
    if
    :: got && more ->
#ifdef BUG_WHAT_IS_PENDING_HAS_BEEN_TOLD
        wake()
#else
        pending = true;
#ifndef BUG_MORE_IS_SILENT
        if
        :: sleepers > 0 -> write_event()
        :: else
        fi
#endif
#endif
    :: else
    fi;
    atomic { more = false; filled = false; got = false; rounds = 0 }
}

// Waits in an epoll: a thread that may stay there. out: something to poll.
inline wait_in(who, out)
{
#ifdef BUG_SLEEPER_LOOKS_FIRST
    out = pending && !own_polls;
    sleepers++;
#else
    sleepers++;
    out = pending;
    if
    :: out -> out = !own_polls
    :: else
    fi;
#endif
    if
    :: !out ->
        atomic {
            (event[who] || (who == GUEST && unwait) || (who == OWN && stopping));
            out = event[who];
            event[who] = false;
            if
            :: who == GUEST -> unwait = false
            :: else
            fi
        }
    :: else -> out = false
    fi;
    sleepers--;
    if
    :: out -> pending = true
    :: else
    fi;
    out = pending
}

inline call_to_duty()
{
    called = true
}

inline leave()
{
    if
    :: !watching && !guest_waits -> watching = true; call_to_duty()
    :: else
    fi
}

proctype guest()
{
    byte rounds;
    bool was, more, filled, got, came;

    do
    ::  if
        :: stopping -> break
        :: else
        fi;
        looked = true;
        guest_waits = true;
        wait_in(GUEST, came);
#ifdef BUG_GUEST_LOOKS_FIRST
        leave();
#endif
        guest_waits = false;
        if
        :: came -> poll(false)
        :: else
        fi;
        came = false;
        if
        :: true // nothing to do: it waits again, and has never left
        :: true ->
#if !defined(BUG_GUEST_LOOKS_FIRST) && !defined(BUG_GUEST_LEAVES_SILENTLY)
            leave();
#endif
            if
            :: true // a short turn
            :: true -> noon // a long one
            fi
        fi
    od;
    ended++
}

// A turn of another worker that is busy and polls between turns, once.
proctype passer_by()
{
    byte rounds;
    bool was, more, filled, got;

    looked = true;
    poll(false);
    ended++
}

// own_tick: what has come goes before it.
inline own_tick()
{
    atomic {
        pending = pending || event[OWN];
        event[OWN] = false
    }
    own_polls = true;
    poll(true);
    own_polls = false;
    own_polls = true;
    atomic { !polling -> polling = true }
    polling = false;
    own_polls = false
}

// Sleeps while it stands by: until a call, or, if it watches, for a while.
inline stand_by()
{
    called = false; // seen = duty
    if
    :: watching // it looks again soon
    :: else -> (called || stopping)
    fi
}

inline choose_duty()
{
    atomic { helped = looked; looked = false }
    atomic {
        waits = guest_waits;
        if
        :: helped -> quiet = 0
        :: !helped && quiet <= QUIET -> quiet++
        :: else
        fi;
        stands_by = helped || waits
    }
    if
    :: !stands_by ->
        own_polls = true;
        poll(true);
        own_polls = false;
#ifndef BUG_GUEST_IS_NOT_TOLD
    :: stands_by && waits && pending -> write_event()
#endif
    :: else ->
        if
        :: stands_by && quiet > QUIET ->
            watching = false;
#ifndef BUG_SLEEPS_WITHOUT_A_LOOK
            if
            :: !guest_waits -> watching = true
            :: else
            fi
#endif
        :: else
        fi
    fi;
    atomic { waits = false; helped = false }
}

proctype own()
{
    byte rounds, quiet, ticks;
    bool was, more, filled, got, came, waits, helped, stands_by;

    do
    ::  if
        :: stopping -> break
        :: else
        fi;
        if
        :: stands_by -> stand_by()
        :: else -> wait_in(OWN, came)
        fi;
        came = false;
        if
        :: ticks < TICKS -> ticks++; own_tick()
        :: true
        fi;
        choose_duty()
    od;
    ended++
}

init {
    atomic {
        run own();
        run guest();
#ifdef PASSER
        run passer_by();
#else
        ended++;
#endif
#if KICKS > 0
        coming++;
        run kicker();
#endif
#if INSIDE > 0
        coming++;
        run inside();
#endif
        run outside()
    }
    timeout;
    assert(coming == 0 && there == 0 && !kicked);
    noon = true;
    timeout;
    assert(there == 0 && !polling && !kicked);
    // The guest is told by its own room, and own by close.
    stopping = true;
    unwait = true;
    call_to_duty();
    ended == 3
}
