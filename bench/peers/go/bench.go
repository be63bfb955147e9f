// The workloads of hark_bench for Go: goroutines and channels, which is what a user who
// wants no actors would take.
//
//	bench WORKLOAD [ARGUMENT]      GOMAXPROCS sets the workers
//
// Prints METRIC VALUE UNIT. Each workload checks its result; a wrong one panics.
package main

import (
	"fmt"
	"math"
	"math/rand"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// How long one request may take: armed for each, and never reached.
const askTimeout = 5 * time.Second

func figure(metric string, value float64, unit string) {
	fmt.Printf("%s %.2f %s\n", metric, value, unit)
}

func rate(count int, began time.Time, unit string) {
	figure("throughput", float64(count)/time.Since(began).Seconds(), unit)
}

func expect(what string, got, wanted int64) {
	if got != wanted {
		panic(fmt.Sprintf("%s: got %d, wanted %d", what, got, wanted))
	}
}

// ---- pingpong, counting, threadring ----

func pingpong() {
	const pings = 5000000
	to, from := make(chan struct{}, 1), make(chan struct{}, 1)
	go func() {
		for range to {
			from <- struct{}{}
		}
		close(from)
	}()
	began := time.Now()
	for i := 0; i < pings; i++ {
		to <- struct{}{}
		<-from
	}
	rate(2*pings, began, "msg/s")
}

func counting() {
	const increments = 10000000
	messages, result := make(chan int, 4096), make(chan int)
	go func() {
		sum := 0
		for x := range messages {
			sum += x
		}
		result <- sum
	}()
	began := time.Now()
	for i := 0; i < increments; i++ {
		messages <- 1
	}
	close(messages)
	expect("increments", int64(<-result), increments)
	rate(increments, began, "msg/s")
}

func threadring() {
	const actors, hops = 100, 5000000
	var hopped [actors]int64
	done := make(chan struct{})
	first := make(chan int, 1)
	in := first
	for i := 0; i < actors; i++ {
		out := make(chan int, 1)
		if i == actors-1 {
			out = first
		}
		go func(i int, in <-chan int, out chan<- int) {
			for left := range in {
				hopped[i]++
				if left == 0 {
					close(done)
					return
				}
				out <- left - 1
			}
		}(i, in, out)
		in = out
	}
	began := time.Now()
	first <- hops
	<-done
	rate(hops, began, "hop/s")
	sum := int64(0)
	for _, n := range hopped {
		sum += n
	}
	expect("hops", sum, hops+1)
}

// ---- fjthrput, fjcreate, spawn ----

// Not constant, and a sink, or the compiler would leave the work out.
var angle = 37.2
var sinks [64]struct {
	value float64
	_     [56]byte // a cache line each
}

func pieceOfWork(sink *float64) {
	sine := math.Sin(angle)
	*sink += sine * sine
}

func fjthrput() {
	const actors, messages = 60, 200000
	var done sync.WaitGroup
	var worked int64
	channels := make([]chan struct{}, actors)
	for i := range channels {
		channels[i] = make(chan struct{}, 1024)
		done.Add(1)
		go func(i int) {
			n := int64(0)
			for range channels[i] {
				pieceOfWork(&sinks[i].value)
				n++
			}
			atomic.AddInt64(&worked, n)
			done.Done()
		}(i)
	}
	began := time.Now()
	for k := 0; k < messages; k++ {
		for _, c := range channels {
			c <- struct{}{}
		}
	}
	for _, c := range channels {
		close(c)
	}
	done.Wait()
	rate(actors*messages, began, "msg/s")
	expect("work done", worked, actors*messages)
}

func fjcreate() {
	const actors, repeats = 40000, 25
	joined := int64(0)
	began := time.Now()
	for r := 0; r < repeats; r++ {
		results := make(chan float64, 1024)
		go func() {
			for i := 0; i < actors; i++ {
				work := make(chan struct{}, 1)
				go func() {
					<-work
					sine := math.Sin(angle)
					results <- sine * sine
				}()
				work <- struct{}{}
			}
		}()
		for i := 0; i < actors; i++ {
			if <-results > 0 {
				joined++
			}
		}
	}
	rate(actors*repeats, began, "actor/s")
	expect("actors joined", joined, actors*repeats)
}

func spawn() {
	const actors = 1000000
	left := int64(actors)
	done := make(chan struct{})
	began := time.Now()
	for i := 0; i < actors; i++ {
		c := make(chan struct{}, 1)
		go func() {
			<-c
			if atomic.AddInt64(&left, -1) == 0 {
				close(done)
			}
		}()
		c <- struct{}{}
	}
	<-done
	rate(actors, began, "actor/s")
}

// ---- mem ----

func residentBytes() float64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		panic(err)
	}
	var all, resident int64
	fmt.Sscanf(string(text), "%d %d", &all, &resident)
	return float64(resident * int64(os.Getpagesize()))
}

