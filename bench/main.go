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
//	function-go       func Handle that echoes, through mayfly up; compared with plain
//	proxies-go        plain behind two net/http reverse proxies, like a gateway and a
//	                  watchdog
//	function-node     a Worker in JavaScript, through mayfly up
//	server-node       Node's own http server
//	proxy-node        the same behind one reverse proxy
//	function-python   the short form, through mayfly up
//	server-python     Python's own ThreadingHTTPServer, without a proxy
//	tuned-python      the same without its log, one packet per reply
//	function-fastapi  an app of FastAPI, through mayfly up
//	uvicorn           the same app, in one uvicorn worker without its access log, with
//	                  uvloop and httptools if they are installed
//	pure-uvicorn      the same without these two, all in Python, as pip installs it
//
// and of peers, which run the same Worker: workerd, bun and deno; functions-framework runs
// it in its own form. They come from npm packages in a folder (-peers), or from PATH.
//
// With -other, embedded-other, function-go-other and the like run another binary.
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
//	go run ./bench -only peers -peers ~/.cache/mayfly-peers -connections 1,64 -rate 0
//	go run ./bench -only goals -peers ~/.cache/mayfly-peers -other ./mayfly-before \
//		-connections 1,64 -rate 0 -large 1048576 -streams 1000 -rounds 7 -seconds 1
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
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
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

func run(ctx context.Context) error {
	p := plan{}
	rounds := flag.Int("rounds", 5, "interleaved rounds")
	seconds := flag.Float64("seconds", 3, "length of one measurement")
	connections := flag.String("connections", "1,64,256", "connections in the closed loop")
	rate := flag.Int("rate", 5000, "calls per second in the open loop; 0 disables it")
	body := flag.Int("body", 128, "request body size in bytes")
	large := flag.Int("large", 0, "also measure echoes of this many bytes, such as 1048576; 0 disables it")
	streams := flag.Int("streams", 0, "also measure this many streams of events, such as 1000; 0 disables it")
	only := flag.String("only", "gateway", "contestants, comma-separated, or the groups gateway, functions, peers and goals")
	peers := flag.String("peers", "", "a folder with the npm packages of the peers, installed there if it has none; PATH if empty")
	cold := flag.Int("cold", 0, "instead, measure the first call to stopped functions, this many times each")
	other := flag.String("other", "", "another mayfly binary to measure beside embedded and the functions, such as one without a change")
	jsonFile := flag.String("json", "", "write the result to this file as JSON")
	flag.Parse()
	p.rounds, p.length, p.rate = *rounds, time.Duration(*seconds*float64(time.Second)), *rate
	p.body, p.large, p.streams = *body, *large, *streams
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
	if p.large < 0 || p.large > 32<<20 || p.streams < 0 || p.streams > 10_000 {
		return fmt.Errorf("large must be 0 to 33554432, streams 0 to 10000")
	}

	if *cold > 0 {
		result, err := measureCold(ctx, *cold)
		if err != nil {
			return err
		}
		result.print(os.Stdout)
		return save(*jsonFile, result)
	}
	if *peers != "" {
		if err := installPeers(ctx, *peers); err != nil {
			return err
		}
	}
	s, err := openStage(ctx, *other, *peers)
	if err != nil {
		return err
	}
	defer s.close()
	contestants, err := s.fill(ctx, strings.Split(*only, ","))
	if err != nil {
		return err
	}
	result, err := p.measure(ctx, contestants, func(round int) { fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, p.rounds) })
	if err != nil {
		return err
	}
	result.print(os.Stdout)
	return save(*jsonFile, result)
}
