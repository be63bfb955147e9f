// The protocol of src/sched/ring.h: the owner pushes and pops, thieves take half, the
// places are used again, and the ring goes on in a longer row when it is full, and in the
// first one when it is empty.
//
// One owner pushes TASKS tasks into a ring with rows of SIZE and 2 * SIZE and pops some in
// between; two thieves, each with a ring of its own, steal from the owner and from each
// other. The counters start just below their wrap-around.
//
// Checked: every task is taken exactly once, and a place is never overwritten before
// its task was taken.
//
// Spin explores sequentially consistent histories only. Where the C code uses weaker
// orders, this is why they are enough:
// - the places are written relaxed: the store of tail (release, and stronger) publishes
//   them to a thief that acquires tail.
// - a thief reads places before its compare-and-swap of head (release), and the owner
//   acquires head before it writes a place again (push, and steal into its own ring);
//   so no read of a place that was taken gets the next task's value.
// - the row's number is stored with release after the tasks were copied into it, and a
//   thief acquires it after tail: for the tail that it saw, the row is not too old.
// - a compare-and-swap that fails throws away what was read, so it may be anything.
// - the owner's own loads of tail, and of head in pop, are relaxed: tail is its own, and
//   the compare-and-swap checks head.
//
// The model's counters wrap at 16, the real ones at 2^32: a thief that slept between
// its loads and its compare-and-swap while exactly 2^32 tasks went through would be
// fooled. So the model has fewer tasks than its wrap.
//
// also: -DSIZE=1 -DTASKS=5
// also: -DSIZE=4 -DTASKS=5 -DSTEALS=1

#ifndef SIZE
#define SIZE 2
#endif
#ifndef TASKS
#define TASKS 4
#endif
#define WRAP 16
#define START 14
#ifndef STEALS
#define STEALS 2 /* tries a thief */
#endif

#define OWNER 0
#define RINGS 3

byte head[RINGS] = START;
byte tail[RINGS] = START;
byte row[RINGS]; // in use: 0 or 1
byte place[36]; // RINGS * 3 * SIZE at most
byte taken[TASKS + 1];
byte done;

// Places of row 0, then those of row 1.
#define AT(ring, row, count) \
    place[((ring) * 3 + (row)) * SIZE + (count) % (SIZE * (1 + (row)))]
#define LESS(a, b) (((a) + WRAP - (b)) % WRAP)

inline run_task(task)
{
    d_step {
        assert(task != 0);
        taken[task]++;
        assert(taken[task] == 1);
        task = 0
    }
}

// Owner of ring, which is full in row 0.
inline grow(ring)
{
#ifdef BUG_GROW_PUBLISHES_FIRST
    row[ring] = 1;
#endif
    i = head[ring];
    do
    :: i != tail[ring] ->
        AT(ring, 1, i) = AT(ring, 0, i); // the old row is only read: one access
        i = (i + 1) % WRAP
    :: else -> break
    od;
    atomic { i = 0; row[ring] = 1 }
}

// Owner of ring. no_room is set if there was no room.
inline push(ring, task)
{
    h = head[ring];
#ifdef BUG_FULL_IS_LATE
    no_room = LESS(tail[ring], h) > SIZE * (1 + row[ring]);
#else
    no_room = LESS(tail[ring], h) >= SIZE * (1 + row[ring]);
#endif
    if
    :: no_room && row[ring] == 0 -> no_room = false; grow(ring)
    :: else
    fi;
    if
    :: no_room
    :: else ->
#ifdef BUG_TAIL_FIRST
        tail[ring] = (tail[ring] + 1) % WRAP;
        AT(ring, row[ring], tail[ring] + WRAP - 1) = task
#else
        AT(ring, row[ring], tail[ring]) = task;
        tail[ring] = (tail[ring] + 1) % WRAP
#endif
    fi;
    h = 0
}

// Owner of ring. got: 0 if empty.
inline pop(ring)
{
    h = head[ring];
    got = 0;
    do
    :: h == tail[ring] -> row[ring] = 0; break
    :: else ->
        got = AT(ring, row[ring], h);
#ifdef BUG_SHRINKS_WITH_SOME
        row[ring] = 0;
#endif
#ifdef BUG_POP_STORES
        head[ring] = (h + 1) % WRAP;
        break
#else
        atomic {
            if
            :: head[ring] == h -> head[ring] = (h + 1) % WRAP; break
            :: else -> h = head[ring]; got = 0
            fi
        }
#endif
    od;
    h = 0
}

// Owner of mine, which is empty. got: 0 if there was nothing, or we lost.
inline steal(from, mine)
{
    h = head[from];
#ifdef BUG_ROW_BEFORE_TAIL
    r = row[from];
    t = tail[from];
#else
    t = tail[from];
    r = row[from];
#endif
    d_step {
        count = LESS(t, h);
        count = count - count / 2;
        t = 0
    }
    if
    :: count == 0 || count > SIZE -> skip
    :: else ->
        got = AT(from, r, h);
        i = 1;
        do
        :: i < count ->
            moved = AT(from, r, h + i);
            AT(mine, 0, tail[mine] + i - 1) = moved; // tail is ours: one access
            i++
        :: else -> break
        od;
        atomic { i = 0; moved = 0; r = 0 }
#ifdef BUG_STEAL_PUBLISHES_FIRST
        tail[mine] = (tail[mine] + count - 1) % WRAP;
#endif
        atomic {
            if
#ifdef BUG_STEAL_STORES
            :: true -> head[from] = (h + count) % WRAP
#else
            :: head[from] == h -> head[from] = (h + count) % WRAP
            :: else -> got = 0
#endif
            fi
        }
#ifndef BUG_STEAL_PUBLISHES_FIRST
        if
        :: got != 0 -> tail[mine] = (tail[mine] + count - 1) % WRAP
        :: else
        fi
#endif
    fi;
    atomic { h = 0; count = 0 }
}

proctype owner()
{
    byte h, got, i, task = 1;
    bool no_room;

    do
    :: task <= TASKS ->
        push(OWNER, task);
        if
        :: !no_room -> task++
        :: no_room -> pop(OWNER); if :: got != 0 -> run_task(got) :: else fi
        fi;
        no_room = false
    :: task <= TASKS && head[OWNER] != tail[OWNER] ->
        pop(OWNER);
        if :: got != 0 -> run_task(got) :: else fi
    :: task > TASKS -> break
    od;
    do
    :: pop(OWNER); if :: got != 0 -> run_task(got) :: else -> break fi
    od;
    done++
}

proctype thief(byte me; byte other)
{
    byte h, t, r, got, count, i, moved, tries;

    do
    :: tries < STEALS ->
        tries++;
        if
        :: steal(OWNER, me)
        :: steal(other, me)
        fi;
        if
        :: got != 0 ->
            run_task(got);
            do
            :: pop(me); if :: got != 0 -> run_task(got) :: else -> break fi
            od
        :: else
        fi
    :: else -> break
    od;
    done++
}

init {
    byte i;

    atomic { run owner(); run thief(1, 2); run thief(2, 1) }
    done == 3;
    d_step {
        i = 1;
        do
        :: i <= TASKS -> assert(taken[i] == 1); i++
        :: else -> break
        od
    }
}
