// Package scenarios says what is asked of whom: scenarios as data.
package scenarios

import (
	"fmt"
	"slices"
	"time"

	"github.com/logistically/events/benchmarks/harness"
)

// The contestants by name. Those of this library come first.
const (
	redis       = "events redis"
	receiver    = "events redis, receiver"
	subscriber  = "events redis, subscriber"
	typed       = "events redis, typed handler"
	chain       = "events redis, chain"
	idempotent  = "events redis, chain + idempotency"
	batched     = "events redis, batched"
	buffered    = "events redis, buffered"
	memory      = "events memory"
	memoryRecv  = "events memory, receiver"
	wmRedis     = "watermill redisstream"
	wmRouter    = "watermill redisstream, router"
	wmChain     = "watermill redisstream, chain"
	gochannel   = "watermill gochannel"
	gochannelRt = "watermill gochannel, router"
	asynq       = "asynq"
	river       = "river sqlite"
	typescript  = "typescript v2"
	goRedis     = "go-redis"
	goMessages  = "go-redis, messages"
	pipelined   = "go-redis autopipeline"
	redisBench  = "redis-benchmark"
	benchEntry  = "redis-benchmark, entries"
)

// body is the size of a message body where a scenario is not about it.
const body = 256

// workers is how many handlers may run at a time where a scenario is not about it.
const workers = 64

// All returns every scenario, in the order of the report.
func All() []harness.Scenario {
	return slices.Concat(publish(), decorated(), consume(), latency(), together(), bodies(), backlog(), failures(), cost(), dispatch(), packs())
}

func publish() []harness.Scenario {
	load := func(callers, bulk int) harness.Load { return harness.Load{Body: body, Callers: callers, Bulk: bulk} }
	return []harness.Scenario{
		{
			Name: "publish-1", Title: "one caller, one message a call; client and server on a core each", Measure: "publish", Load: load(1, 1), Quick: true, Apart: true,
			Contestants: []string{redis, batched, memory, wmRedis, gochannel, asynq, river, typescript, goRedis}, Peer: wmRedis, Best: goRedis,
		}, {
			Name: "publish-64", Title: "64 callers, one message a call", Measure: "publish", Load: load(64, 1), Quick: true,
			Contestants: []string{redis, batched, buffered, memory, wmRedis, gochannel, asynq, river, goRedis, pipelined}, Peer: wmRedis, Best: pipelined,
		}, {
			Name: "publish-512", Title: "512 callers, one message a call", Measure: "publish", Load: load(512, 1),
			Contestants: []string{redis, batched, buffered, memory, wmRedis, gochannel, typescript, goRedis, pipelined}, Peer: wmRedis, Best: pipelined,
		}, {
			Name: "publish-bulk", Title: "4 callers, 100 messages a call", Measure: "publish", Load: load(4, 100), Quick: true,
			Contestants: []string{redis, memory, wmRedis, gochannel, asynq, river, goRedis, benchEntry, redisBench}, Peer: wmRedis, Best: goRedis,
		}, {
			Name: "publish-fsync", Title: "64 callers, one message a call, appendfsync always", Measure: "publish", Load: load(64, 1),
			Server:      []string{"--appendonly", "yes", "--appendfsync", "always"},
			Contestants: []string{redis, batched, wmRedis, goRedis, pipelined}, Peer: wmRedis, Best: pipelined,
		},
	}
}

func consume() []harness.Scenario {
	return []harness.Scenario{
		{
			Name: "consume", Title: "a handler that does nothing", Measure: "consume", Load: harness.Load{Body: body, Workers: workers}, Quick: true,
			Contestants: []string{receiver, redis, typed, subscriber, memoryRecv, memory, wmRedis, wmRouter, gochannel, gochannelRt, asynq, river, typescript, goMessages, goRedis}, Peer: wmRedis, Best: goRedis,
		}, {
			Name: "consume-1ms", Title: "handlers that wait for 1 ms, 64 at a time where the contestant can", Measure: "consume",
			Load:        harness.Load{Body: body, Workers: workers, Work: time.Millisecond},
			Contestants: []string{redis, subscriber, memory, wmRedis, wmRouter, gochannel, asynq}, Peer: wmRouter,
		}, {
			Name: "consume-chain", Title: "a typed handler in tracing, poison queue, retry, timeout and recoverer (and idempotency on Redis); Watermill's poison queue, retry, timeout and recoverer", Measure: "consume",
			Load: harness.Load{Body: body, Workers: workers}, Quick: true,
			Contestants: []string{chain, idempotent, wmChain, receiver, goRedis}, Peer: wmChain, Best: goRedis,
		},
	}
}

// latency asks at fixed rates how long messages take from publish to handler.
func latency() (all []harness.Scenario) {
	for _, rate := range []int{1000, 4000, 16_000, 64_000} {
		who := []string{redis, wmRedis, goRedis}
		if rate <= 4000 {
			who = []string{redis, memory, wmRedis, asynq, goRedis}
		}
		rounds := 0
		if rate > 16_000 { // More than most can do: there will be no ratio to settle.
			rounds = 3
		}
		all = append(all, harness.Scenario{
			Name: fmt.Sprintf("latency-%d", rate), Title: fmt.Sprintf("publish to handler at %d messages a second", rate), Measure: "latency",
			Load:        harness.Load{Body: body, Callers: 64, Workers: workers, Rate: rate},
			Contestants: who, Peer: wmRedis, Best: goRedis, Axis: "rate", At: float64(rate), Quick: rate == 1000, Rounds: rounds,
		})
	}
	return all
}

