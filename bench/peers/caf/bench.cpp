// The workloads of hark_bench for CAF 0.17, as Debian 12 packages it.
//
//     bench WORKLOAD WORKERS [ARGUMENT...]
//
// Prints METRIC VALUE UNIT. Each workload checks its result; a wrong one ends the
// process with status 1. Actors that are spawned by the million are function-based and
// lazily started; state is the actor's own; requests have a timeout, as in hark.
#include <caf/all.hpp>
#include <caf/io/all.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <future>
#include <string>
#include <unistd.h>
#include <unordered_map>
#include <vector>

using namespace caf;
using steady = std::chrono::steady_clock;
using latch = std::promise<void>;

#define ATOM(name)                                                                     \
    using name##_atom = atom_constant<atom(#name)>;                                    \
    static const auto a_##name = name##_atom::value;
ATOM(go)
ATOM(inc)
ATOM(count)
ATOM(ping)
ATOM(pong)
ATOM(hop)
ATOM(work)
ATOM(joined)
ATOM(meet)
ATOM(change)
ATOM(halt)
ATOM(add)
ATOM(blob)
ATOM(get)
ATOM(put)
ATOM(entry)
ATOM(pay)
ATOM(collect)
ATOM(balance)
#undef ATOM

namespace {

const auto ask_timeout = std::chrono::seconds(5);
const auto patience = std::chrono::seconds(120);

[[noreturn]] void
fail(const char *what)
{
    std::fprintf(stderr, "bench: %s\n", what);
    std::_Exit(1);
}

void
expect(const char *what, int64_t got, int64_t wanted)
{
    if (got != wanted) {
        std::fprintf(stderr, "bench: %s: got %lld, wanted %lld\n", what,
                     static_cast<long long>(got), static_cast<long long>(wanted));
        std::_Exit(1);
    }
}

void
figure(const char *metric, double value, const char *unit)
{
    std::printf("%s %.2f %s\n", metric, value, unit);
    std::fflush(stdout);
}

double
seconds_since(steady::time_point began)
{
    return std::chrono::duration<double>(steady::now() - began).count();
}

void
rate(double count, steady::time_point began, const char *unit)
{
    figure("throughput", count / seconds_since(began), unit);
}

void
fail_with(const error &)
{
    fail("a request failed");
}

// ---- pingpong ----

behavior
pong_actor(event_based_actor *)
{
    return {[](ping_atom) { return a_pong; }};
}

struct ping_state {
    int64_t left = 0;
};

behavior
ping_actor(stateful_actor<ping_state> *self, actor pong, int64_t pings, latch *done)
{
    self->state.left = pings;
    return {[=](go_atom) { self->send(pong, a_ping); },
            [=](pong_atom) {
                if (--self->state.left == 0) {
                    done->set_value();
                    self->quit();
                } else {
                    self->send(pong, a_ping);
                }
            }};
}

void
run_pingpong(actor_system &system)
{
    const int64_t pings = 5000000;
    latch done;
    auto pong = system.spawn(pong_actor);
    auto ping = system.spawn(ping_actor, pong, pings, &done);
    auto began = steady::now();

    anon_send(ping, a_go);
    done.get_future().wait();
    rate(2.0 * pings, began, "msg/s");
    anon_send_exit(pong, exit_reason::user_shutdown);
}

// ---- counting ----

struct counter_state {
    int64_t count = 0;
};

behavior
counter_actor(stateful_actor<counter_state> *self)
{
    return {[=](inc_atom) { ++self->state.count; },
            [=](count_atom) { return self->state.count; }};
}

// Sends slices and lets others run in between, as hark's does.
behavior
producer_actor(stateful_actor<counter_state> *self, actor counter, int64_t increments,
               latch *done)
{
    return {[=](go_atom) {
        auto &sent = self->state.count;
        auto end = std::min(increments, sent + 64);

        for (; sent < end; ++sent) {
            self->send(counter, a_inc);
        }
        if (sent < increments) {
            self->send(self, a_go);
            return;
        }
        self->request(counter, patience, a_count)
            .then(
                [=](int64_t count) {
                    expect("increments", count, increments);
                    done->set_value();
                    self->quit();
                },
                fail_with);
    }};
}

void
run_counting(actor_system &system)
{
    const int64_t increments = 10000000;
    latch done;
    auto counter = system.spawn(counter_actor);
    auto producer = system.spawn(producer_actor, counter, increments, &done);
    auto began = steady::now();

    anon_send(producer, a_go);
    done.get_future().wait();
    rate(increments, began, "msg/s");
    anon_send_exit(counter, exit_reason::user_shutdown);
}

// ---- threadring ----

struct link_state {
    actor next;
    int64_t hops = 0;
};

behavior
link_actor(stateful_actor<link_state> *self, latch *done)
{
    return {[=](go_atom, actor next) { self->state.next = std::move(next); },
            [=](hop_atom, int64_t left) {
                ++self->state.hops;
                if (left == 0) {
                    done->set_value();
                } else {
                    self->send(self->state.next, a_hop, left - 1);
                }
            },
            [=](count_atom) { return self->state.hops; },
            [=](halt_atom) {
                self->state.next = nullptr;
                self->quit();
            }};
}

void
run_threadring(actor_system &system)
{
    const int actors = 100;
    const int64_t hops = 5000000;
    latch done;
    scoped_actor self{system};
    std::vector<actor> links;
    int64_t sum = 0;
    auto count = [&](const actor &link) {
        self->request(link, patience, a_count)
            .receive([&](int64_t n) { sum += n; }, fail_with);
    };

    for (int i = 0; i < actors; ++i) {
        links.push_back(system.spawn(link_actor, &done));
    }
    for (int i = 0; i < actors; ++i) {
        self->send(links[i], a_go, links[(i + 1) % actors]);
    }
    std::for_each(links.begin(), links.end(), count);
    expect("hops before the start", sum, 0);
    auto began = steady::now();
    self->send(links[0], a_hop, hops);
    done.get_future().wait();
    rate(hops, began, "hop/s");
    std::for_each(links.begin(), links.end(), count);
    expect("hops", sum, hops + 1);
    for (auto &link : links) {
        self->send(link, a_halt);
    }
}

// ---- fjthrput, fjcreate, spawn ----

// Volatile, or the compiler does the work once.
double
piece_of_work()
{
    volatile double angle = 37.2;
    volatile double square;
    double sine = std::sin(angle);

    square = sine * sine;
    return square;
}

behavior
laborer_actor(stateful_actor<counter_state> *self, int64_t messages,
              std::atomic<int> *left, latch *done)
{
    return {[=](work_atom) {
        piece_of_work();
        if (++self->state.count == messages) {
            self->quit();
            if (left->fetch_sub(1) == 1) {
                done->set_value();
            }
        }
    }};
}

behavior
foreman_actor(stateful_actor<counter_state> *self, std::vector<actor> laborers,
              int64_t messages)
{
    return {[=](go_atom) {
        for (auto &laborer : laborers) {
            self->send(laborer, a_work);
        }
        if (++self->state.count < messages) {
            self->send(self, a_go);
        } else {
            self->quit();
        }
    }};
}

void
run_fjthrput(actor_system &system)
{
    const int actors = 60;
    const int64_t messages = 200000;
    std::atomic<int> left{actors};
    latch done;
    std::vector<actor> laborers;

    for (int i = 0; i < actors; ++i) {
        laborers.push_back(system.spawn(laborer_actor, messages, &left, &done));
    }
    auto foreman = system.spawn(foreman_actor, laborers, messages);
    auto began = steady::now();
    anon_send(foreman, a_go);
    done.get_future().wait();
    rate(actors * messages, began, "msg/s");
    expect("laborers left", left, 0);
}

behavior
forked_actor(event_based_actor *self, actor parent)
{
    return {[=](work_atom) {
        piece_of_work();
        self->send(parent, a_joined);
        self->quit();
    }};
}

struct forker_state {
    int64_t unforked = 0, unjoined = 0, joined = 0, repeats = 0;
};

behavior
forker_actor(stateful_actor<forker_state> *self, int64_t actors, int64_t repeats,
             latch *done)
{
    self->state = {actors, actors, 0, repeats};
    return {[=](go_atom) {
                auto &state = self->state;

                for (int i = 0; i < 64 && state.unforked > 0; ++i, --state.unforked) {
                    self->send(self->spawn<lazy_init>(forked_actor, actor{self}),
                               a_work);
                }
                if (state.unforked > 0) {
                    self->send(self, a_go);
                }
            },
            [=](joined_atom) {
                auto &state = self->state;

                ++state.joined;
                if (--state.unjoined > 0) {
                    return;
                }
                if (--state.repeats == 0) {
                    expect("actors joined", state.joined, actors * repeats);
                    done->set_value();
                    self->quit();
                    return;
                }
                state.unforked = state.unjoined = actors;
                self->send(self, a_go);
            }};
}

void
run_fjcreate(actor_system &system)
{
    const int64_t actors = 40000, repeats = 25;
    latch done;
    auto forker = system.spawn(forker_actor, actors, repeats, &done);
    auto began = steady::now();

    anon_send(forker, a_go);
    done.get_future().wait();
    rate(actors * repeats, began, "actor/s");
}

behavior
mayfly_actor(event_based_actor *self, std::atomic<int64_t> *left, latch *done)
{
    return {[=](go_atom) {
        self->quit();
        if (left->fetch_sub(1) == 1) {
            done->set_value();
        }
    }};
}

behavior
breeder_actor(stateful_actor<counter_state> *self, int64_t actors,
              std::atomic<int64_t> *left, latch *done)
{
    return {[=](go_atom) {
        auto &born = self->state.count;

        for (int i = 0; i < 64 && born < actors; ++i, ++born) {
            self->send(self->spawn<lazy_init>(mayfly_actor, left, done), a_go);
        }
        if (born < actors) {
            self->send(self, a_go);
        } else {
            self->quit();
        }
    }};
}

void
run_spawn(actor_system &system)
{
    const int64_t actors = 1000000;
    std::atomic<int64_t> left{actors};
    latch done;
    auto began = steady::now();

    anon_send(system.spawn(breeder_actor, actors, &left, &done), a_go);
    done.get_future().wait();
    rate(actors, began, "actor/s");
    expect("actors left", left, 0);
}

// ---- mem ----

double
resident_bytes()
{
    FILE *file = std::fopen("/proc/self/statm", "r");
    long all = 0, resident = 0;

    if (file == nullptr || std::fscanf(file, "%ld %ld", &all, &resident) != 2) {
        fail("cannot read /proc/self/statm");
    }
    std::fclose(file);
    return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

behavior
idle_actor(event_based_actor *self, std::atomic<int64_t> *started)
{
    started->fetch_add(1);
    return {[=](go_atom) { self->quit(); }};
}

[[noreturn]] void
run_mem(actor_system &system, int64_t actors)
{
    std::atomic<int64_t> started{0};
    std::vector<actor> held(static_cast<size_t>(actors));

    std::memset(static_cast<void *>(held.data()), 0, held.size() * sizeof(actor));
    double before = resident_bytes();
    for (auto &idle : held) {
        idle = system.spawn(idle_actor, &started);
    }
    while (started < actors) {
        usleep(10000);
    }
    figure("idle_bytes_per_actor",
           (resident_bytes() - before) / static_cast<double>(actors), "B");
    std::_Exit(0); // stopping them all takes long, and is not measured
}

// ---- big ----

struct talker_state {
    std::vector<actor> talkers;
    uint32_t random = 0;
    int64_t left = 0;
};

behavior
talker_actor(stateful_actor<talker_state> *self, int64_t hails, uint32_t number,
             std::atomic<int> *left, latch *done)
{
    self->state.left = hails;
    self->state.random = number + 1;
    auto hail = [=] {
        auto &state = self->state;

        state.random = state.random * 1664525u + 1013904223u;
        self->send(state.talkers[(state.random >> 8) % state.talkers.size()], a_ping);
    };
    return {
        [=](std::vector<actor> &talkers) { self->state.talkers = std::move(talkers); },
        [=](go_atom) { hail(); }, [](ping_atom) { return a_pong; },
        [=](pong_atom) {
            if (--self->state.left > 0) {
                hail();
            } else if (left->fetch_sub(1) == 1) {
                done->set_value();
            }
        },
        [=](halt_atom) {
            self->state.talkers.clear();
            self->quit();
        }};
}

void
run_big(actor_system &system)
{
    const int count = 120;
    const int64_t hails = 20000;
    std::atomic<int> left{count};
    latch done;
    std::vector<actor> talkers;

    for (int i = 0; i < count; ++i) {
        talkers.push_back(
            system.spawn(talker_actor, hails, static_cast<uint32_t>(i), &left, &done));
    }
    for (auto &talker : talkers) {
        anon_send(talker, talkers);
    }
    auto began = steady::now();
    for (auto &talker : talkers) {
        anon_send(talker, a_go);
    }
    done.get_future().wait();
    rate(2.0 * count * hails, began, "msg/s");
    for (auto &talker : talkers) {
        anon_send(talker, a_halt);
    }
}

// ---- chameneos ----

struct mall_state {
    int64_t left = 0, met = 0;
    int gone = 0;
    actor waiting;
};

behavior
mall_actor(stateful_actor<mall_state> *self, int64_t meetings, int creatures,
           latch *done)
{
    self->state.left = meetings;
    return {[=](meet_atom, actor &who, int32_t color) {
                auto &state = self->state;

                if (state.left == 0) {
                    self->send(who, a_halt);
                } else if (!state.waiting) {
                    state.waiting = std::move(who);
                } else {
                    --state.left;
                    self->send(state.waiting, a_meet, std::move(who), color);
                    state.waiting = nullptr;
                }
            },
            [=](count_atom, int64_t met) {
                auto &state = self->state;

                state.met += met;
                if (++state.gone == creatures) {
                    expect("meetings seen", state.met, 2 * meetings);
                    done->set_value();
                    self->quit();
                }
            }};
}

struct creature_state {
    int64_t met = 0;
    int32_t color = 0;
};

int32_t
mix(int32_t a, int32_t b)
{
    return a == b ? a : 3 - a - b;
}

behavior
creature_actor(stateful_actor<creature_state> *self, actor mall, int32_t color)
{
    self->state.color = color;
    self->send(mall, a_meet, actor{self}, color);
    return {[=](meet_atom, const actor &other, int32_t other_color) {
                auto &state = self->state;

                state.color = mix(state.color, other_color);
                ++state.met;
                self->send(other, a_change, state.color);
                self->send(mall, a_meet, actor{self}, state.color);
            },
            [=](change_atom, int32_t new_color) {
                auto &state = self->state;

                state.color = new_color;
                ++state.met;
                self->send(mall, a_meet, actor{self}, state.color);
            },
            [=](halt_atom) {
                self->send(mall, a_count, self->state.met);
                self->quit();
            }};
}

void
run_chameneos(actor_system &system)
{
    const int64_t meetings = 2000000;
    const int creatures = 100;
    latch done;
    auto began = steady::now();
    auto mall = system.spawn(mall_actor, meetings, creatures, &done);

    for (int32_t i = 0; i < creatures; ++i) {
        system.spawn(creature_actor, mall, i % 3);
    }
    done.get_future().wait();
    rate(meetings, began, "meeting/s");
}

// ---- concdict ----

struct dictionary_state {
    std::unordered_map<uint32_t, uint32_t> map;
};

behavior
dictionary_actor(stateful_actor<dictionary_state> *self)
{
    self->state.map.reserve(524288);
    return {[=](get_atom, uint32_t key) {
                auto &map = self->state.map;
                auto found = map.find(key);

                return found == map.end()
                           ? std::make_tuple(entry_atom::value, key, 0u, false)
                           : std::make_tuple(entry_atom::value, key, found->second,
                                             true);
            },
            [=](put_atom, uint32_t key, uint32_t value) {
                self->state.map[key] = value;
                return std::make_tuple(entry_atom::value, key, value, true);
            }};
}

struct reader_state {
    uint32_t random = 0;
    int64_t answered = 0;
};

behavior
reader_actor(stateful_actor<reader_state> *self, actor dictionary, int64_t lookups,
             uint32_t seed, std::atomic<int> *left, latch *done)
{
    self->state.random = seed;
    auto next_random = [=] {
        auto &random = self->state.random;

        random = random * 1664525u + 1013904223u;
        return random >> 8;
    };
    auto look_up = [=] {
        bool write = next_random() % 100 < 10;
        uint32_t key = next_random() % 524288;

        if (write) {
            self->send(dictionary, a_put, key, key * 7 + 1);
        } else {
            self->send(dictionary, a_get, key);
        }
    };
    return {[=](go_atom) { look_up(); },
            [=](entry_atom, uint32_t key, uint32_t value, bool found) {
                expect("value", value, found ? key * 7 + 1 : 0);
                if (++self->state.answered < lookups) {
                    look_up();
                    return;
                }
                self->quit();
                if (left->fetch_sub(1) == 1) {
                    done->set_value();
                }
            }};
}

void
run_concdict(actor_system &system)
{
    const int readers = 20;
    const int64_t lookups = 100000;
    std::atomic<int> left{readers};
    latch done;
    auto dictionary = system.spawn(dictionary_actor);
    auto began = steady::now();

    for (uint32_t i = 0; i < readers; ++i) {
        anon_send(system.spawn(reader_actor, dictionary, lookups, i + 1, &left, &done),
                  a_go);
    }
    done.get_future().wait();
    rate(readers * lookups, began, "op/s");
    anon_send_exit(dictionary, exit_reason::user_shutdown);
}

// ---- bank ----
//
// Without timeouts: with 50,000 of them armed CAF takes twice as long.

struct account_state {
    int64_t balance = 0;
};

behavior
account_actor(stateful_actor<account_state> *self, int64_t first)
{
    self->state.balance = first;
    return {[=](pay_atom, int64_t amount, const actor &recipient) {
                auto owed = self->make_response_promise<int64_t>();

                self->state.balance -= amount;
                self->request(recipient, infinite, a_collect, amount)
                    .then([=](int64_t paid) mutable { owed.deliver(paid); }, fail_with);
                return owed;
            },
            [=](collect_atom, int64_t amount) {
                self->state.balance += amount;
                return amount;
            },
            [=](balance_atom) { return self->state.balance; }};
}

struct cashier_state {
    std::vector<actor> accounts;
    uint32_t random = 1;
    int64_t unbegun = 0, unended = 0;
    latch *done = nullptr;
};

void
begin_transaction(stateful_actor<cashier_state> *self)
{
    auto &state = self->state;
    auto count = static_cast<uint32_t>(state.accounts.size());
    auto next_random = [&] {
        state.random = state.random * 1664525u + 1013904223u;
        return state.random >> 8;
    };
    uint32_t from = next_random() % (count / 10 * 8);
    uint32_t to = from + 1 + next_random() % (count - from - 1);
    int64_t amount = 1 + next_random() % 1000;

    --state.unbegun;
    self->request(state.accounts[from], infinite, a_pay, amount, state.accounts[to])
        .then(
            [=](int64_t paid) {
                expect("amount", paid, amount);
                if (--self->state.unended == 0) {
                    self->state.done->set_value();
                    self->quit();
                } else if (self->state.unbegun > 0) {
                    begin_transaction(self);
                }
            },
            fail_with);
}

behavior
cashier_actor(stateful_actor<cashier_state> *self, std::vector<actor> accounts,
              int64_t transactions, int64_t open, latch *done)
{
    self->state.accounts = std::move(accounts);
    self->state.unbegun = self->state.unended = transactions;
    self->state.done = done;
    return {[=](go_atom) {
        for (int64_t i = 0; i < open; ++i) {
            begin_transaction(self);
        }
    }};
}

void
run_bank(actor_system &system)
{
    const int count = 1000;
    const int64_t transactions = 100000, open = 50000, first = 1000000;
    latch done;
    scoped_actor self{system};
    std::vector<actor> accounts;
    int64_t sum = 0;

    for (int i = 0; i < count; ++i) {
        accounts.push_back(system.spawn(account_actor, first));
    }
    auto cashier = system.spawn(cashier_actor, accounts, transactions, open, &done);
    auto began = steady::now();
    anon_send(cashier, a_go);
    done.get_future().wait();
    rate(transactions, began, "transaction/s");
    for (auto &account : accounts) {
        self->request(account, patience, a_balance)
            .receive([&](int64_t balance) { sum += balance; }, fail_with);
        anon_send_exit(account, exit_reason::user_shutdown);
    }
    expect("money", sum, count * first);
}

// ---- asks, here and at another process ----

struct server_state {
    int64_t blobs = 0, bytes = 0;
};

behavior
server_actor(stateful_actor<server_state> *self)
{
    return {[](add_atom, int64_t value) { return value + 1; },
            [=](blob_atom, const std::vector<char> &data) {
                ++self->state.blobs;
                self->state.bytes += static_cast<int64_t>(data.size());
            },
            [=](count_atom) {
                return std::make_tuple(self->state.blobs, self->state.bytes);
            }};
}

struct asker_state {
    actor server;
    int64_t unasked = 0, unanswered = 0;
    latch *done = nullptr;
    std::vector<double> *delays_us = nullptr; // null: not measured
};

void
ask_one(stateful_actor<asker_state> *self)
{
    int64_t value = --self->state.unasked;
    auto before =
        self->state.delays_us != nullptr ? steady::now() : steady::time_point();

    self->request(self->state.server, ask_timeout, a_add, value)
        .then(
            [=](int64_t total) {
                auto &state = self->state;

                expect("total", total, value + 1);
                if (state.delays_us != nullptr) {
                    state.delays_us->push_back(seconds_since(before) * 1e6);
                }
                if (--state.unanswered == 0) {
                    state.done->set_value();
                    self->quit();
                } else if (state.unasked > 0) {
                    ask_one(self);
                }
            },
            fail_with);
}

behavior
asker_actor(stateful_actor<asker_state> *self, actor server, int64_t asks,
            int64_t window, std::vector<double> *delays_us, latch *done)
{
    self->state.server = std::move(server);
    self->state.unasked = self->state.unanswered = asks;
    self->state.done = done;
    self->state.delays_us = delays_us;
    return {[=](go_atom) {
        for (int64_t i = 0; i < window; ++i) {
            ask_one(self);
        }
    }};
}

// Has an actor do that many asks. Gives how long they took, in seconds.
double
do_asks(actor_system &system, const actor &server, int64_t asks, int64_t window,
        std::vector<double> *delays_us)
{
    latch done;
    auto asker = system.spawn(asker_actor, server, asks, window, delays_us, &done);
    auto began = steady::now();

    anon_send(asker, a_go);
    done.get_future().wait();
    return seconds_since(began);
}

void
run_asks(actor_system &system, int64_t window)
{
    const int64_t asks = 2000000;
    auto server = system.spawn(server_actor);

    figure("throughput",
           static_cast<double>(asks) / do_asks(system, server, asks, window, nullptr),
           "ask/s");
    anon_send_exit(server, exit_reason::user_shutdown);
}

void
run_remote_ask_seq(actor_system &system, const actor &server)
{
    const int64_t asks = 50000;
    std::vector<double> delays_us;

    delays_us.reserve(asks);
    do_asks(system, server, 5000, 1, nullptr);
    figure("throughput", asks / do_asks(system, server, asks, 1, &delays_us), "ask/s");
    std::sort(delays_us.begin(), delays_us.end());
    figure("p50", delays_us[delays_us.size() / 2], "us");
    figure("p99", delays_us[delays_us.size() * 99 / 100], "us");
    figure("p999", delays_us[delays_us.size() * 999 / 1000], "us");
}

void
run_remote_ask_1000(actor_system &system, const actor &server)
{
    const int64_t asks = 200000;

    do_asks(system, server, 5000, 1000, nullptr);
    figure("throughput", asks / do_asks(system, server, asks, 1000, nullptr), "ask/s");
}

struct teller_state {
    int64_t sent = 0;
};

// One message of data, shared by all: CAF copies it only onto the wire.
behavior
teller_actor(stateful_actor<teller_state> *self, actor server, size_t size,
             int64_t tells, latch *done)
{
    auto blob = make_message(a_blob, std::vector<char>(size, 'x'));

    return {[=](go_atom) {
        auto &sent = self->state.sent;
        auto end = std::min(tells, sent + 64);

        for (; sent < end; ++sent) {
            self->send(server, blob);
        }
        if (sent < tells) {
            self->send(self, a_go);
            return;
        }
        self->request(server, patience, a_count)
            .then(
                [=](int64_t blobs, int64_t bytes) {
                    expect("blobs", blobs, tells);
                    expect("bytes", bytes, tells * static_cast<int64_t>(size));
                    done->set_value();
                    self->quit();
                },
                fail_with);
    }};
}

void
run_remote_tell(actor_system &system, const actor &server, size_t size, int64_t tells)
{
    latch done;
    auto teller = system.spawn(teller_actor, server, size, tells, &done);
    auto began = steady::now();

    anon_send(teller, a_go);
    done.get_future().wait();
    rate(static_cast<double>(tells), began, "msg/s");
}

[[noreturn]] void
serve(actor_system &system, uint16_t port)
{
    auto server = system.spawn(server_actor);

    if (!system.middleman().publish(server, port, "127.0.0.1", true)) {
        fail("cannot publish");
    }
    std::printf("ready\n");
    std::fflush(stdout);
    for (;;) {
        pause();
    }
}

// Fewer tells than hark's: they take CAF that long.
void
run_remote(actor_system &system, const std::string &workload, uint16_t port)
{
    auto found = system.middleman().remote_actor("127.0.0.1", port);

    if (!found) {
        fail("no server");
    }
    if (workload == "remote_ask_seq") {
        run_remote_ask_seq(system, *found);
    } else if (workload == "remote_ask_1000") {
        run_remote_ask_1000(system, *found);
    } else if (workload == "remote_tell_30B") {
        run_remote_tell(system, *found, 30, 500000);
    } else if (workload == "remote_tell_1KB") {
        run_remote_tell(system, *found, 1024, 200000);
    } else if (workload == "remote_tell_64KB") {
        run_remote_tell(system, *found, 65536, 20000);
    } else {
        fail("no such workload");
    }
    std::fflush(stdout);
    std::_Exit(0); // the server's end is not ours to await
}

void
run(actor_system &system, const std::string &workload, const char *argument)
{
    if (workload == "pingpong") {
        run_pingpong(system);
    } else if (workload == "counting") {
        run_counting(system);
    } else if (workload == "threadring") {
        run_threadring(system);
    } else if (workload == "fjthrput") {
        run_fjthrput(system);
    } else if (workload == "fjcreate") {
        run_fjcreate(system);
    } else if (workload == "spawn") {
        run_spawn(system);
    } else if (workload == "mem" && argument != nullptr) {
        run_mem(system, std::atol(argument));
    } else if (workload == "big") {
        run_big(system);
    } else if (workload == "chameneos") {
        run_chameneos(system);
    } else if (workload == "concdict") {
        run_concdict(system);
    } else if (workload == "bank") {
        run_bank(system);
    } else if (workload == "ask_seq") {
        run_asks(system, 1);
    } else if (workload == "ask_100") {
        run_asks(system, 100);
    } else if (workload == "serve" && argument != nullptr) {
        serve(system, static_cast<uint16_t>(std::atoi(argument)));
    } else if (argument != nullptr) {
        run_remote(system, workload, static_cast<uint16_t>(std::atoi(argument)));
    } else {
        fail("usage: bench WORKLOAD WORKERS [ARGUMENT]");
    }
}

} // namespace

int
main(int argc, char **argv)
{
    if (argc < 3) {
        fail("usage: bench WORKLOAD WORKERS [ARGUMENT]");
    }
    std::string workload = argv[1];
    actor_system_config config;

    if (argc > 3 && workload != "mem") {
        config.load<io::middleman>();
        config.add_message_type<std::vector<char>>("blob_data");
    }
    config.add_message_type<std::vector<actor>>("actors");
    config.set("scheduler.max-threads", static_cast<size_t>(std::atoi(argv[2])));
    if (const char *policy = std::getenv("CAF_POLICY")) {
        config.set("scheduler.policy", atom_from_string(policy));
    }
    {
        actor_system system{config};

        run(system, workload, argc > 3 ? argv[3] : nullptr);
        std::fflush(stdout);
        std::_Exit(0); // some of its actors may not end by themselves
    }
}
