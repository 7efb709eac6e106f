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
		all = append(all, harness.Scenario{
			Name: fmt.Sprintf("packed-%d", bulk), Title: fmt.Sprintf("4 callers, %d messages a call, packed", bulk), Measure: "publish",
			Load: harness.Load{Body: body, Callers: 4, Bulk: bulk}, Quick: bulk == 100,
			Contestants: []string{packedAlone, packed, alone, redis, goRedis, redisBench}, Peer: redis, Best: redisBench, Axis: "messages a call", At: float64(bulk),
		})
	}
	for _, kind := range []struct {
		name, title string
		load        harness.Load
	}{
		{"", "", harness.Load{Body: body}},
		{"-random", ", bodies that cannot be compressed", harness.Load{Body: body, Random: true}},
		{"-webhooks", ", real webhooks, 10 KB on average", harness.Load{Webhooks: true}},
		{"-64KiB", ", bodies of 64 KiB", harness.Load{Body: 64 << 10}},
	} {
		publish, consume := kind.load, kind.load
		publish.Callers, publish.Bulk = 4, 100
		consume.Workers = workers
		if kind.name != "" { // or else it is packed-100
			all = append(all, harness.Scenario{
				Name: "packed" + kind.name, Title: "4 callers, 100 messages a call, packed" + kind.title, Measure: "publish", Load: publish,
				Contestants: []string{packedAlone, packed, alone, redis, goRedis}, Peer: redis, Best: goRedis,
			})
		}
		all = append(all, harness.Scenario{
			Name: "packed-consume" + kind.name, Title: "packed by the hundred, a handler that does nothing" + kind.title, Measure: "consume", Load: consume,
			Contestants: []string{packedReceiver, packed, receiver, redis, goRedis}, Peer: redis, Best: goRedis,
		}, harness.Scenario{
			Name: "packed-stored" + kind.name, Title: "memory of the server for each stored message, packed by the hundred" + kind.title, Measure: "stored", Cold: true, Load: kind.load,
			Contestants: []string{packed, redis}, Peer: redis,
		})
	}
	return append(all, harness.Scenario{
		Name: "packed-64", Title: "64 callers, one message a call, buffered and packed", Measure: "publish", Load: harness.Load{Body: body, Callers: 64, Bulk: 1},
		Contestants: []string{packedBuffered, buffered, redis, wmRedis}, Peer: wmRedis,
	})
}