// together publishes and consumes at once, and to many groups.
func together() []harness.Scenario {
	all := []harness.Scenario{{
		Name: "mixed", Title: "16 callers publish while a group consumes", Measure: "mixed", Load: harness.Load{Body: body, Callers: 16, Bulk: 1, Workers: workers},
		Contestants: []string{redis, memory, wmRedis, asynq, goRedis, pipelined}, Peer: wmRedis, Best: pipelined,
	}}
	for _, groups := range []int{1, 8, 64} {
		all = append(all, harness.Scenario{
			Name: fmt.Sprintf("fanout-%d", groups), Title: fmt.Sprintf("%d groups that each get everything", groups), Measure: "fanout",
			Load:        harness.Load{Body: body, Workers: workers, Groups: groups},
			Contestants: []string{redis, memory, wmRedis, goRedis}, Peer: wmRedis, Best: goRedis, Axis: "groups", At: float64(groups),
		})
	}
	return all
}

// bodies asks what larger messages cost, and real ones.
func bodies() (all []harness.Scenario) {
	for _, measure := range []string{"publish", "consume"} {
		load := harness.Load{Callers: 16, Bulk: 1, Workers: workers}
		add := func(name, title, axis string, at float64, load harness.Load) {
			all = append(all, harness.Scenario{
				Name: measure + "-" + name, Title: measure + " " + title, Measure: measure, Load: load,
				Contestants: []string{redis, wmRedis, goRedis}, Peer: wmRedis, Best: goRedis, Axis: axis, At: at,
			})
		}
		for _, size := range []struct {
			name  string
			bytes int
		}{{"64B", 64}, {"1KiB", 1 << 10}, {"64KiB", 64 << 10}, {"1MiB", 1 << 20}} {
			sized := load
			sized.Body = size.bytes
			add(size.name, "bodies of "+size.name, measure+" body", float64(size.bytes), sized)
		}
		real := load
		real.Webhooks = true
		add("webhooks", "real webhooks, 10 KB on average", "", 0, real)
	}
	return all
}

// backlog asks whether what lies in the stream, or with a dead consumer, costs.
func backlog() (all []harness.Scenario) {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		who := []string{redis, goRedis}
		if n == 10_000 {
			who = []string{redis, wmRedis, goRedis}
		}
		all = append(all, harness.Scenario{
			Name: fmt.Sprintf("backlog-%d", n), Title: fmt.Sprintf("a backlog of %d messages, drained", n), Measure: "drain",
			Load: harness.Load{Body: body, Workers: workers, Backlog: n}, Cold: n > 100_000,
			Contestants: who, Best: goRedis, Axis: "backlog", At: float64(n), Rounds: fewer(n),
		})
	}
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		all = append(all, harness.Scenario{
			Name: fmt.Sprintf("pending-%d", n), Title: fmt.Sprintf("consume while %d messages are pending with a consumer that is gone", n), Measure: "consume",
			Load:        harness.Load{Body: body, Workers: workers, Pending: n, Backlog: 100_000},
			Contestants: []string{redis, goRedis}, Best: goRedis, Axis: "pending", At: float64(n), Rounds: fewer(n), Cold: n > 100_000,
		})
	}
	return all
}

// fewer is how many rounds a million messages get, whose storing takes far longer
// than what is measured; zero is as many as others.
func fewer(messages int) int {
	if messages > 100_000 {
		return 3
	}
	return 0
}

func failures() []harness.Scenario {
	return []harness.Scenario{
		{
			Name: "storm", Title: "one in ten messages fails at its first attempt, and comes back after 10 ms where the contestant can wait", Measure: "storm", Load: harness.Load{Body: body, Workers: workers, Fails: 10},
			Contestants: []string{redis, memory, wmRedis, wmRouter, asynq}, Peer: wmRouter,
		}, {
			Name: "recovery", Title: "a consumer that holds up to 500 messages is killed with SIGKILL; lease or claim time 1 s", Measure: "recovery", Cold: true,
			Load:        harness.Load{Body: body, Workers: 500, InFlight: 500},
			Contestants: []string{redis, wmRedis, asynq}, Peer: wmRedis,
		},
	}
}

func cost() []harness.Scenario {
	return []harness.Scenario{
		{
			Name: "idle", Title: "commands that a consumer without work sends to the server", Measure: "idle", Cold: true, Rounds: 3, Load: harness.Load{Body: body, Workers: workers},
			Contestants: []string{redis, wmRedis, asynq}, Peer: wmRedis,
		}, {
			Name: "memory", Title: "memory of the process for each of 100 000 messages in flight", Measure: "memory", Rounds: 1, Cold: true,
			Load:        harness.Load{Body: body, Workers: 100_000, InFlight: 100_000},
			Contestants: []string{redis, memory, wmRedis},
		}, {
			Name: "stored", Title: "memory of the server for each stored message", Measure: "stored", Cold: true, Rounds: 3, Load: harness.Load{Body: body},
			Contestants: []string{redis, wmRedis, asynq}, Peer: wmRedis,
		},
	}
}

// dispatch asks what many handlers and patterns cost.
func dispatch() (all []harness.Scenario) {
	for _, axis := range []string{"handlers", "patterns"} {
		for _, n := range []int{1, 10, 100, 1000} {
			load := harness.Load{Body: body, Workers: workers, Handlers: n - 1}
			if axis == "patterns" {
				load = harness.Load{Body: body, Workers: workers, Patterns: n - 1}
			}
			all = append(all, harness.Scenario{
				Name: fmt.Sprintf("%s-%d", axis, n), Title: fmt.Sprintf("a router with %d %s", n, axis), Measure: "handlers", Load: load,
				Contestants: []string{memory}, Axis: axis, At: float64(n), Rounds: 5,
			})
		}
	}
	return all
}
