// How a ZeroMQ socket that several threads use under its lock (src/net/net_zmq.c) is polled,
// though its descriptor is edge-triggered and any call on it may consume what that says.
//
// libzmq's side, as in its mailbox.cpp and ypipe.hpp: its own thread puts commands into the
// socket's mailbox; only if the reader was found asleep does it write the descriptor. The
// reader, which is whoever calls with the lock, takes commands until there are none, and
// falls asleep; the first look after that reads the descriptor. A command brings a message
// here. A send may take commands, or skip that for a while.
//
// The poller is any one that epoll wakes; who else is called, and whether anybody sleeps, is
// net.pml's. `edge` is epoll's: it is told only if the descriptor is still readable.
//
// Checked: when nothing moves any more, all messages have been received.

#define MESSAGES 3
#define SENDS 2

byte commands, brought, received; // in the mailbox; read from it; by the poller
bool asleep = true;               // the mailbox's reader, as the other side sees it
bool awake;                       // the same, as the reader remembers it
bool fd, edge;                    // the descriptor is readable; epoll has not told it
bool lock, signalled, pending;
byte senders;

inline acquire()
{
    atomic { !lock -> lock = true }
}

// All commands that are there.
inline take_commands()
{
    do
    ::  if
        :: awake ->
            atomic { // check_read of an empty pipe lets the other side know
                if
                :: commands > 0 -> commands--; brought++
                :: else -> asleep = true; awake = false
                fi
            }
        :: else ->
            atomic {
                if
                :: fd -> fd = false; awake = true
                :: else -> break
                fi
            }
        fi
    od
}

active proctype io_thread()
{
    byte n;
    bool wake;

    do
    :: n < MESSAGES ->
        atomic { n++; commands++; wake = asleep; asleep = false }
        if
        :: wake -> atomic { fd = true; edge = true }
        :: else
        fi
    :: else -> break
    od
}

active [2] proctype sender()
{
    byte n;
    bool has_input;

    senders++;
    do
    :: n < SENDS ->
        n++;
        acquire();
#ifdef BUG_LOOKS_BEFORE_IT_SENDS
        take_commands();
        has_input = brought > 0;
#endif
        if
        :: true -> take_commands() // of the send
        :: true
        fi;
#if !defined(BUG_LOOKS_BEFORE_IT_SENDS) && !defined(BUG_DOES_NOT_LOOK)
        take_commands();
        has_input = brought > 0;
#endif
#ifdef BUG_LOOK_IS_INTERRUPTED
        if
        :: true -> has_input = false
        :: true
        fi;
#endif
        lock = false;
        if
        :: has_input -> signalled = true; pending = true
        :: else
        fi;
        has_input = false
    :: else -> break
    od;
    senders--
}

active proctype poller()
{
    bool more, was;

end:
    do
    ::  atomic {
            (pending || edge);
            if
            :: edge ->
                edge = false;
                if
                :: fd -> signalled = true
                :: else
                fi
            :: else
            fi;
            pending = false
        }
#ifdef BUG_CLEARS_AFTER_RECEIVING
        was = signalled;
#else
        atomic { was = signalled; signalled = false }
#endif
        if
        :: was ->
            do
            ::  acquire();
                if
                :: brought == 0 -> take_commands()
                :: else
                fi;
                more = brought > 0;
                if
                :: more -> atomic { brought--; received++ }
                :: else
                fi;
                lock = false;
                if
                :: more
                :: else -> break
                fi
            od
        :: else
        fi;
#ifdef BUG_CLEARS_AFTER_RECEIVING
        signalled = false;
#endif
        atomic { more = false; was = false }
    od
}

init {
    timeout;
    assert(received == MESSAGES && !lock && senders == 0)
}
