// Who watches (src/sched/park.c): one parked worker looks every so often for what waits
// behind others' long turns, in a run-next place or a small ring, which nobody announces.
// It gives that up when all is quiet, and when it is called away.
//
// A task that a turn leaves behind it is `behind`; a long turn lasts until `noon`. What is
// announced (injected) any worker takes. A watcher's tick may come at any moment; here it
// comes when there is something to see, or to give up.
//
// The run-next place of a worker that ends its turn is its own to run: no watcher is needed.
//
// Checked: when nothing moves any more, nothing waits behind a long turn while a worker is
// parked.

#define WORKERS 3
#define INJECT 2

byte injected;
bool behind[WORKERS], parked[WORKERS], token[WORKERS], idle[WORKERS];
bool watched, noon;
byte searching;
byte left; // turns that have left something
byte coming = 1;

inline unpark(i)
{
    atomic {
        got_bit = idle[i];
        idle[i] = false;
        token[i] = token[i] || got_bit
    }
}

inline wake_one()
{
    do
    ::  if
        :: searching > 0 -> break
        :: else
        fi;
        atomic {
            if
            :: idle[0] -> victim = 0
            :: !idle[0] && idle[1] -> victim = 1
            :: !idle[0] && !idle[1] && idle[2] -> victim = 2
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

inline want_watcher()
{
    if
    :: !watched -> wake_one()
    :: else
    fi
}

proctype producer()
{
    byte n, victim;
    bool got_bit;

    do
    :: n < INJECT -> n++; injected++; wake_one()
    :: else -> break
    od;
    coming--
}

inline take_injected()
{
    atomic {
        if
        :: injected > 0 -> injected--; got = true
        :: else
        fi
    }
}

inline search()
{
    searching++;
    take_injected();
    atomic { searching--; last = searching == 0 }
    if
    :: got && last ->
        if
        :: injected > 0 -> wake_one()
        :: else ->
#ifndef BUG_LAST_SEARCHER_FORGETS_THE_WATCHER
            want_watcher()
#endif
        fi
    :: else
    fi;
    last = false
}

// For those who tick: nobody else works.
#define QUIET (idle[(me + 1) % WORKERS] && idle[(me + 2) % WORKERS])

inline others_work(out)
{
    out = !QUIET
}

inline start_watching()
{
    atomic { watcher = !watched; watched = true }
}

inline watch_if_others_work()
{
    if
    :: !watcher ->
        others_work(works);
        if
        :: works -> start_watching()
        :: else // who has been called watches, too: here, anybody
            if
            :: start_watching()
            :: skip
            fi
        fi;
        works = false
    :: else
    fi
}

#define WAITS(i) (behind[(me + i) % WORKERS])

inline take_behind()
{
    atomic {
        if
        :: WAITS(1) -> behind[(me + 1) % WORKERS] = false; got = true
        :: !WAITS(1) && WAITS(2) -> behind[(me + 2) % WORKERS] = false; got = true
        :: else
        fi
    }
}

// One sleep; a watcher's tick ends it when there is something to do.
inline park_once()
{
#ifdef BUG_ELECTED_BEFORE_IT_ANNOUNCES
    watch_if_others_work();
    idle[me] = true;
#else
    idle[me] = true;
    watch_if_others_work();
#endif
    if
    :: injected > 0
    :: else ->
        atomic {
            parked[me] = true;
end_of_work:
            (token[me] || (watcher && (WAITS(1) || WAITS(2) || QUIET)));
            parked[me] = false
        }
    fi;
    atomic { got_bit = idle[me]; idle[me] = false }
    if
    :: !got_bit -> token[me]; token[me] = false; woken = true
    :: got_bit && injected > 0 -> woken = true
    :: else
    fi;
    got_bit = false;
    if
    :: watcher -> take_behind()
    :: else
    fi
}

inline park()
{
    do
    ::  park_once();
        if
        :: got || woken -> break
        :: else
        fi;
        if
        :: watcher ->
            others_work(works);
            if
            :: !works -> // for some ticks
                watched = false;
                watcher = false
            :: else
            fi
        :: else
        fi;
        works = false
    od;
    if
    :: watcher ->
#ifdef BUG_LOOKS_BEFORE_IT_LETS_GO
        // What a store that is not seq_cst may do.
        others_work(works);
        is_searched = searching > 0;
        watched = false;
        if
        :: works && !is_searched -> wake_one()
        :: else
        fi;
        is_searched = false
#else
        watched = false;
        others_work(works);
#ifndef BUG_IS_CALLED_AWAY_SILENTLY
        if
        :: works -> want_watcher()
        :: else
        fi
#endif
#endif
    :: else
    fi;
    atomic { watcher = false; works = false; woken = false }
}

proctype worker(byte me)
{
    byte victim;
    bool got, got_bit, last, watcher, works, woken, is_searched;

    do
    ::  atomic {
            if
            :: behind[me] -> behind[me] = false; got = true
            :: else
            fi
        }
        if
        :: !got -> search()
        :: else
        fi;
        if
        :: !got -> park()
        :: else
        fi;
        if
        :: got ->
            got = false;
            if
            :: left < 1 ->
                left++;
                behind[me] = true;
                want_watcher()
            :: true
            fi;
            if
            :: true // a short turn
            :: true -> noon // a long one
            fi
        :: else
        fi
    od
}

#define PARKED (parked[0] || parked[1] || parked[2])
#define BEHIND (behind[0] || behind[1] || behind[2])

init {
    atomic {
        run worker(0);
        run worker(1);
        run worker(2);
        run producer()
    }
    timeout;
    assert(coming == 0);
    assert(!(BEHIND && PARKED));
    noon = true;
    timeout;
    assert(!BEHIND && injected == 0)
}
