package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A plan is what to measure.
type plan struct {
	rounds      int
	length      time.Duration // of one measurement
	connections []int         // in the closed loop
	rate        int           // calls/s in the open loop; 0 without
	body        int           // bytes
	large       int           // bytes of the body of one more load; 0 without
	streams     int           // of events in one more load; 0 without
}

// A load is one way to call contestants.
type load struct {
	name     string
	takes    func(*contestant) bool // contestants it is for
	measured func(context.Context, *contestant) (measurement, error)
}

// loads returns the loads of a round, in order.
func (p plan) loads() (all []load) {
	every := func(*contestant) bool { return true }
	body := strings.Repeat("x", p.body)
	for _, n := range p.connections {
		all = append(all, load{connectionsName(n), every, func(ctx context.Context, c *contestant) (measurement, error) {
			return c.measure(func() (sample, error) { return closedLoop(ctx, c, body, n, p.length) })
		}})
	}
	if p.rate > 0 {
		all = append(all, load{fmt.Sprintf("%d calls/s, open loop", p.rate), every, func(ctx context.Context, c *contestant) (measurement, error) {
			return c.measure(func() (sample, error) { return openLoop(ctx, c, body, manyConnections, p.rate, p.length) })
		}})
	}
	if p.large > 0 {
		large := strings.Repeat("x", p.large)
		all = append(all, load{largeName(p.large), direct, func(ctx context.Context, c *contestant) (measurement, error) {
			return c.measure(func() (sample, error) { return closedLoop(ctx, c, large, manyConnections, p.length) })
		}})
	}
	if p.streams > 0 {
		all = append(all, load{streamsName(p.streams), streaming, func(ctx context.Context, c *contestant) (measurement, error) {
			s, err := openStreams(ctx, c, p.streams)
			if err != nil {
				return measurement{}, err
			}
			defer s.close()
			return c.measure(func() (sample, error) { return s.listen(ctx, p.length) })
		}})
	}
	return all
}

const warmUp = 2 * time.Second

// manyConnections is where throughput is compared.
const manyConnections = 64

func connectionsName(n int) string {
	if n == 1 {
		return "1 connection"
	}
	return fmt.Sprintf("%d connections", n)
}

func largeName(size int) string {
	return fmt.Sprintf("%d-byte bodies, %s", size, connectionsName(manyConnections))
}

func streamsName(n int) string { return fmt.Sprintf("%d streams of 10 events/s", n) }

// direct tells whether a body crosses no NATS, which has a limit: large bodies are for Go.
func direct(c *contestant) bool {
	return slices.Contains([]string{"plain", "proxies-go", "function-go"}, strings.TrimSuffix(c.name, otherSuffix))
}

func streaming(c *contestant) bool { return c.events != "" }

// measure runs all rounds: each round measures every contestant at every load, in an
// order that rotates by one per round.
func (p plan) measure(ctx context.Context, contestants []*contestant, progress func(round int)) (*result, error) {
	r := newResult(p, contestants)
	for _, c := range contestants {
		idle, err := c.door.memory()
		if err != nil {
			return nil, err
		}
		r.Idle[c.name] = idle
	}
	for _, c := range contestants { // connections, caches, the heap's size, compilers that compile what runs often
		if _, err := closedLoop(ctx, c, strings.Repeat("x", p.body), 16, warmUp); err != nil {
			return nil, fmt.Errorf("warm up %s: %w", c.name, err)
		}
	}
	for round := range p.rounds {
		order := slices.Concat(contestants[round%len(contestants):], contestants[:round%len(contestants)])
		for _, l := range p.loads() {
			for _, c := range order {
				if !l.takes(c) {
					continue
				}
				m, err := l.measured(ctx, c)
				if err != nil {
					return nil, fmt.Errorf("%s, %s: %w", c.name, l.name, err)
				}
				r.add(c.name, l.name, m)
			}
		}
		progress(round)
	}
	return r, nil
}