func mem(count int) {
	held := make([]chan struct{}, count)
	for i := range held {
		held[i] = nil // its pages count before
	}
	var started sync.WaitGroup
	started.Add(count)
	runtime.GC()
	before := residentBytes()
	for i := range held {
		c := make(chan struct{}, 1)
		held[i] = c
		go func() {
			started.Done()
			<-c
		}()
	}
	started.Wait()
	runtime.GC()
	figure("idle_bytes_per_actor", (residentBytes()-before)/float64(count), "B")
	expect("goroutines, this one too", int64(runtime.NumGoroutine()), int64(count+1))
	runtime.KeepAlive(held)
}

// ---- big, chameneos ----

// A hail if from is set, else the answer to one.
type hail struct {
	from chan hail
}

// Each has at most one hail of its own on the way, so a mailbox of all talkers' hails
// and the answer is never full, and nobody blocks while sending.
func big() {
	const talkers, hails = 120, 20000
	var done, over sync.WaitGroup
	mailboxes := make([]chan hail, talkers)
	for i := range mailboxes {
		mailboxes[i] = make(chan hail, talkers+2)
	}
	done.Add(talkers)
	over.Add(talkers)
	stop := make(chan struct{})
	began := time.Now()
	for i := range mailboxes {
		go func(i int) {
			random := rand.New(rand.NewSource(int64(i + 1)))
			mine := mailboxes[i]
			left := hails
			mailboxes[random.Intn(talkers)] <- hail{mine}
			for left > 0 {
				m := <-mine
				if m.from != nil {
					m.from <- hail{}
					continue
				}
				left--
				if left > 0 {
					mailboxes[random.Intn(talkers)] <- hail{mine}
				}
			}
			done.Done()
			for {
				select {
				case m := <-mine:
					m.from <- hail{}
				case <-stop:
					over.Done()
					return
				}
			}
		}(i)
	}
	done.Wait()
	rate(2*talkers*hails, began, "msg/s")
	close(stop)
	over.Wait()
}

type event int

const (
	meet event = iota
	change
	closing
)

type creature struct {
	in chan news
}

type news struct {
	what  event
	who   *creature
	color int
}

func mix(a, b int) int {
	if a == b {
		return a
	}
	return 3 - a - b
}

func chameneos() {
	const meetings, creatures = 2000000, 100
	mall := make(chan news, creatures)
	met := make(chan int, creatures)
	began := time.Now()
	for i := 0; i < creatures; i++ {
		me := &creature{make(chan news, 4)}
		go func(color int) {
			n := 0
			mall <- news{meet, me, color}
			for x := range me.in {
				switch x.what {
				case meet:
					color = mix(color, x.color)
					n++
					x.who.in <- news{change, nil, color}
				case change:
					color = x.color
					n++
				case closing:
					met <- n
					return
				}
				mall <- news{meet, me, color}
			}
		}(i % 3)
	}
	go func() {
		var waiting *creature
		left := meetings
		for x := range mall {
			if left == 0 {
				x.who.in <- news{closing, nil, 0}
			} else if waiting == nil {
				waiting = x.who
			} else {
				left--
				waiting.in <- news{meet, x.who, x.color}
				waiting = nil
			}
		}
	}()
	sum := 0
	for i := 0; i < creatures; i++ {
		sum += <-met
	}
	rate(meetings, began, "meeting/s")
	expect("meetings seen", int64(sum), 2*meetings)
}

// ---- concdict, bank ----

type lookup struct {
	write      bool
	key, value uint32
	answer     chan found
}

type found struct {
	value uint32
	ok    bool
}

func valueOf(key uint32) uint32 {
	return key*7 + 1
}

func concdict() {
	const readers, lookups, keys = 20, 100000, 524288
	requests := make(chan lookup, readers)
	go func() {
		dictionary := make(map[uint32]uint32, keys)
		for q := range requests {
			if q.write {
				dictionary[q.key] = q.value
				q.answer <- found{q.value, true}
			} else {
				value, ok := dictionary[q.key]
				q.answer <- found{value, ok}
			}
		}
	}()
	var done sync.WaitGroup
	began := time.Now()
	for i := 0; i < readers; i++ {
		done.Add(1)
		go func(seed int64) {
			random := rand.New(rand.NewSource(seed))
			answer := make(chan found, 1) // for all its lookups
			for k := 0; k < lookups; k++ {
				write := random.Intn(100) < 10
				key := uint32(random.Intn(keys))
				requests <- lookup{write, key, valueOf(key), answer}
				got := <-answer
				if got.ok && got.value != valueOf(key) {
					panic("wrong value")
				}
			}
			done.Done()
		}(int64(i + 1))
	}
	done.Wait()
	rate(readers*lookups, began, "op/s")
}

