package scenarios

import (
	"fmt"

	"github.com/logistically/events/benchmarks/harness"
)

const (
	packed         = "events redis, packed"
	packedReceiver = "events redis, packed, receiver"
	packedBuffered = "events redis, packed, buffered"
	packedAlone    = "events redis, packed, transport"
	alone          = "events redis, transport"
)

// packs asks what it brings to put many messages into one entry: of what size, with
// which bodies, and where it does not pay.
func packs() (all []harness.Scenario) {
	for _, bulk := range []int{1, 10, 100, 1000} {
		who := []string{packed, redis, benchEntry, redisBench}
		if bulk == 100 {
			who = []string{packedAlone, packed, alone, redis, goRedis, benchEntry, redisBench}
		}
		all = append(all, harness.Scenario{
			Name: fmt.Sprintf("packed-%d", bulk), Title: fmt.Sprintf("4 callers, %d messages a call, packed", bulk), Measure: "publish",
			Load: harness.Load{Body: body, Callers: 4, Bulk: bulk}, Quick: bulk == 100,
			Contestants: who, Peer: redis, Best: benchEntry, Axis: "messages a call", At: float64(bulk),
		})
	}
	for _, kind := range []struct {
		name, title string
		load        harness.Load
	}{
		{"-random", ", bodies that cannot be compressed", harness.Load{Body: body, Random: true}},
		{"-webhooks", ", real webhooks, 10 KB on average", harness.Load{Webhooks: true}},
		{"-64KiB", ", bodies of 64 KiB", harness.Load{Body: 64 << 10}},
	} {
		load := kind.load
		load.Callers, load.Bulk = 4, 100
		all = append(all, harness.Scenario{
			Name: "packed" + kind.name, Title: "4 callers, 100 messages a call, packed" + kind.title, Measure: "publish", Load: load,
			Contestants: []string{packed, redis}, Peer: redis,
		})
	}
	consume := func(name, title string, load harness.Load, best string, who ...string) {
		load.Workers = workers
		all = append(all, harness.Scenario{
			Name: "packed-consume" + name, Title: "a handler that does nothing, packed by the " + title, Measure: "consume", Load: load,
			Contestants: who, Peer: redis, Best: best,
		})
	}
	consume("", "hundred", harness.Load{Body: body}, goRedis, packedReceiver, packed, receiver, redis, goRedis)
	consume("-1000", "thousand", harness.Load{Body: body, Bulk: 1000}, "", packed, redis)
	consume("-random", "hundred, bodies that cannot be compressed", harness.Load{Body: body, Random: true}, "", packed, redis)
	consume("-webhooks", "hundred, real webhooks, 10 KB on average", harness.Load{Webhooks: true}, "", packed, redis)
	return append(all,
		harness.Scenario{
			Name: "packed-stored", Title: "memory of the server for each stored message, packed by the hundred", Measure: "stored", Cold: true, Rounds: 3, Load: harness.Load{Body: body},
			Contestants: []string{packed, redis}, Peer: redis,
		}, harness.Scenario{
			Name: "packed-stored-webhooks", Title: "memory of the server for each stored message, packed by the hundred, real webhooks, 10 KB on average", Measure: "stored", Cold: true, Rounds: 3, Load: harness.Load{Webhooks: true},
			Contestants: []string{packed, redis}, Peer: redis,
		}, harness.Scenario{
			Name: "packed-64", Title: "64 callers, one message a call, buffered and packed", Measure: "publish", Load: harness.Load{Body: body, Callers: 64, Bulk: 1},
			Contestants: []string{packedBuffered, buffered, redis, wmRedis}, Peer: wmRedis,
		})
}
