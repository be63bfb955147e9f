%% The workloads of hark_bench for Erlang/OTP: processes, gen_server, distribution.
%%
%%     erl ... -run bench main WORKLOAD [ARGUMENT...]
%%
%% Prints METRIC VALUE UNIT. Each workload checks its result; a wrong one ends the
%% node with status 1.
-module(bench).
-behaviour(gen_server).
-export([main/1, idle/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(PATIENCE, 120000).

main([Workload | Arguments]) ->
    %% In a process of its own: the one that `-run` uses has other duties.
    {Pid, Monitor} = spawn_opt(fun() -> run(Workload, Arguments) end,
                               [monitor, {min_heap_size, 100000},
                                {message_queue_data, off_heap}]),
    receive
        {'DOWN', Monitor, process, Pid, normal} ->
            halt(0);
        {'DOWN', Monitor, process, Pid, Reason} ->
            io:format(standard_error, "bench: ~p~n", [Reason]),
            halt(1)
    end.

now_ns() ->
    erlang:monotonic_time(nanosecond).

figure(Metric, Value, Unit) ->
    io:format("~s ~.2f ~s~n", [Metric, float(Value), Unit]).

rate(Count, Began, Unit) ->
    rate("throughput", Count, Began, Unit).

rate(Metric, Count, Began, Unit) ->
    figure(Metric, Count * 1.0e9 / (now_ns() - Began), Unit).

%% ---- local workloads ----

run("pingpong", _) ->
    N = 5000000,
    Pong = spawn_link(fun pong/0),
    Began = now_ns(),
    ping(N, Pong),
    rate(2 * N, Began, "msg/s");

run("counting", _) ->
    N = 10000000,
    Me = self(),
    %% A flood waits outside the heap, so that no collection copies it.
    Counter = spawn_opt(fun() -> counter(0) end,
                        [link, {message_queue_data, off_heap}]),
    Began = now_ns(),
    spawn_link(fun() ->
                       send_n(N, Counter, inc),
                       Counter ! {get, self()},
                       receive {total, N} -> Me ! fin end
               end),
    receive fin -> ok end,
    rate(N, Began, "msg/s");

run("threadring", _) ->
    Actors = 100,
    Hops = 5000000,
    Me = self(),
    First = spawn_link(fun() -> receive {next, Next} -> ring(Next, Me, 0) end end),
    Ring = lists:foldl(
             fun(_, [Next | _] = Pids) ->
                     [spawn_link(fun() -> ring(Next, Me, 0) end) | Pids]
             end, [First], lists:seq(2, Actors)),
    First ! {next, hd(Ring)},
    Began = now_ns(),
    First ! Hops,
    receive fin -> ok end,
    rate(Hops, Began, "hop/s"),
    [Pid ! count || Pid <- Ring],
    Counted = lists:sum([receive {counted, N} -> N end || _ <- Ring]),
    Counted = Hops + 1;

run("fjthrput", _) ->
    Actors = 60,
    N = 200000,
    Me = self(),
    Laborers = [spawn_opt(fun() -> labor(N, Me, angle(), 0.0) end,
                          [link, {message_queue_data, off_heap}])
                || _ <- lists:seq(1, Actors)],
    Began = now_ns(),
    send_rounds(N, Laborers),
    [receive fin -> ok end || _ <- Laborers],
    rate(Actors * N, Began, "msg/s");

run("fjcreate", _) ->
    N = 40000,
    Repeats = 25,
    Began = now_ns(),
    fork_join(Repeats, N),
    rate(N * Repeats, Began, "actor/s");

run("spawn", _) ->
    N = 1000000,
    Me = self(),
    Left = atomics:new(1, [{signed, true}]),
    atomics:put(Left, 1, N),
    Body = fun() ->
                   receive
                       go ->
                           case atomics:sub_get(Left, 1, 1) of
                               0 -> Me ! fin;
                               _ -> ok
                           end
                   end
           end,
    Began = now_ns(),
    spawn_go(N, Body),
    receive fin -> ok end,
    rate(N, Began, "actor/s"),
    0 = atomics:get(Left, 1);

run("mem", [Count]) ->
    N = list_to_integer(Count),
    Me = self(),
    erlang:garbage_collect(),
    Before = resident_bytes(),
    %% A process that expects to wait long hibernates: so it takes the least. The
    %% live ones are counted by their last words, since a list of them would count
    %% against them.
    spawn_link(fun() -> spawn_idle(N), Me ! fin, receive never -> ok end end),
    receive fin -> ok end,
    wait_until_idle(),
    figure("idle_bytes_per_actor", (resident_bytes() - Before) / N, "B"),
    true = erlang:system_info(process_count) >= N;

run("big", _) ->
    Actors = 120,
    N = 20000,
    Me = self(),
    Talkers = [spawn_link(fun() ->
                                  rand:seed(exsss, I),
                                  receive {peers, All} -> talk_first(All, Actors, N, Me) end
                          end)
               || I <- lists:seq(1, Actors)],
    All = list_to_tuple(Talkers),
    [Pid ! {peers, All} || Pid <- Talkers],
    Began = now_ns(),
    [Pid ! start || Pid <- Talkers],
    [receive fin -> ok end || _ <- Talkers],
    rate(2 * Actors * N, Began, "msg/s");

run("chameneos", _) ->
    Creatures = 100,
    Meetings = 2000000,
    Me = self(),
    Began = now_ns(),
    Mall = spawn_link(fun() -> mall(Meetings, none, Creatures, 0, Me) end),
    [spawn_link(fun() ->
                        Color = I rem 3,
                        Mall ! {meet, self(), Color},
                        creature(Mall, Color, 0)
                end)
     || I <- lists:seq(1, Creatures)],
    receive {sum, Sum} -> Sum = 2 * Meetings end,
    rate(Meetings, Began, "meeting/s");

run("concdict", _) ->
    Readers = 20,
    N = 100000,
    Me = self(),
    Dictionary = spawn_opt(fun() -> dictionary(#{}) end,
                           [link, {min_heap_size, 1000000}]),
    Began = now_ns(),
    [spawn_link(fun() -> rand:seed(exsss, I), look_up(N, Dictionary), Me ! fin end)
     || I <- lists:seq(1, Readers)],
    [receive fin -> ok end || _ <- lists:seq(1, Readers)],
    rate(Readers * N, Began, "op/s");

run("bank", _) ->
    Accounts = 1000,
    N = 500000,
    Open = 50000,
    FirstBalance = 1000000,
    Pids = list_to_tuple([begin
                              {ok, Pid} = gen_server:start_link(
                                            ?MODULE,
                                            {FirstBalance, gen_server:reqids_new()}, []),
                              Pid
                          end || _ <- lists:seq(1, Accounts)]),
    Me = self(),
    %% A process for each open transaction: a call is then a call, and no table of
    %% requests is needed (with gen_server:reqids_new/0 it was half as fast).
    Customer = fun() -> transact(N div Open, Pids, Accounts), Me ! fin end,
    Began = now_ns(),
    [spawn_link(Customer) || _ <- lists:seq(1, Open)],
    [receive fin -> ok end || _ <- lists:seq(1, Open)],
    rate(N, Began, "transaction/s"),
    Sum = lists:sum([gen_server:call(Pid, balance) || Pid <- tuple_to_list(Pids)]),
    Sum = Accounts * FirstBalance;

run("ask_seq", _) ->
    N = 2000000,
    {ok, Server} = gen_server:start_link(?MODULE, 0, []),
    Began = now_ns(),
    ask_seq(N, Server),
    rate(N, Began, "ask/s");

run("ask_100", _) ->
    N = 2000000,
    {ok, Server} = gen_server:start_link(?MODULE, 0, []),
    Began = now_ns(),
    ask_window(N, 100, Server),
    rate(N, Began, "ask/s");

run("timers_pair", _) ->
    N = 1000000,
    Began = now_ns(),
    set_and_cancel(N),
    rate("set+cancel", N, Began, "pair/s");

%% ---- remote workloads: a node that answers, and one that asks ----

run("serve", _) ->
    {ok, _} = gen_server:start_link({local, server}, ?MODULE, 0, []),
    Taker = spawn_opt(fun() -> take(0, 0) end,
                      [link, {message_queue_data, off_heap}, {fullsweep_after, 10}]),
    register(taker, Taker),
    io:format("ready~n"),
    receive never -> ok end;

run("remote_ask_seq", [Name]) ->
    Server = {server, connect(Name)},
    N = 50000,
    ask_seq(5000, Server),
    Began = now_ns(),
    Delays = ask_timed(N, Server, []),
    rate(N, Began, "ask/s"),
    Sorted = list_to_tuple(lists:sort(Delays)),
    figure("p50", element(N div 2, Sorted) / 1000, "us"),
    figure("p99", element(N * 99 div 100, Sorted) / 1000, "us"),
    figure("p999", element(N * 999 div 1000, Sorted) / 1000, "us");

run("remote_ask_1000", [Name]) ->
    Server = {server, connect(Name)},
    N = 500000,
    ask_window(5000, 1000, Server),
    Began = now_ns(),
    ask_window(N, 1000, Server),
    rate(N, Began, "ask/s");

run("remote_tell_30B", [Name]) ->
    remote_tell(Name, 30, 5000000);
run("remote_tell_1KB", [Name]) ->
    remote_tell(Name, 1024, 1000000);
run("remote_tell_64KB", [Name]) ->
    remote_tell(Name, 65536, 50000).

connect(Name) ->
    Node = list_to_atom(Name),
    pong = net_adm:ping(Node),
    Node.

remote_tell(Name, Size, N) ->
    Node = connect(Name),
    Taker = rpc:call(Node, erlang, whereis, [taker]),
    Blob = binary:copy(<<"x">>, Size),
    Began = now_ns(),
    send_n(N, Taker, Blob),
    Taker ! {get, self()},
    receive {taken, N, Bytes} -> Bytes = N * Size end,
    rate(N, Began, "msg/s").

take(N, Bytes) ->
    receive
        Blob when is_binary(Blob) -> take(N + 1, Bytes + byte_size(Blob));
        {get, From} -> From ! {taken, N, Bytes}, take(0, 0)
    end.

%% ---- what processes do ----

pong() ->
    receive {ping, From} -> From ! pong, pong() end.

ping(0, _) ->
    ok;
ping(N, Pong) ->
    Pong ! {ping, self()},
    receive pong -> ping(N - 1, Pong) end.

counter(Count) ->
    receive
        inc -> counter(Count + 1);
        {get, From} -> From ! {total, Count}
    end.

send_n(0, _, _) ->
    ok;
send_n(N, To, Message) ->
    To ! Message,
    send_n(N - 1, To, Message).

ring(Next, Me, Hops) ->
    receive
        0 -> Me ! fin, ring(Next, Me, Hops + 1);
        count -> Me ! {counted, Hops};
        Left -> Next ! (Left - 1), ring(Next, Me, Hops + 1)
    end.

%% The sum keeps the compiler from leaving the work out.
labor(0, Me, _, Sum) when Sum > 0.0 ->
    Me ! fin;
labor(N, Me, Angle, Sum) ->
    receive work -> labor(N - 1, Me, Angle, Sum + piece_of_work(Angle)) end.

piece_of_work(Angle) ->
    Sine = math:sin(Angle),
    Sine * Sine.

%% Nothing that the compiler knows.
angle() ->
    list_to_float("37.2").

send_rounds(0, _) ->
    ok;
send_rounds(N, Pids) ->
    send_all(Pids),
    send_rounds(N - 1, Pids).

send_all([]) ->
    ok;
send_all([Pid | Rest]) ->
    Pid ! work,
    send_all(Rest).

fork_join(0, _) ->
    ok;
fork_join(Repeats, N) ->
    Me = self(),
    Angle = angle(),
    Body = fun() -> receive work -> Me ! {joined, piece_of_work(Angle)} end end,
    fork(N, Body),
    join(N),
    fork_join(Repeats - 1, N).

fork(0, _) ->
    ok;
fork(N, Body) ->
    spawn(Body) ! work,
    fork(N - 1, Body).

join(0) ->
    ok;
join(N) ->
    receive {joined, Square} when Square > 0.0 -> join(N - 1) end.

spawn_go(0, _) ->
    ok;
spawn_go(N, Body) ->
    spawn(Body) ! go,
    spawn_go(N - 1, Body).

spawn_idle(0) ->
    ok;
spawn_idle(N) ->
    spawn_opt(erlang, hibernate, [?MODULE, idle, []], [{min_heap_size, 0}]),
    spawn_idle(N - 1).

idle() ->
    receive go -> ok end.

%% Until nothing is left to run: all processes hibernate.
wait_until_idle() ->
    case erlang:statistics(total_run_queue_lengths) of
        0 -> timer:sleep(500);
        _ -> timer:sleep(10), wait_until_idle()
    end.

talk_first(All, Actors, N, Me) ->
    receive start -> hail(All, Actors), talk(All, Actors, N, Me) end.

hail(All, Actors) ->
    element(rand:uniform(Actors), All) ! {hail, self()}.

talk(All, Actors, N, Me) ->
    receive
        {hail, From} ->
            From ! back,
            talk(All, Actors, N, Me);
        back when N > 1 ->
            hail(All, Actors),
            talk(All, Actors, N - 1, Me);
        back ->
            Me ! fin,
            talk(All, Actors, 0, Me)
    end.

mall(0, none, 0, Sum, Me) ->
    Me ! {sum, Sum};
mall(0, none, Creatures, Sum, Me) ->
    receive
        {meet, Pid, _} -> Pid ! stop, mall(0, none, Creatures, Sum, Me);
        {count, Count} -> mall(0, none, Creatures - 1, Sum + Count, Me)
    end;
mall(Left, none, Creatures, Sum, Me) ->
    receive {meet, Pid, _} -> mall(Left, Pid, Creatures, Sum, Me) end;
mall(Left, Waiting, Creatures, Sum, Me) ->
    receive
        {meet, Pid, Color} ->
            Waiting ! {meet, Pid, Color},
            mall(Left - 1, none, Creatures, Sum, Me)
    end.

mix(Color, Color) -> Color;
mix(A, B) -> 3 - A - B.

creature(Mall, Color, Met) ->
    receive
        {meet, Other, OtherColor} ->
            New = mix(Color, OtherColor),
            Other ! {change, New},
            Mall ! {meet, self(), New},
            creature(Mall, New, Met + 1);
        {change, New} ->
            Mall ! {meet, self(), New},
            creature(Mall, New, Met + 1);
        stop ->
            Mall ! {count, Met}
    end.

dictionary(Map) ->
    receive
        {get, Key, From} ->
            From ! {entry, Key, maps:get(Key, Map, none)},
            dictionary(Map);
        {put, Key, Value, From} ->
            From ! {entry, Key, Value},
            dictionary(Map#{Key => Value})
    end.

look_up(0, _) ->
    ok;
look_up(N, Dictionary) ->
    Write = rand:uniform(100) =< 10,
    Key = rand:uniform(524288) - 1,
    case Write of
        true -> Dictionary ! {put, Key, Key * 7 + 1, self()};
        false -> Dictionary ! {get, Key, self()}
    end,
    receive
        {entry, Key, none} -> look_up(N - 1, Dictionary);
        {entry, Key, Value} when Value =:= Key * 7 + 1 -> look_up(N - 1, Dictionary)
    end.

transact(0, _, _) ->
    ok;
transact(N, Pids, Accounts) ->
    From = rand:uniform(Accounts div 10 * 8),
    To = From + rand:uniform(Accounts - From),
    Amount = rand:uniform(1000),
    {paid, Amount} = gen_server:call(element(From, Pids),
                                     {pay, Amount, element(To, Pids)}, ?PATIENCE),
    transact(N - 1, Pids, Accounts).

%% ---- the server of the asks, and the accounts ----

init(State) ->
    {ok, State}.

handle_call({add, X}, _, State) ->
    {reply, X + 1, State};
handle_call({pay, Amount, To}, From, {Balance, Requests}) ->
    %% Answered when the recipient has; waiting for it here took longer.
    {noreply, {Balance - Amount,
               gen_server:send_request(To, {collect, Amount}, From, Requests)}};
handle_call({collect, Amount}, _, {Balance, Requests}) ->
    {reply, {paid, Amount}, {Balance + Amount, Requests}};
handle_call(balance, _, {Balance, _} = State) ->
    {reply, Balance, State}.

handle_info(Message, {Balance, Requests}) ->
    {{reply, Paid}, From, Rest} = gen_server:check_response(Message, Requests, true),
    gen_server:reply(From, Paid),
    {noreply, {Balance, Rest}}.

handle_cast(_, State) ->
    {noreply, State}.

%% The default timeout of 5 s is armed.
ask_seq(0, _) ->
    ok;
ask_seq(N, Server) ->
    Answer = gen_server:call(Server, {add, N}),
    Answer = N + 1,
    ask_seq(N - 1, Server).

ask_timed(0, _, Delays) ->
    Delays;
ask_timed(N, Server, Delays) ->
    Before = now_ns(),
    Answer = gen_server:call(Server, {add, N}),
    Answer = N + 1,
    ask_timed(N - 1, Server, [now_ns() - Before | Delays]).

%% Answers come in order, so the oldest request is always the next to be answered.
ask_window(N, Window, Server) ->
    Requests = lists:foldl(
                 fun(I, Queue) ->
                         queue:in({I, gen_server:send_request(Server, {add, I})}, Queue)
                 end, queue:new(), lists:seq(1, Window)),
    ask_rest(N - Window, Requests, Server).

ask_rest(N, Requests, Server) ->
    case queue:out(Requests) of
        {empty, _} ->
            ok;
        {{value, {I, Request}}, Rest} ->
            {reply, Answer} = gen_server:receive_response(Request, 5000),
            Answer = I + 1,
            Next = case N > 0 of
                       true ->
                           queue:in({N, gen_server:send_request(Server, {add, N})}, Rest);
                       false ->
                           Rest
                   end,
            ask_rest(N - 1, Next, Server)
    end.

set_and_cancel(0) ->
    ok;
set_and_cancel(N) ->
    Timer = erlang:send_after(60000 + N rem 5000, self(), tick),
    true = is_integer(erlang:cancel_timer(Timer)),
    set_and_cancel(N - 1).

resident_bytes() ->
    {ok, Text} = file:read_file("/proc/self/statm"),
    [_, Resident | _] = binary:split(Text, <<" ">>, [global]),
    binary_to_integer(Resident) * 4096.