// One ask: its reply channel and its timer are used again, as experienced users do.
type call struct {
	kind   int // pay, collect or balance
	amount int64
	to     chan *call
	answer chan int64
	timer  *time.Timer
}

const (
	pay = iota
	collect
	balance
)

var calls = sync.Pool{New: func() interface{} {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	return &call{answer: make(chan int64, 1), timer: timer}
}}

// Sends a request and waits for its answer, within the time allowed.
func ask(target chan *call, kind int, amount int64, to chan *call) int64 {
	c := calls.Get().(*call)
	c.kind, c.amount, c.to = kind, amount, to
	c.timer.Reset(askTimeout * 24)
	target <- c
	select {
	case answer := <-c.answer:
		if !c.timer.Stop() {
			<-c.timer.C
		}
		calls.Put(c)
		return answer
	case <-c.timer.C:
		panic("timeout")
	}
}

// Accounts pay to higher ones only, so an account may wait for the recipient.
func account(in chan *call, money int64) {
	for c := range in {
		switch c.kind {
		case pay:
			money -= c.amount
			c.answer <- ask(c.to, collect, c.amount, nil)
		case collect:
			money += c.amount
			c.answer <- c.amount
		case balance:
			c.answer <- money
		}
	}
}

// A goroutine for each open transaction: so a request is a call that waits.
func bank() {
	const accounts, transactions, open, firstBalance = 1000, 500000, 50000, 1000000
	mailboxes := make([]chan *call, accounts)
	for i := range mailboxes {
		mailboxes[i] = make(chan *call, 64)
		go account(mailboxes[i], firstBalance)
	}
	var done sync.WaitGroup
	began := time.Now()
	for i := 0; i < open; i++ {
		done.Add(1)
		go func(seed uint32) {
			random := seed*2654435761 + 1
			next := func() uint32 {
				random = random*1664525 + 1013904223
				return random >> 8
			}
			for k := 0; k < transactions/open; k++ {
				from := next() % (accounts / 10 * 8)
				to := from + 1 + next()%(accounts-from-1)
				amount := int64(1 + next()%1000)
				expect("amount", ask(mailboxes[from], pay, amount, mailboxes[to]), amount)
			}
			done.Done()
		}(uint32(i))
	}
	done.Wait()
	rate(transactions, began, "transaction/s")
	sum := int64(0)
	for _, mailbox := range mailboxes {
		sum += ask(mailbox, balance, 0, nil)
	}
	expect("money", sum, accounts*firstBalance)
}

// ---- ask_seq, ask_100 ----

type question struct {
	value  int64
	answer chan int64
}

func answerAll(questions chan question) {
	for q := range questions {
		q.answer <- q.value + 1
	}
}

func asks(window int) {
	const count = 2000000
	questions := make(chan question, 128)
	go answerAll(questions)
	// A place for each open request, with its reply channel and its timer.
	answers := make([]chan int64, window)
	timers := make([]*time.Timer, window)
	began := time.Now()
	for i := 0; i < window; i++ {
		answers[i] = make(chan int64, 1)
		timers[i] = time.NewTimer(askTimeout)
		questions <- question{int64(i), answers[i]}
	}
	for i := 0; i < count; i++ {
		at := i % window
		select {
		case answer := <-answers[at]:
			expect("answer", answer, int64(i+1))
		case <-timers[at].C:
			panic("timeout")
		}
		if !timers[at].Stop() {
			<-timers[at].C
		}
		if i+window < count {
			timers[at].Reset(askTimeout)
			questions <- question{int64(i + window), answers[at]}
		}
	}
	rate(count, began, "ask/s")
}

// ---- timers_pair ----

func timersPair() {
	const timers = 1000000
	stopped := int64(0)
	began := time.Now()
	for i := 0; i < timers; i++ {
		delay := time.Minute + time.Duration(i%5000)*time.Millisecond
		if time.AfterFunc(delay, func() { panic("a stopped timer fired") }).Stop() {
			stopped++
		}
	}
	figure("set+cancel", timers/time.Since(began).Seconds(), "pair/s")
	expect("timers stopped", stopped, timers)
}

func main() {
	workloads := map[string]func(){
		"pingpong": pingpong, "counting": counting, "threadring": threadring,
		"fjthrput": fjthrput, "fjcreate": fjcreate, "spawn": spawn, "big": big,
		"chameneos": chameneos, "concdict": concdict, "bank": bank,
		"ask_seq":     func() { asks(1) },
		"ask_100":     func() { asks(100) },
		"timers_pair": timersPair,
		"mem": func() {
			count, err := strconv.Atoi(os.Args[2])
			if err != nil {
				panic(err)
			}
			mem(count)
		},
	}
	if len(os.Args) < 2 || workloads[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: bench WORKLOAD [ARGUMENT]")
		os.Exit(2)
	}
	workloads[os.Args[1]]()
}
