// The protocol of src/actor/mailbox.h: a tagged tail, `first`, `next`, the system lane,
// and sleep with its second look.
//
// Two senders of user messages, also in chains, one of system messages, and two workers that take the
// actor from a run queue: the reader role moves to whichever worker gets it. Cells are
// fewer than messages, so an address comes back while others may still hold it.
//
// Checked: no message is lost, none arrives twice, each sender's arrive in order, there
// are never two readers and never two entries in the run queue, nobody touches a cell
// that has been freed, and in the end the mailbox sleeps and all has arrived (no lost
// wake-up).
//
// Spin explores sequentially consistent histories only. Where the C code uses weaker
// orders, this is why they are enough:
// - push, exchange acq_rel, then the link, release: the reader reaches a message, or a
//   chain by its first, only through that link (acquire), so it sees all of it whole. Who finds IDLE acquires
//   the reader's release in sleep, so what the last reader wrote (first = NULL above all)
//   comes before our write of first.
// - next, first = NULL relaxed: nobody writes first until a mark stands in the tail,
//   and only our own later release (sleep) puts one there.
// - push_system and sleep are the classic store-then-load on both sides (lane then tail;
//   tail then lane). That needs a total order, and all four accesses are seq_cst.
// - take_system's first look, relaxed: it may miss a new message; sleep's look does not.
//
// Each BUG_... below plants one mistake; tools/check_models demands that it is found.

#define EMPTY 0
#define IDLE 9

#ifndef USERS
#define USERS 2 /* senders of user messages */
#endif
#ifndef EACH
#define EACH 2 /* messages a sender */
#endif
#ifndef CELLS
#define CELLS 3
#endif
#define SENDERS (USERS + 1) /* the last one is the system's */
#define TOTAL (SENDERS * EACH)
#define WORKERS 2

byte tail = IDLE;
byte first;
byte lane;
byte next[CELLS + 1]; // cells are numbered from 1; 0 is NULL
byte sender[CELLS + 1];
byte number[CELLS + 1];
bool used[CELLS + 1];

chan run_queue = [1] of { bit };
byte current; // what the reader keeps between turns: slot.current
bool reading; // ghost: somebody has the reader role
byte arrived;
byte expected[SENDERS]; // ghost: the number of each sender's next message

inline allocate(cell)
{
    atomic {
        // Blocks until one is free. The lowest one: reuse as early as can be.
        if
        :: !used[1] -> cell = 1
        :: used[1] && !used[2] -> cell = 2
        :: used[1] && used[2] && CELLS >= 3 && !used[3] -> cell = 3
#if CELLS >= 4
        :: used[1] && used[2] && used[3] && !used[4] -> cell = 4
#endif
        fi;
        used[cell] = true;
        next[cell] = 0
    }
}

inline release(cell)
{
    d_step {
        assert(used[cell]);
        used[cell] = false;
        sender[cell] = 0;
        number[cell] = 0;
        next[cell] = 0
    }
}

inline schedule()
{
    atomic {
        assert(nfull(run_queue)); // in one queue at most
        run_queue ! 1
    }
}

inline receive(cell)
{
    d_step {
        assert(used[cell]);
        assert(number[cell] == expected[sender[cell]]);
        expected[sender[cell]]++;
        arrived++
    }
}

// Pushes chains: of one message, of two...
proctype user(byte me)
{
    byte i, head, cell, more, seen;

    do
    :: i < EACH ->
        allocate(cell);
        d_step { sender[cell] = me; number[cell] = i; i++; head = cell }
        do
        :: i < EACH ->
            allocate(more);
            d_step {
                sender[more] = me; number[more] = i; i++;
                next[cell] = more; // nobody else sees it yet
                cell = more; more = 0
            }
        :: break
        od;
#ifdef BUG_CHAIN_BY_ITS_HEAD
        atomic { seen = tail; tail = head }
#else
        atomic { seen = tail; tail = cell } // the exchange
#endif
        if
        :: seen == EMPTY || seen == IDLE -> first = head
        :: else -> atomic { assert(used[seen]); next[seen] = head }
        fi;
        if
        :: seen == IDLE -> schedule()
        :: else
        fi;
        d_step { head = 0; cell = 0; seen = 0 }
    :: else -> break
    od
}

inline try_wake()
{
    atomic { // compare-and-swap
        if
        :: tail == IDLE -> tail = EMPTY; seen = IDLE
        :: else -> seen = EMPTY
        fi
    }
}

