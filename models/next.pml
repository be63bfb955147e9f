// The run-next place of src/sched/next.h: its owner swaps without a locked instruction,
// and a watcher takes from it after it has revoked it and had every thread pass a barrier.
//
// The owner's stores go through a buffer, as on real machines: first in, first out (its
// stores of task and of "not busy" are releases, so weaker machines keep that order too),
// and anything may happen before one of them arrives. That is what the protocol is about:
// a store of busy may arrive after the load of revoked that follows it. The watcher's
// barrier empties the buffer; so do a mutex's lock and unlock. The watchers' own stores
// arrive at once: what they write before the barrier is drained by it, and "revoked no
// more" is a release.
//
// A task that was taken may be put again, so a watcher may find the task that it looked
// for, come anew.
//
// Checked: a task that stood there is taken once, by the owner or by a watcher, never
// twice; none is lost; and the place is not left busy or, unless it always is, revoked.
//
// -DALWAYS: the system has no barrier, and the place is revoked for good.
//
// also: -DALWAYS
// BUG_FREES_IT_FOR_THE_OWNER needs: -DALWAYS

#define TASKS 2
#define NONE 0

#ifndef SWAPS
#define SWAPS 4 // of the owner, before the last, which empties the place
#endif
#ifndef STEALS
#define STEALS 2 // tries of each watcher
#endif

byte task = NONE; // memory
bool busy;
#ifdef ALWAYS
bool revoked = true;
#else
bool revoked;
#endif
bool lock;

// The owner's buffer: which word, and what.
#define BUSY 0
#define TASK 1
#define ROOM 6
byte word[ROOM], value[ROOM];
byte stored;

bool inside[3]; // ghost: by task; put and not taken
byte done;      // processes that have ended

inline store(a_word, a_value)
{
    atomic {
        stored < ROOM;
        word[stored] = a_word;
        value[stored] = a_value;
        stored++
    }
}

// The oldest store arrives. Within atomic, and stored > 0.
inline arrive()
{
    if
    :: word[0] == BUSY -> busy = value[0]
    :: else -> task = value[0]
    fi;
    word[0] = word[1]; value[0] = value[1];
    word[1] = word[2]; value[1] = value[2];
    word[2] = word[3]; value[2] = value[3];
    word[3] = word[4]; value[3] = value[4];
    word[4] = word[5]; value[4] = value[5];
    word[5] = 0; value[5] = 0;
    stored--
}

proctype memory()
{
end:
    do
    :: atomic { stored > 0 -> arrive() }
    od
}

// What the owner reads of task: its own last store, else memory.
inline load_task(out)
{
    atomic {
        out = task;
        i = 0;
        do
        :: i < stored ->
            if
            :: word[i] == TASK -> out = value[i]
            :: else
            fi;
            i++
        :: else -> break
        od;
        i = 0
    }
}

inline mutex_lock()
{
    atomic { !lock && stored == 0 -> lock = true }
}

inline take_out(which)
{
    atomic {
        assert(inside[which]);
        inside[which] = false
    }
}

inline swap(new)
{
#ifdef BUG_OWNER_LOOKS_FIRST
    seen = revoked;
    store(BUSY, 1);
#else
    store(BUSY, 1);
    seen = revoked;
#endif
    if
    :: seen ->
#ifndef BUG_STAYS_BUSY
        store(BUSY, 0);
#endif
#ifndef BUG_OWNER_NEEDS_NO_LOCK
        mutex_lock();
#endif
        load_task(before);
        store(TASK, new);
#ifndef BUG_OWNER_NEEDS_NO_LOCK
        atomic { stored == 0 -> lock = false }
#endif
    :: else ->
        load_task(before);
#ifdef BUG_DONE_BEFORE_THE_SWAP
        store(BUSY, 0);
        store(TASK, new)
#else
        store(TASK, new);
        store(BUSY, 0)
#endif
    fi;
    if
    :: before != NONE -> take_out(before)
    :: else
    fi;
    atomic { seen = false; before = NONE }
}

proctype owner()
{
    byte i, n, before;
    bool seen;

    do
    :: n < SWAPS ->
        n++;
        if
        :: atomic { !inside[1] -> inside[1] = true }
            swap(1)
        :: atomic { !inside[2] -> inside[2] = true }
            swap(2)
        :: swap(NONE)
        fi
    :: else -> break
    od;
    swap(NONE);
    done++
}

// Every thread passes a barrier meanwhile; ours are written at once.
inline barrier()
{
#if defined(BUG_NO_BARRIER) || defined(ALWAYS)
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

inline look_at_busy()
{
    is_busy = busy
}

// Steals `wanted` if it still stands there.
inline steal()
{
#ifndef BUG_WATCHERS_NEED_NO_LOCK
    atomic { !lock -> lock = true }
#endif
    always = revoked;
#ifdef BUG_BARRIER_FIRST
    barrier();
    revoked = true;
#else
    revoked = true;
#ifdef BUG_BUSY_BEFORE_THE_BARRIER
    look_at_busy();
    barrier();
#else
    barrier();
#endif
#endif
#ifndef BUG_BUSY_BEFORE_THE_BARRIER
#ifndef BUG_BUSY_IS_NOBODYS_BUSINESS
    look_at_busy();
#endif
#endif
    if
    :: !is_busy && task == wanted -> got = true
    :: else
    fi;
#ifdef BUG_CLEARS_BEFORE_TAKING
    revoked = always;
#endif
    if
    :: got -> task = NONE
    :: else
    fi;
#ifdef BUG_FREES_IT_FOR_THE_OWNER
    revoked = false;
#else
    revoked = always;
#endif
#ifndef BUG_WATCHERS_NEED_NO_LOCK
    lock = false;
#endif
    if
    :: got -> take_out(wanted)
    :: else
    fi;
    atomic { got = false; is_busy = false; always = false }
}

proctype watcher()
{
    byte n, wanted;
    bool is_busy, always, got;

    do
    :: n < STEALS ->
        n++;
        wanted = task; // the peek
        if
        :: wanted != NONE -> steal()
        :: else
        fi;
        wanted = NONE
    :: else -> break
    od;
    done++
}

init {
    atomic {
        run memory();
        run owner();
        run watcher();
        run watcher()
    }
    done == 3 && stored == 0;
    assert(task == NONE && !inside[1] && !inside[2]);
    assert(!busy && !lock);
#ifdef ALWAYS
    assert(revoked)
#else
    assert(!revoked)
#endif
}
