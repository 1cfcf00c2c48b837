// Bench measures the cost of the gateway, side by side with what it replaces, in
// one run on one machine:
//
//	plain     net/http that echoes: the cost of HTTP alone
//	article   net/http, one nc.Request per call, a micro service behind it: a
//	          hand-written API server, without its usual bugs
//	embedded  mayfly up, all features on, the same micro service behind it
//	external  mayfly up --nats, with a separate NATS server, the same service
//
// and the cost of functions, each in one instance beside one hand-written process:
//
//	function-go      func Handle that echoes, through mayfly up
//	proxies-go       the same behind two net/http reverse proxies, like a gateway and
//	                 a watchdog
//	function-node    the short form, through mayfly up
//	proxy-node       Node's own http server behind one reverse proxy
//	function-python  the short form, through mayfly up
//	server-python    Python's own ThreadingHTTPServer, without a proxy
//	tuned-python     the same without its log and with buffered replies
//
// Each contestant runs in its own processes. Rounds are interleaved, so that a
// machine that slows down slows all. The closed loop measures throughput; the open
// loop, at a constant rate, measures latency without coordinated omission: a call's
// time counts from when it should have started.
//
//	go run ./bench -rounds 5 -seconds 3
//	go run ./bench -json result.json
//	go run ./bench -only article,embedded -other ./mayfly-before
//	go run ./bench -only functions -connections 64 -rate 0
//	go run ./bench -cold 20
//
// docs/performance.md explains the figures and their limits.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(os.Args) > 2 && os.Args[1] == roleArgument {
		if err := playRole(ctx, os.Args[2], os.Args[3:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// A plan is what to measure.
type plan struct {
	rounds      int
	length      time.Duration // of one measurement
	connections []int         // in the closed loop
	rate        int           // calls/s in the open loop
	body        int           // bytes
	only        []string      // contestants; the gateway group if empty
}

func run(ctx context.Context) error {
	p := plan{}
	rounds := flag.Int("rounds", 5, "interleaved rounds")
	seconds := flag.Float64("seconds", 3, "length of one measurement")
	connections := flag.String("connections", "1,64,256", "connections in the closed loop")
	rate := flag.Int("rate", 5000, "calls per second in the open loop; 0 disables it")
	body := flag.Int("body", 128, "request body size in bytes")
	only := flag.String("only", "", "contestants, comma-separated, or the groups gateway and functions; gateway if empty")
	cold := flag.Int("cold", 0, "instead, measure the first call to stopped functions, this many times each")
	other := flag.String("other", "", "another mayfly binary to measure beside embedded and function-go, such as one without a change")
	jsonFile := flag.String("json", "", "write the result to this file as JSON")
	flag.Parse()
	p.rounds, p.length, p.rate, p.body = *rounds, time.Duration(*seconds*float64(time.Second)), *rate, *body
	if *only != "" {
		p.only = strings.Split(*only, ",")
	}
	for text := range strings.SplitSeq(*connections, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 2000 {
			return fmt.Errorf("connections %q: must be numbers from 1 to 2000", text)
		}
		p.connections = append(p.connections, n)
	}
	if p.rounds < 1 || p.rounds > 100 || p.length <= 0 || p.length > time.Minute || p.body < 1 || p.body > 512<<10 {
		return fmt.Errorf("rounds must be 1 to 100, seconds up to 60, body 1 to 524288")
	}

	if *cold > 0 {
		result, err := measureCold(ctx, *cold)
		if err != nil {
			return err
		}
		result.print(os.Stdout)
		return save(*jsonFile, result)
	}
	contestants, stop, err := startAll(ctx, p.only, *other)
	if err != nil {
		return err
	}
	defer stop()
	result, err := measure(ctx, p, contestants)
	if err != nil {
		return err
	}
	result.print(os.Stdout)
	return save(*jsonFile, result)
}

// measure runs all rounds: each round measures every contestant at every load, in an
// order that rotates by one per round.
func measure(ctx context.Context, p plan, contestants []*contestant) (*result, error) {
	r := newResult(p, contestants)
	request := strings.Repeat("x", p.body)
	for _, c := range contestants {
		idle, err := c.door.memory()
		if err != nil {
			return nil, err
		}
		r.Idle[c.name] = idle
	}
	for _, c := range contestants { // warm up: connections, caches, the heap's size
		if _, err := closedLoop(ctx, c, request, 16, 500*time.Millisecond); err != nil {
			return nil, fmt.Errorf("warm up %s: %w", c.name, err)
		}
	}
	for round := range p.rounds {
		order := slices.Concat(contestants[round%len(contestants):], contestants[:round%len(contestants)])
		for _, n := range p.connections {
			for _, c := range order {
				m, err := c.measure(func() (sample, error) { return closedLoop(ctx, c, request, n, p.length) })
				if err != nil {
					return nil, fmt.Errorf("%s at %d connections: %w", c.name, n, err)
				}
				r.add(c.name, loadName(n, 0), m)
			}
		}
		if p.rate > 0 {
			for _, c := range order {
				m, err := c.measure(func() (sample, error) { return openLoop(ctx, c, request, 64, p.rate, p.length) })
				if err != nil {
					return nil, fmt.Errorf("%s at %d calls/s: %w", c.name, p.rate, err)
				}
				r.add(c.name, loadName(64, p.rate), m)
			}
		}
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, p.rounds)
	}
	return r, nil
}

func loadName(connections, rate int) string {
	if rate > 0 {
		return fmt.Sprintf("%d calls/s, open loop", rate)
	}
	return fmt.Sprintf("%d connections", connections)
}