proctype system_sender(byte me)
{
    byte i, cell, seen, top;

    do
    :: i < EACH ->
        allocate(cell);
        d_step { sender[cell] = me; number[cell] = i }
#ifdef BUG_TAIL_BEFORE_LANE
        try_wake();
#endif
        top = lane;
        do
        ::  next[cell] = top;
            atomic {
                if
                :: lane == top -> lane = cell; break
                :: else -> top = lane
                fi
            }
        od;
#ifndef BUG_TAIL_BEFORE_LANE
        try_wake();
#endif
        if
        :: seen == IDLE -> schedule()
        :: else
        fi;
        d_step { i++; cell = 0; seen = 0; top = 0 }
    :: else -> break
    od
}

inline take_system()
{
    if
    :: lane == 0
    :: else ->
        atomic { newest = lane; lane = 0 }
        d_step { // the chain is ours: no one else sees the reversal
            oldest = 0;
            do
            :: newest != 0 ->
                older = next[newest];
                next[newest] = oldest;
                oldest = newest;
                newest = older
            :: else -> break
            od;
            older = 0
        }
        do
        :: oldest != 0 ->
            receive(oldest);
            older = next[oldest];
            release(oldest);
            d_step { oldest = older; older = 0 }
        :: else -> break
        od
    fi
}

// got: the message behind `mine`, or 0
inline take_next()
{
    if
    :: mine != 0 -> got = next[mine]
    :: else ->
        got = first;
        if
#ifdef BUG_FIRST_STAYS
        :: true
#else
        :: got != 0 -> first = 0
        :: else
#endif
        fi
    fi
}

// A turn ends with the actor still scheduled.
inline yield_turn()
{
    current = mine;
    atomic {
        assert(reading);
        reading = false;
        mine = 0;
        schedule()
    }
}

proctype worker()
{
    byte mine, got, newest, oldest, older;
    bool asleep;

end_wait:
    do
    :: atomic {
        run_queue ? _;
        assert(!reading); // never two readers
        reading = true
       }
#ifdef BUG_CLEARS_AFTER_SLEEP
       mine = current;
#else
       d_step { mine = current; current = 0 }
#endif
       do
       ::  take_system();
           take_next();
           if
           :: got != 0 ->
               if
               :: mine != 0 -> release(mine)
               :: else
               fi;
               d_step { mine = got; got = 0 }
               receive(mine);
#ifdef BUG_FREES_AT_ONCE
               release(mine);
#endif
               if
               :: true // the budget allows more
               :: true -> yield_turn(); break
               fi
           :: else ->
               atomic { // sleep: compare-and-swap, then the role is gone
#ifdef BUG_PLAIN_STORE
                   tail = IDLE; asleep = true; reading = false
#else
                   if
                   :: tail == mine -> tail = IDLE; asleep = true; reading = false
                   :: else -> asleep = false
                   fi
#endif
               }
               if
               :: !asleep -> yield_turn(); break // MORE: its sender has not linked it yet
               :: else ->
                   if
                   :: mine != 0 -> release(mine); mine = 0
                   :: else
                   fi;
#ifdef BUG_CLEARS_AFTER_SLEEP
                   current = 0;
#endif
#ifdef BUG_NO_SECOND_LOOK
                   asleep = false;
                   break
#else
                   if
                   :: lane == 0 -> asleep = false; break // ASLEEP
                   :: else ->
                       atomic { // claim
                           asleep = false;
                           if
#ifdef BUG_NO_CLAIM
                           :: true ->
                               tail = EMPTY;
#else
                           :: tail == IDLE -> tail = EMPTY;
#endif
                               assert(!reading);
                               reading = true // SYSTEM
#ifndef BUG_NO_CLAIM
                           :: else -> break // somebody else was told to run it
#endif
                           fi
                       }
                   fi
#endif
               fi
           fi
       od
    od
}

init {
    byte i;

    atomic {
        i = 0;
        do
        :: i < USERS -> run user(i); i++
        :: else -> break
        od;
        run system_sender(USERS);
        i = 0;
        do
        :: i < WORKERS -> run worker(); i++
        :: else -> break
        od;
        i = 0
    }
    timeout; // nothing moves any more
    assert(arrived == TOTAL);
    assert(tail == IDLE && first == 0 && lane == 0);
    assert(!used[1] && !used[2])
}
